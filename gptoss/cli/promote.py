"""Move the alias `champion` by hand: `python -m gptoss.cli.promote --to VERSION` or `--rollback`.

`--to` applies the rule of `register`: every gate passed, every row of the present champion was measured again in the
same way, none fell, and bits per byte did not rise. `--force REASON` overrides it; the reason is kept. Without any of
these, it prints who was champion, when and why.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from gptoss.core.errors import UserError
from gptoss.core.process import exit_code_of, set_quiet_env

UNKNOWN_GATES = ({"name": "unknown to the registry", "passed": False},)
"""What stands for the gates of a version from before they were kept as a tag."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Promote, roll back, or print the history; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gptoss.cli.promote", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a registered model; default: the base model of params.yaml")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--to", metavar="VERSION", help="make this version champion")
    action.add_argument("--rollback", action="store_true", help="give the alias back to the champion before")
    parser.add_argument("--force", metavar="REASON", help="promote against the rule, for this reason")
    options = parser.parse_args(arguments)
    set_quiet_env()
    return exit_code_of(lambda: move(options.model, options.to, rollback=options.rollback, force=options.force))


def move(model: str | None, to: str | None, *, rollback: bool = False, force: str | None = None) -> None:
    """Do what the command line says. Raises `UserError` for an unknown model or version, and when the rule speaks
    against a promotion; `ClusterError` when MLflow is away."""
    from gptoss.config.settings import load_settings
    from gptoss.registry import champions
    from gptoss.registry.versions import registry_errors, registry_name
    from gptoss.tracking.mlflow_run import connect

    settings = load_settings()
    name = model or registry_name(settings.name, "base")
    with registry_errors():
        client, _ = connect(f"gpt-oss-{settings.name}")
        check_known(client, name, to)
        if rollback:
            version = champions.roll_back(client, name, force or "by hand")
            print(f"{name} version {version} is champion again")
        elif to is not None:
            promote(client, name, to, settings.register_.max_drop_standard_errors, force)
            print(f"{name} version {to} is champion")
        else:
            for entry in champions.history(client, name):
                print(f"{entry.at}  version {entry.version} {entry.what} by {entry.by}: {entry.why}")


def check_known(client: Any, name: str, version: str | None) -> None:
    """Raises `UserError` when the registry has no such model or version."""
    from mlflow.exceptions import MlflowException

    from gptoss.registry.versions import NOT_FOUND_CODES
    from gptoss.tracking.mlflow_run import tracking_uri

    try:
        if version is not None:
            client.get_model_version(name, version)
        client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND_CODES:
            raise
        raise UserError(
            f"the registry at {tracking_uri()} has no {name}{f' version {version}' if version else ''}: "
            f"{error.message}",
            "run `make run`, which registers, or name another with --model and --to",
        ) from None


def promote(client: Any, name: str, version: str, standard_errors: float, force: str | None) -> None:
    """Make `version` champion if the rule allows it, or by force. Raises `UserError` with what speaks against it."""
    from gptoss.registry import champions, promotion

    candidate, champion = client.get_model_version(name, version), champions.get_champion(client, name)
    if champion is not None and str(champion.version) == str(candidate.version):
        raise UserError(f"{name} version {version} is champion already", "nothing needs to be done")
    known = candidate.tags.get(champions.GATES_TAG)
    gates = json.loads(known) if known else UNKNOWN_GATES
    decision = promotion.decide(
        promotion.from_tags(candidate.tags),
        promotion.from_tags(champion.tags) if champion is not None else None,
        {"gates": gates},
        standard_errors,
    )
    if not decision.promoted and force is None:
        raise UserError(
            f"{name} version {version} is not promoted: {'; '.join(decision.reasons)}",
            "to promote it all the same, say why: --force REASON",
        )
    reasons = "; ".join(decision.reasons)
    what, why = (
        ("promoted", f"by hand; {reasons}") if decision.promoted else ("forced", f"{force} (against: {reasons})")
    )
    champions.set_champion(client, name, str(candidate.version), what, why)


if __name__ == "__main__":
    sys.exit(main())
