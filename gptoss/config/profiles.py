"""Choose a size: `python -m gptoss.config.profiles 20b` writes `params.yaml` from `profiles/20b.yaml`.

A profile is a partial configuration: `base` names the profile it changes; mappings merge key by key, except
`sources`, which is replaced as a whole.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptoss.config.section import check, load_yaml
from gptoss.config.settings import PARAMS, Settings
from gptoss.core.atomic_files import write_text
from gptoss.core.errors import UserError
from gptoss.core.process import exit_code_of

PROFILES = Path("profiles")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write `params.yaml`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gptoss.config.profiles",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("profile", help="name of a file in profiles/, such as tiny or 20b")
    options = parser.parse_args(arguments)
    return exit_code_of(lambda: use(options.profile))


def use(profile: str) -> None:
    """Replace `params.yaml` by the composed and checked profile."""
    values = compose(profile)
    check(Settings, values, origin=f"profiles/{profile}.yaml")
    source = PROFILES / f"{profile}.yaml"
    text = source.read_text() if "base" not in load_yaml(source) else _dump(profile, values)
    write_text(PARAMS, text)
    print(f"params.yaml is now the profile {profile}; `make run` makes the model {values['name']}")


def compose(profile: str, folder: Path = PROFILES) -> dict[str, Any]:
    """The complete configuration of a profile. Raises `UserError` naming the profiles there are."""
    path = folder / f"{profile}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise UserError(f"there is no profile {profile!r}", f"choose one of: {known}")
    values = load_yaml(path)
    base = values.pop("base", None)
    return merge(compose(base, folder), values) if base else values


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`: mappings merge, everything else (and `sources`) replaces."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both and key != "sources" else value
    return merged


def _dump(profile: str, values: dict[str, Any]) -> str:
    import yaml

    header = f"# Written by `make use PROFILE={profile}`. Change it freely: DVC reruns what depends on a change.\n"
    return header + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main())
