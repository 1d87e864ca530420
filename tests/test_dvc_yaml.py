"""`dvc.yaml` declares what the code uses: a setting or a module that a stage reads but DVC does not watch would
leave a stale result standing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.settings import Settings
from tests.conftest import ROOT

FRAME = {
    "cluster", "configuration", "engine", "entry", "errors", "lifeline", "memory", "paths", "progress", "provenance",
    "settings", "storage", "tracking",
}  # fmt: skip
"""Modules every stage is framed by; they change no result."""

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


def test_every_declared_code_dependency_exists() -> None:
    for stage in STAGES.values():
        for dep in stage["deps"]:
            assert dep.startswith(("data/", "models/", "metrics", "reports/", "gpt-oss/", "$")) or (ROOT / dep).exists()
