"""The aliases `candidate` and `champion` of a registered model, and the history of `champion`.

MLflow records where an alias points, not where it pointed before. So each move is also a tag of the registered model,
`gptoss.champion.NNNN`: JSON with the version, what happened (`promoted`, `forced` or `rolled back`), why, by whom and
when (UTC). A roll-back undoes the latest move, so two of them undo two.

The alias is authoritative. Where it differs from the history (it was moved in MLflow's page, or a process was killed
between the record and the alias), the next move first records where it was found.
"""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from gptoss.core.errors import UserError
from gptoss.registry.promotion import Decision, decide_by_tags
from gptoss.registry.versions import NOT_FOUND_CODES, not_reachable

CANDIDATE = "candidate"
CHAMPION = "champion"
HISTORY_TAG = "gptoss.champion."
ROLLED_BACK = "rolled back"


@dataclass(frozen=True)
class Move:
    """One move of the alias. The fields are the keys of the JSON in the registry."""

    version: str
    what: str
    why: str
    by: str
    at: str


def promote_candidate(client: Any, version: Any, max_drop: float) -> Decision:
    """Point `candidate` to a version, and `champion` if the rule allows it; decision and reasons become tags."""
    name, number = version.name, str(version.version)
    client.set_registered_model_alias(name, CANDIDATE, number)
    champion = get_champion(client, name)
    # From tags and not from files, so that a promotion by hand later decides from the same values.
    decision = decide_by_tags(version.tags, champion.tags if champion else None, max_drop)
    reasons = "; ".join(decision.reasons)
    if decision.undecided:
        reasons += f'; `gptoss promote --model {name} --to {number} --force "why"` decides'
    # A repeated run may find its own version as champion: that is not a move.
    if decision.promoted and (champion is None or str(champion.version) != number):
        set_champion(client, name, number, "promoted", reasons)
    tags = {
        "gptoss.promoted": str(decision.promoted).lower(),
        "gptoss.compared_with": f"version {champion.version}" if champion else "no champion",
        "gptoss.reasons": reasons,
    }
    for key, value in tags.items():
        client.set_model_version_tag(name, number, key, value)
    print(f"{name} version {number}: {'champion' if decision.promoted else 'candidate only'} ({reasons})")
    return decision


def get_champion(client: Any, name: str) -> Any:
    """Return the version the alias points to; None when the registry answers that there is no such model or alias.

    Errors: `ClusterError` when the registry does not answer. Counting that as "no champion" would promote anything.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in NOT_FOUND_CODES:
            return None
        raise not_reachable(error) from None


def history(client: Any, name: str) -> list[Move]:
    """Return every recorded move, oldest first."""
    # Tags have no order of their own; the keys are numbered.
    tags = client.get_registered_model(name).tags
    return [Move(**json.loads(value)) for key, value in sorted(tags.items()) if key.startswith(HISTORY_TAG)]


def rollback_chain(moves: list[Move]) -> list[str]:
    """Return the versions that successive roll-backs would restore, the present champion last."""
    versions: list[str] = []  # used as a stack: a roll-back pops, any other move pushes
    for move in moves:
        if move.what == ROLLED_BACK and move.version in versions:
            del versions[versions.index(move.version) + 1 :]
        elif move.version not in versions[-1:]:
            versions.append(move.version)
    return versions


def set_champion(client: Any, name: str, version: str, what: str, why: str) -> None:
    """Make `version` champion and record why."""
    moves = sync_history(client, name)
    # The record comes first: after a kill in between, the alias still points to the previous champion, and the next
    # move records that. In the other order the move would be lost.
    _record(client, name, len(moves), version, what, why)
    client.set_registered_model_alias(name, CHAMPION, version)


def sync_history(client: Any, name: str) -> list[Move]:
    """Return every move, after recording where the alias is if the last move did not put it there.

    An earlier champion is recorded as a roll-back, any other version as a promotion.
    """
    moves, champion = history(client, name), get_champion(client, name)
    versions = rollback_chain(moves)
    if champion is None or str(champion.version) in versions[-1:]:
        return moves
    found = str(champion.version)
    what = ROLLED_BACK if found in versions else "promoted"
    return [*moves, _record(client, name, len(moves), found, what, "found as champion")]


def roll_back(client: Any, name: str, why: str) -> str:
    """Return the alias to the champion before the present one; returns its version.

    Errors: `UserError` when there was none, or its version was deleted.
    """
    from mlflow.exceptions import MlflowException

    versions = rollback_chain(sync_history(client, name))
    if len(versions) < 2:
        raise UserError(
            f"{name} had no champion before {f'version {versions[-1]}' if versions else 'any'}",
            "name a version with `gptoss promote --to VERSION`",
        )
    previous = versions[-2]
    # Checked before anything is recorded, so that a refused roll-back leaves no trace in the history.
    try:
        client.get_model_version(name, previous)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND_CODES:
            raise not_reachable(error) from None
        raise UserError(
            f"{name} version {previous}, the champion before, is no longer in the registry",
            'name another with `gptoss promote --to VERSION` (`--force "why"` against the rule)',
        ) from None
    set_champion(client, name, previous, ROLLED_BACK, why)
    return previous


def _record(client: Any, name: str, number: int, version: str, what: str, why: str) -> Move:
    move = Move(str(version), what, why, getpass.getuser(), datetime.now(UTC).isoformat(timespec="seconds"))
    # Four digits, so that the order of the keys is that of the moves.
    client.set_registered_model_tag(name, f"{HISTORY_TAG}{number:04d}", json.dumps(asdict(move)))
    return move
