"""Read YAML into sections; all mistakes are reported in one `UserError` with key, value and fix."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from gptoss.config.section import Section
from gptoss.core.errors import UserError

S = TypeVar("S", bound=Section)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises `UserError` that names the file and the line."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "run from the root of the checkout") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}", "fix the line it names") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}, not a mapping", "write `key: value` lines")
    return values


def check(model: type[S], values: dict[str, Any], *, origin: str) -> S:
    """Validate a mapping from the file `origin`. Raises one `UserError` with all mistakes: `key = value: problem`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{origin}: {_explain(model, mistake)}" for mistake in error.errors()]
        raise UserError("\n".join(lines), f"fix {origin}") from None


def _explain(model: type[BaseModel], mistake: Any) -> str:
    location = [str(part) for part in mistake["loc"]]
    key = ".".join(location) or "(top level)"
    if mistake["type"] == "extra_forbidden":
        allowed = _keys_at(model, location[:-1])
        close = difflib.get_close_matches(location[-1], allowed, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"allowed keys: {', '.join(sorted(allowed))}"
        return f"{key} = {mistake['input']!r}: unknown key; {hint}"
    if mistake["type"] == "missing":
        return f"{key}: missing; profiles/tiny.yaml shows every key"
    message = mistake["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    # For a check of a whole section the input is the section: printing it would hide the message.
    if isinstance(mistake["input"], dict | BaseModel):
        return f"{key}: {message}"
    return f"{key} = {mistake['input']!r}: {message}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """The keys that the mapping at `location` accepts, through nested sections and `dict[str, Section]`."""
    current: Any = model
    for part in location:
        by_key = {field.alias or name: field for name, field in current.model_fields.items()}
        if part not in by_key:
            continue  # a key of a `dict[str, Section]` that the user chose
        current = by_key[part].annotation
        if not isinstance(current, type) or not issubclass(current, BaseModel):
            # `Section | None`, `dict[str, Section]` and `tuple[Section, ...]` all name one section.
            sections = [a for a in get_args(current) if isinstance(a, type) and issubclass(a, BaseModel)]
            if not sections:
                return []
            current = sections[0]
    return [field.alias or name for name, field in current.model_fields.items()]
