"""Who is champion, who was, and why: the alias `champion` of a registered model and its history.

MLflow keeps where an alias points, not where it pointed. Each move is a tag of the registered model,
`gptoss.champion.NNNN`: JSON with the version, what happened (`promoted`, `forced` or `rolled back`), why, by whom and
when (UTC). A roll-back takes the latest move back, so two of them go two steps back.
"""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from stages.errors import UserError

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


def champion(client: Any, name: str) -> Any:
    """The version the alias points to, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException:
        return None


def history(client: Any, name: str) -> list[Move]:
    """Every move, oldest first."""
    tags = client.get_registered_model(name).tags
    return [Move(**json.loads(value)) for key, value in sorted(tags.items()) if key.startswith(HISTORY_TAG)]


def standing(moves: list[Move]) -> list[str]:
    """The versions that a chain of roll-backs would lead through: the present champion last."""
    versions: list[str] = []
    for move in moves:
        if move.what == ROLLED_BACK:
            versions.pop()
        else:
            versions.append(move.version)
    return versions


def crown(client: Any, name: str, version: str, what: str, why: str) -> None:
    """Make `version` champion and write down why."""
    moves = history(client, name)
    before, versions = champion(client, name), standing(moves)
    if (
        before is not None and before.version not in versions[-1:]
    ):  # set before histories were kept, or in MLflow's page
        moves.append(_record(client, name, len(moves), before.version, "promoted", "found as champion"))
    # First the record: after a kill between the two the alias is found at the champion before, and noted as above.
    _record(client, name, len(moves), version, what, why)
    client.set_registered_model_alias(name, CHAMPION, version)


def roll_back(client: Any, name: str, why: str) -> str:
    """Give the alias back to the champion before the present one; returns its version. Raises `UserError` when there
    was none."""
    versions = standing(history(client, name))
    if len(versions) < 2:
        raise UserError(
            f"{name} had no champion before {f'version {versions[-1]}' if versions else 'any'}",
            "name a version with `python -m flows.promote --to VERSION`",
        )
    crown(client, name, versions[-2], ROLLED_BACK, why)
    return versions[-2]


def _record(client: Any, name: str, number: int, version: str, what: str, why: str) -> Move:
    move = Move(str(version), what, why, getpass.getuser(), datetime.now(UTC).isoformat(timespec="seconds"))
    client.set_registered_model_tag(name, f"{HISTORY_TAG}{number:04d}", json.dumps(asdict(move)))
    return move
