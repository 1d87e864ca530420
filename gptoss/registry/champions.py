"""Who is champion, who was, and why: the alias `champion` of a registered model and its history.

MLflow keeps where an alias points, not where it pointed. Each move is a tag of the registered model,
`gptoss.champion.NNNN`: JSON with the version, what happened (`promoted`, `forced` or `rolled back`), why, by whom and
when (UTC). A roll-back takes the latest move back, so two of them go two steps back.

The alias is the truth. Where it stands elsewhere than the history says (moved in MLflow's page, or a process was killed
between the record and the alias), the next move first writes down where it was found.
"""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from gptoss.core.errors import UserError
from gptoss.registry.versions import NOT_FOUND_CODES, not_reachable

CHAMPION = "champion"
HISTORY_TAG = "gptoss.champion."
ROLLED_BACK = "rolled back"
GATES_TAG = "gptoss.gates"
"""Of a version: JSON, name of each gate and whether it passed."""


@dataclass(frozen=True)
class Move:
    """One move of the alias."""

    version: str
    what: str
    why: str
    by: str
    at: str


def get_champion(client: Any, name: str) -> Any:
    """The version the alias points to; None when the registry says that there is no such model or alias. Raises
    `ClusterError` when it does not say: no answer must never count as no champion."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in NOT_FOUND_CODES:
            return None
        raise not_reachable(error) from None


def history(client: Any, name: str) -> list[Move]:
    """Every move, oldest first."""
    tags = client.get_registered_model(name).tags
    return [Move(**json.loads(value)) for key, value in sorted(tags.items()) if key.startswith(HISTORY_TAG)]


def rollback_chain(moves: list[Move]) -> list[str]:
    """The versions that a chain of roll-backs would lead through: the present champion last."""
    versions: list[str] = []
    for move in moves:
        if move.what == ROLLED_BACK and move.version in versions:
            while versions[-1] != move.version:
                versions.pop()
        elif move.version not in versions[-1:]:
            versions.append(move.version)
    return versions


def set_champion(client: Any, name: str, version: str, what: str, why: str) -> None:
    """Make `version` champion and write down why."""
    moves = sync_history(client, name)
    # First the record: after a kill between the two the alias is found at the champion before, and noted.
    _record(client, name, len(moves), version, what, why)
    client.set_registered_model_alias(name, CHAMPION, version)


def sync_history(client: Any, name: str) -> list[Move]:
    """Every move, after writing down where the alias was found if that is not where the last move put it: at an earlier
    champion, as after a roll-back, or at another version, as after a promotion."""
    moves, present = history(client, name), get_champion(client, name)
    versions = rollback_chain(moves)
    if present is None or str(present.version) in versions[-1:]:
        return moves
    found = str(present.version)
    what = ROLLED_BACK if found in versions else "promoted"
    return [*moves, _record(client, name, len(moves), found, what, "found as champion")]


def roll_back(client: Any, name: str, why: str) -> str:
    """Give the alias back to the champion before the present one; returns its version. Raises `UserError` when there
    was none, or it was deleted."""
    versions = rollback_chain(sync_history(client, name))
    if len(versions) < 2:
        raise UserError(
            f"{name} had no champion before {f'version {versions[-1]}' if versions else 'any'}",
            "name a version with `python -m gptoss.cli.promote --to VERSION`",
        )
    _check_exists(client, name, versions[-2])
    set_champion(client, name, versions[-2], ROLLED_BACK, why)
    return versions[-2]


def _check_exists(client: Any, name: str, version: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_model_version(name, version)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND_CODES:
            raise not_reachable(error) from None
        raise UserError(
            f"{name} version {version}, the champion before, is no longer in the registry",
            'name another with `python -m gptoss.cli.promote --to VERSION` (`--force "why"` against the rule)',
        ) from None


def _record(client: Any, name: str, number: int, version: str, what: str, why: str) -> Move:
    move = Move(str(version), what, why, getpass.getuser(), datetime.now(UTC).isoformat(timespec="seconds"))
    client.set_registered_model_tag(name, f"{HISTORY_TAG}{number:04d}", json.dumps(asdict(move)))
    return move
