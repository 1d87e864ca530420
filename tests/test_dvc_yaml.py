"""`dvc.yaml` declares what the code uses: a setting or a module that a stage reads but DVC does not watch would
leave a stale result standing."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from gptoss.config.section import Section
from gptoss.config.settings import Settings
from tests.conftest import ROOT

FRAME = {
    "cluster", "configuration", "engine", "entry", "errors", "lifeline", "memory", "paths", "progress", "provenance",
    "settings", "storage", "tracking",
}  # fmt: skip
"""Modules every stage is framed by; they change no result, but for what `settings` decides, see below."""
COMPUTED_FROM = {"Tokenizer": "gptoss/tokenizer/folder.py"}
"""What a section of the settings computes its values from, beside the parameters."""

STAGES: dict[str, Any] = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
SECTIONS = {field.alias or name for name, field in Settings.model_fields.items()}


def sources(stage: str) -> list[Path]:
    folder = ROOT / "stages" / stage
    return sorted(folder.glob("*.py")) if folder.is_dir() else [ROOT / "stages" / f"{stage}.py"]


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_setting_a_stage_reads_is_a_parameter(stage: str) -> None:
    text = "".join(path.read_text() for path in sources(stage))
    read = {match.rstrip("_") for match in re.findall(r"\bsettings\.([a-z_]+)", text)} & SECTIONS
    declared = {param.split(".")[0] for param in STAGES[stage]["params"]}
    assert read - {"name"} <= declared, f"add to params of {stage}: {read - declared}"


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_module_a_stage_imports_is_a_dependency(stage: str) -> None:
    text = "".join(path.read_text() for path in sources(stage))
    imported = set(re.findall(r"from stages\.([a-z_.]+) import", text))
    imported |= {name for line in re.findall(r"from stages import ([a-z_, ]+)", text) for name in line.split(", ")}
    wanted = {name for name in imported if name.split(".")[0] not in FRAME | {stage}}
    deps = STAGES[stage]["deps"]
    missing = {
        name
        for name in wanted
        if not any(
            dep.removesuffix(".py") in (f"stages/{name.replace('.', '/')}", f"stages/{name.split('.')[0]}")
            for dep in deps
        )
    }
    assert not missing, f"add to deps of {stage}: {missing}"


def sections(annotation: Any) -> set[type[Section]]:
    """The sections that a value of this type holds."""
    if not (isinstance(annotation, type) and issubclass(annotation, Section)):
        return {found for argument in get_args(annotation) for found in sections(argument)}
    return {annotation}.union(*(sections(field.annotation) for field in annotation.model_fields.values()))


def parameter(key: str) -> Any:
    """The type of `sources.${key}`, `model.context`, `tokenizer`."""
    annotation: Any = Settings
    for part in key.split("."):
        if isinstance(annotation, type) and issubclass(annotation, Section):
            fields = {field.alias or name: field for name, field in annotation.model_fields.items()}
            annotation = fields[part].annotation
    return annotation


def decides(section: type[Section]) -> bool:
    """Whether a section has values that `params.yaml` need not write out: defaults, and what it computes."""
    return any(not field.is_required() for field in section.model_fields.values()) or any(
        isinstance(value, property | cached_property) for value in vars(section).values()
    )


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_module_that_decides_settings_of_a_stage_is_a_dependency(stage: str) -> None:
    held = {section for key in STAGES[stage]["params"] for section in sections(parameter(key)) if decides(section)}
    wanted = {section.__module__.replace(".", "/") + ".py" for section in held}
    wanted |= {COMPUTED_FROM[section.__name__] for section in held if section.__name__ in COMPUTED_FROM}
    missing = {path for path in wanted if not {path, str(Path(path).parent)} & set(STAGES[stage]["deps"])}
    assert not missing, f"add to deps of {stage}: {missing}"


def test_settings_that_are_written_nowhere_are_known_to_be_decided_in_code() -> None:
    assert {section.__name__ for section in sections(Settings) if decides(section)} >= {"Source", "Tokenizer", "Model"}
    assert sections(parameter("model.context")) == set()
    assert {section.__name__ for section in sections(parameter("sources.${key}"))} == {"Source"}


def test_every_declared_code_dependency_exists() -> None:
    for stage in STAGES.values():
        for dep in stage["deps"]:
            assert dep.startswith(("data/", "models/", "metrics", "reports/", "gpt-oss/", "$")) or (ROOT / dep).exists()
