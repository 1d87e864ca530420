"""Move the alias `champion` by hand, or print its history.

`--to` applies the rule of `register`: every gate passed, every row of the present champion was measured again in the
same way, none fell, and bits per byte did not rise. `--force REASON` overrides the rule; the reason is recorded.
Without any of these options it prints which versions were champion, when and why.
"""

from __future__ import annotations

import argparse
from typing import Any

from gptoss.core.errors import UserError
from gptoss.core.process import set_quiet_env
from gptoss.registry.promotion import decide_by_tags
from gptoss.tracking.mlflow_client import connect, tracking_uri


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a registered model; default: the base model of params.yaml")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--to", metavar="VERSION", help="make this version champion")
    action.add_argument("--rollback", action="store_true", help="return the alias to the previous champion")
    parser.add_argument("--force", metavar="REASON", help="promote against the rule, for this reason")


def execute(options: argparse.Namespace) -> None:
    """Promote, roll back, or print the history.

    Errors: `UserError` for an unknown model or version, and when the rule forbids the promotion; `ClusterError` when
    MLflow does not answer.
    """
    set_quiet_env()

    from gptoss.config.settings import load_settings
    from gptoss.registry import champions
    from gptoss.registry.versions import registry_errors, registry_name

    settings = load_settings()
    name = options.model or registry_name(settings.name, "base")
    with registry_errors():
        client, _ = connect(f"gpt-oss-{settings.name}")
        # Before anything is moved, so that an unknown version ends in a message that says what to name instead.
        check_known(client, name, options.to)
        if options.rollback:
            # The reason is required for a promotion against the rule only: rolling back is the safe direction.
            version = champions.roll_back(client, name, options.force or "by hand")
            print(f"{name} version {version} is champion again")
        elif options.to is not None:
            promote(client, name, options.to, settings.register_.max_drop_standard_errors, options.force)
            print(f"{name} version {options.to} is champion")
        else:
            for entry in champions.history(client, name):
                print(f"{entry.at}  version {entry.version} {entry.what} by {entry.by}: {entry.why}")


def check_known(client: Any, name: str, version: str | None) -> None:
    """Errors: `UserError` when the registry has no such model or version."""
    from mlflow.exceptions import MlflowException

    from gptoss.registry.versions import NOT_FOUND_CODES

    try:
        if version is not None:
            client.get_model_version(name, version)
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND_CODES:
            raise
        # An unknown name is a mistake of the command line; all other errors of MLflow are handled by the caller.
        raise UserError(
            f"the registry at {tracking_uri()} has no {name}{f' version {version}' if version else ''}: "
            f"{error.message}",
            "run `make run`, which registers, or name another with --model and --to",
        ) from None


def promote(client: Any, name: str, version: str, standard_errors: float, force: str | None) -> None:
    """Make `version` champion if the rule allows it or a reason to override it is given in `force`.

    Errors: `UserError` with every reason against the promotion.
    """
    from gptoss.registry import champions

    candidate, champion = client.get_model_version(name, version), champions.get_champion(client, name)
    if champion is not None and str(champion.version) == str(candidate.version):
        raise UserError(f"{name} version {version} is champion already", "nothing needs to be done")
    decision = decide_by_tags(candidate.tags, champion.tags if champion is not None else None, standard_errors)
    # All reasons are recorded with the move, also those that a forced promotion overrules.
    reasons = "; ".join(decision.reasons)
    if decision.promoted:
        change, reason = "promoted", f"by hand; {reasons}"
    elif force is not None:
        change, reason = "forced", f"{force} (against: {reasons})"
    else:
        raise UserError(
            f"{name} version {version} is not promoted: {reasons}", "to promote it anyway, state why: --force REASON"
        )
    champions.set_champion(client, name, str(candidate.version), change, reason)
