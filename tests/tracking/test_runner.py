"""The command line of stages: fast help, unknown keys named, metrics flattened."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gptoss.pipeline.stage_graph import load_graph
from gptoss.tracking.runner import flatten
from tests.conftest import ROOT

HELP = """
import contextlib, io, runpy, sys
for module in sys.argv[1:]:
    sys.argv = [module, "--help"]
    output = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        runpy.run_module(module, run_name="__main__")
    assert "usage: python -m" in output.getvalue(), module
    heavy = {"torch", "transformers", "mlflow", "prefect", "datasets", "lm_eval", "matplotlib"} & set(sys.modules)
    assert not heavy, (module, heavy)
"""


def test_help_needs_no_heavy_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    stages = sorted({node.command.split()[2] for node in load_graph()})
    done = subprocess.run(
        [sys.executable, "-c", HELP, *stages, "gptoss.launch.node", "gptoss.launch.external"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_key_that_is_no_source_names_those_there_are() -> None:
    done = subprocess.run([sys.executable, "-m", "stages.ingest", "nowhere"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: stages.ingest knows no 'nowhere'\n  fix: choose one of: gutenberg, wikipedia")


def test_metrics_flatten_with_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
