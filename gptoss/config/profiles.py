"""Profiles: partial configurations in `profiles/NAME.yaml`, composed to a complete one (`gptoss use NAME`).

`base` names the profile that a profile changes; mappings merge key by key, except `sources`, which is replaced as a
whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gptoss.config.yaml_sections import load_yaml
from gptoss.core.errors import UserError

PROFILES = Path("profiles")


def compose(profile: str, folder: Path = PROFILES) -> dict[str, Any]:
    """The complete configuration of a profile. Raises `UserError` with the names of all profiles."""
    path = folder / f"{profile}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise UserError(f"there is no profile {profile!r}", f"choose one of: {known}")
    values = load_yaml(path)
    base = values.pop("base", None)
    return merge(compose(base, folder), values) if base else values


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Overlay `above` on `below`: mappings are merged, everything else, and `sources`, is replaced."""
    # A profile that names its sources wants exactly those, not the ones of its base as well.
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both and key != "sources" else value
    return merged
