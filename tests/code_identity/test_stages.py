"""A change of code concerns exactly the stages whose bytes it may change: by their identities, and by DVC itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from gptoss.code_identity import stages as code_stages
from gptoss.code_identity.stages import fixed_identity, identities, write_identities
from gptoss.config.extensions import ARCHITECTURES, OBJECTIVES, READERS, TOKENIZERS
from gptoss.config.settings import Settings
from gptoss.core.errors import UserError
from tests.conftest import ROOT

FAKE = """
import pathlib, sys
for name in sys.argv[1:]:
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}") if path.suffix else path.mkdir(exist_ok=True)
"""
"""Stands for every stage but `code`: it writes outputs of the right names."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code and the pipeline, as the working directory; identities are computed of the copy."""
    for name in ("gptoss", "stages", "evals"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml", "LICENSE"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    monkeypatch.setattr(code_stages, "root_of_code", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def append_statement(path: Path) -> None:
    path.write_text(path.read_text() + "\nADDED = 1\n")


def reworded(path: Path) -> None:
    """A comment, a docstring and an annotation are changed."""
    text = re.sub(r'\A"""', '"""Reworded. ', path.read_text())
    path.write_text(re.sub(r"^def (\w+)\((\w+): \w+", r"def \1(\2: object", text, count=1, flags=re.M) + "\n# Why.\n")


def changed(checkout: Path, path: str, change: Callable[[Path], None] = append_statement) -> set[str]:
    """The stages (for ingest: the formats) whose identity a change of one file changes."""
    before = identities(checkout)
    original = (checkout / path).read_text()
    change(checkout / path)
    assert (checkout / path).read_text() != original
    after = identities(checkout)
    (checkout / path).write_text(original)
    return {stage for stage in after if after[stage] != before[stage]}


FORMATS = {f"ingest-{reader}" for reader in READERS}
STAGES = {path.stem for path in (ROOT / "stages").glob("[a-z]*.py")} - {"code", "ingest"}
REACHED_BY = {
    "gptoss/formats/warc.py": {"ingest-warc"},
    "gptoss/formats/wikitext.py": {"ingest-mediawiki"},
    "gptoss/formats/latex/to_text.py": {"ingest-arxiv"},
    "gptoss/formats/records.py": FORMATS,
    "gptoss/dedup/minhash.py": {"dedup"},
    "gptoss/text/normalize.py": {"dedup", "decontaminate"},
    "gptoss/quality/rules/gopher.py": {"curate"},
    "gptoss/pii/phones.py": {"curate"},
    "gptoss/tokenizer/bpe.py": {"tokenizer", "publish"},
    "gptoss/tokenizer/chat_template.jinja": {"tokenizer", "shards", "publish", "instruct", "register"},
    "gptoss/train/loss_scaling.py": {"pretrain"},
    "gptoss/train/optimizer.py": {"pretrain"},
    "gptoss/train/objectives/causal_lm.py": {"pretrain"},
    "gptoss/train/objectives/fill_in_the_middle.py": set(),  # params.yaml selects the other one
    "gptoss/models/gpt_neox.py": set(),
    "gptoss/finetune/training.py": {"instruct"},
    "gptoss/finetune/conversations.jsonl": {"instruct"},
    "gptoss/publish/README.md.jinja": {"publish"},
    "gptoss/evaluate/sandbox.py": {"evaluate"},
    "gptoss/evaluate/namespaces.py": {"evaluate"},
    "gptoss/registry/promotion.py": {"register"},
    "gptoss/report/facts.py": {"report"},
    "gptoss/config/curate.py": {"curate"},
    "gptoss/config/shards.py": {"shards"},
    "gptoss/config/register.py": {"register"},
    "gptoss/config/settings.py": set(),
    "gptoss/config/extensions.py": set(),
    "gptoss/config/cluster.py": set(),
    "gptoss/launch/slurm.py": set(),
    "gptoss/launch/worker.py": set(),
    "gptoss/tracking/mlflow_run.py": set(),
    "gptoss/executor/scheduler.py": set(),
    "gptoss/core/atomic_files.py": set(),
    "gptoss/core/canonical_json.py": STAGES | FORMATS,
    "gptoss/config/yaml_sections.py": set(),
    "gptoss/simulate/live_storage.py": set(),
    "gptoss/cli/plan.py": set(),
    "gptoss/pipeline/stage_graph.py": set(),
    "stages/dedup.py": {"dedup"},
}


@pytest.mark.parametrize("path", REACHED_BY)
def test_a_statement_changes_exactly_the_stages_that_reach_it(path: str, checkout: Path) -> None:
    assert changed(checkout, path) == REACHED_BY[path]


def test_every_hashed_package_has_stages_and_rewording_changes_none(checkout: Path) -> None:
    for package in sorted({Path(path).parent for path in REACHED_BY if path.endswith(".py")}):
        for path in sorted(package.glob("*.py"))[1:3]:
            assert changed(checkout, str(path), reworded) == set(), path


BY_NAME = {*OBJECTIVES.values(), *ARCHITECTURES.values(), *TOKENIZERS.values()} | {
    "gptoss.launch.worker",
    "gptoss.evaluate.namespaces",
}
"""Modules that no import statement leads to."""


def test_a_module_belongs_to_a_stage_only_if_its_imports_lead_there(checkout: Path) -> None:
    """Against grimp, which builds import graphs of its own; it also follows imports that only annotations use."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("gptoss", "stages", exclude_type_checking_imports=True, cache_dir=None)
    for stage, digests in identities(checkout).items():
        name, _, reader = stage.partition("-")
        start = {f"stages.{name}"} | ({f"gptoss.formats.{reader}"} if reader else set())
        modules = {key.replace("/", ".").removesuffix(".__init__") for key in digests if "." not in key}
        start |= BY_NAME & (modules | {"gptoss.launch.worker"} if name == "pretrain" else modules)
        reachable = start.union(*(graph.find_upstream_modules(module) for module in start))
        assert {module for module in modules if not module.startswith("gptoss.config.")} <= reachable, stage


def test_identities_are_written_once_and_a_damaged_cache_is_harmless(checkout: Path) -> None:
    assert write_identities()
    assert not write_identities()
    (checkout / code_stages.CACHE).write_text("{")
    assert not write_identities()
    append_statement(checkout / "gptoss/train/step.py")
    stamps = {path: path.stat().st_mtime_ns for path in (checkout / "data/code").iterdir()}
    assert write_identities()
    assert {p.name for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp} == {"pretrain.yaml"}


def test_stages_that_start_together_may_all_write_the_identities(checkout: Path) -> None:
    program = "from gptoss.code_identity.stages import write_identities\nfor _ in range(8): write_identities()"
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    for _ in range(3):
        append_statement(checkout / "gptoss/config/section.py")
        together = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(3)]
        assert [process.wait() for process in together] == [0, 0, 0]
    assert not list((checkout / "data/code").glob(".*"))


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"version": 1, "syntax": {"k": [1]}}', '{"syntax": null, "version": ""}']
)
def test_a_damaged_cache_is_ignored(damage: str, checkout: Path) -> None:
    before = identities(checkout)
    cache = checkout / code_stages.CACHE
    version = json.loads(cache.read_text())["version"]
    cache.write_text(damage.replace('"version": 1', f'"version": "{version}"'))
    assert identities(checkout) == before


def test_dvc_records_the_code_with_which_a_stage_began(checkout: Path) -> None:
    write_identities()
    files = [checkout / "data/code/pretrain.yaml", checkout / "data/code/ingest-mediawiki.yaml"]
    before = [file.read_text() for file in files]
    with fixed_identity("pretrain"), fixed_identity("ingest@wikipedia"):
        append_statement(checkout / "gptoss/config/section.py")
        assert write_identities()  # by another stage, or by `gptoss plan`
        assert all(file.read_text() != text for file, text in zip(files, before, strict=True))
    assert [file.read_text() for file in files] == before
    assert write_identities()


def test_a_value_of_a_section_is_not_its_code(checkout: Path) -> None:
    """`tokenizer` reads `model.context`, which `params.yaml` holds; `report` reads `dedup.substrings`, a section."""
    found = identities(checkout)
    assert "gptoss/config/model" not in found["tokenizer"]
    assert "gptoss/config/dedup" in found["report"]
    assert "gptoss/config/decontaminate" not in found["report"]


@pytest.mark.parametrize("content", ["stages:\n", "[1]", "stages: {a: null}"])
def test_a_broken_dvc_yaml_is_named(content: str, checkout: Path) -> None:
    (checkout / "dvc.yaml").write_text(content)
    with pytest.raises(UserError, match=r"dvc\.yaml"):
        identities(checkout)


def test_a_source_that_is_not_text_is_named(checkout: Path) -> None:
    (checkout / "gptoss/train/step.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(UserError, match=r"gptoss/train/step\.py"):
        identities(checkout)


def test_settings_compute_nothing_since_they_are_not_hashed() -> None:
    assert not [name for name, value in vars(Settings).items() if isinstance(value, property | cached_property)]


def test_a_module_that_cannot_be_parsed_is_named(checkout: Path) -> None:
    (checkout / "gptoss/train/step.py").write_text("def broken(:\n")
    with pytest.raises(UserError, match=r"gptoss/train/step\.py, line 1"):
        identities(checkout)


def test_dvc_yaml_names_no_path_of_the_code() -> None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    deps = [dep for stage in stages.values() for dep in stage.get("do", stage).get("deps", [])]
    assert deps and not [dep for dep in deps if dep.startswith(("gptoss", "stages", "flows"))]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project with this code, this pipeline, and every stage but `code` replaced by one that ends at once."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("gptoss", "stages", "evals"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    pipeline: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    for name, stage in pipeline["stages"].items():
        if name != "code":
            do = stage.get("do", stage)
            plots = [path for plot in do.get("plots", []) for path in plot]
            do["cmd"] = " ".join(["python fake.py", *do["outs"], *do.get("metrics", []), *plots])
            if name == "decontaminate":
                do["cmd"] += " data/clean/contamination.json"
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    (folder / "fake.py").write_text(FAKE)
    dvc(folder, "init", "-q", "--no-scm")
    dvc(folder, "repro", "-q")
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def out_of_date(folder: Path) -> dict[str, list[Any]]:
    """What `dvc status` lists after `code` has run, without `code`, which it always lists."""
    dvc(folder, "repro", "-q", "--single-item", "code")
    status: dict[str, list[Any]] = json.loads(dvc(folder, "status", "--json"))
    assert status.pop("code") == ["always changed"]
    return status


@pytest.mark.slow
def test_dvc_status_lists_what_a_change_concerns_and_names_the_module(project: Path) -> None:
    assert out_of_date(project) == {}
    for path in ("gptoss/train/step.py", "gptoss/dedup/minhash.py", "stages/pretrain.py"):
        reworded(project / path)
    for package in ("launch", "tracking"):
        append_statement(next(p for p in sorted((project / "gptoss" / package).glob("*.py")) if p.stem != "__init__"))
    assert out_of_date(project) == {}

    append_statement(project / "gptoss/report/facts.py")
    append_statement(project / "gptoss/train/step.py")
    append_statement(project / "gptoss/formats/gutenberg.py")
    (project / "evals/suites/new.yaml").write_text("tasks: {}\n")
    status = out_of_date(project)
    assert status["pretrain"] == [{"changed deps": {"data/code/pretrain.yaml": {"gptoss/train/step": "modified"}}}]
    assert status.keys() == {
        "report", "pretrain", "ingest@gutenberg", "benchmarks", "evaluate@base", "evaluate@instruct",
    }  # fmt: skip
    dvc(project, "repro", "-q")
    assert out_of_date(project) == {}
