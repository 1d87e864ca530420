"""Read YAML into closed, immutable models; every fault is one `UserError` with key, value and fix."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gptoss.core.errors import UserError

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]


class Section(BaseModel):
    """A part of a configuration file: immutable, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


M = TypeVar("M", bound=Section)


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, or a `UserError` that names the file and the line."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "run from the root of the checkout") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}", "mend the line it names") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}, not a mapping", "write `key: value` lines")
    return values


def check(model: type[M], values: dict[str, Any], *, origin: str) -> M:
    """Validate a mapping; all faults are reported at once, each as `key = value: what is wrong`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_explain(model, fault) for fault in error.errors()]
        raise UserError("\n".join(f"{origin}: {line}" for line in lines), f"mend {origin}") from None


def _explain(model: type[BaseModel], fault: Any) -> str:
    location = [str(part) for part in fault["loc"]]
    key = ".".join(location) or "(top level)"
    if fault["type"] == "extra_forbidden":
        allowed = _keys_at(model, location[:-1])
        close = difflib.get_close_matches(location[-1], allowed, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"allowed keys: {', '.join(sorted(allowed))}"
        return f"{key} = {fault['input']!r}: unknown key; {hint}"
    if fault["type"] == "missing":
        return f"{key}: missing; profiles/tiny.yaml shows every key"
    message = fault["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if isinstance(fault["input"], dict | BaseModel):
        return f"{key}: {message}"
    return f"{key} = {fault['input']!r}: {message}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """The keys a mapping at `location` accepts, walking nested sections and `dict[str, Section]`."""
    current: Any = model
    for part in location:
        by_key = {field.alias or name: field for name, field in current.model_fields.items()}
        if part not in by_key:
            continue  # the free key of a `dict[str, Section]`
        current = by_key[part].annotation
        if not isinstance(current, type) or not issubclass(current, BaseModel):
            sections = [a for a in get_args(current) if isinstance(a, type) and issubclass(a, BaseModel)]
            if not sections:
                return []
            current = sections[0]
    return [field.alias or name for name, field in current.model_fields.items()]
