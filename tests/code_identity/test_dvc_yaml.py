"""`dvc.yaml` declares what the code uses: a setting or a module that a stage reads but DVC does not watch would leave a
stale result in place."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from gptoss.code_identity.stages import identities
from gptoss.config.section import Section
from gptoss.config.settings import Settings
from tests.conftest import ROOT

STAGES: dict[str, Any] = {
    name: stage.get("do", stage)
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
    if name != "code"
}
SECTIONS = {field.alias or name for name, field in Settings.model_fields.items()}
IDENTITIES = identities(ROOT)


def parameters(stage: str) -> list[str]:
    """The keys of `params.yaml` that a stage declares."""
    return [key for key in STAGES[stage]["params"] if isinstance(key, str)]


@pytest.mark.parametrize("identity", sorted(IDENTITIES))
def test_every_setting_that_code_of_a_stage_reads_is_a_parameter(identity: str) -> None:
    modules = [key for key in IDENTITIES[identity] if not key.startswith("gptoss/config/")]
    text = "".join(path.read_text() for key in modules if (path := ROOT / f"{key}.py").exists())
    read = {match.rstrip("_") for match in re.findall(r"\bsettings\.([a-z_]+)", text)} & SECTIONS
    stage = identity.partition("-")[0]
    declared = {key.split(".")[0] for key in parameters(stage)}
    assert read - {"name"} <= declared, f"add to params of {stage}: {read - declared}"


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_stage_depends_on_its_code(stage: str) -> None:
    files = [path for entry in STAGES[stage]["params"] if isinstance(entry, dict) for path in entry]
    assert files == [f"data/code/{stage}{'-${item.format}' if stage == 'ingest' else ''}.yaml"]
    assert {identity.partition("-")[0] for identity in IDENTITIES} == set(STAGES)


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
def test_every_module_that_decides_settings_of_a_stage_is_part_of_its_code(stage: str) -> None:
    held = {section for key in parameters(stage) for section in sections(parameter(key)) if decides(section)}
    wanted = {section.__module__.replace(".", "/") for section in held}
    for identity, digests in IDENTITIES.items():
        if identity.partition("-")[0] == stage:
            assert wanted <= digests.keys()


def test_settings_that_are_written_nowhere_are_known_to_be_decided_in_code() -> None:
    names = {section.__name__ for section in sections(Settings) if decides(section)}
    assert names >= {"SourceConfig", "TokenizerConfig", "ModelConfig"}
    assert sections(parameter("model.context")) == set()
    assert {section.__name__ for section in sections(parameter("sources.${key}"))} == {"SourceConfig"}


def test_every_declared_dependency_on_a_file_of_the_project_exists() -> None:
    for stage in STAGES.values():
        for dep in stage.get("deps", []):
            made = dep.startswith(("data/", "models/", "metrics", "reports/", "gpt-oss/", "$"))
            assert made or Path(ROOT / dep).exists(), dep
