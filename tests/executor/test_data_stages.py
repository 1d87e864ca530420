"""The data stages give the same bytes on one core, on all cores, on a Ray cluster that loses nodes, and after kills."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from gptoss.core import paths
from tests.conftest import ROOT
from tests.executor.data_stages import corpus, outputs

STAGE_KILLS = int(os.environ.get("GPTOSS_TEST_STAGE_KILLS", "3"))
NODE_KILLS = int(os.environ.get("GPTOSS_TEST_NODE_KILLS", "1"))
"""Number of kills; ten of each take ten minutes."""


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    """Start the data stages in a new folder with the same corpus."""

    def begin(name: str, cluster: str, address: str = "") -> subprocess.Popen[bytes]:
        folder = tmp_path / name
        if not folder.exists():
            folder.mkdir()
            corpus(folder)
            shutil.copytree(ROOT / "infra" / "clusters", folder / "infra" / "clusters")
            if address:
                file = folder / "infra" / "clusters" / "ray.yaml"
                file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"address": address}))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GPTOSS_CLUSTER": cluster}
        return subprocess.Popen([sys.executable, "-m", "tests.executor.data_stages"], cwd=folder, env=environment)

    return begin


@pytest.fixture
def expected(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> dict[str, str]:
    """The output of one process."""
    assert start("single", "single").wait() == 0
    removed = [pq.read_table(path) for path in (tmp_path / "single" / paths.DEDUPED).glob("removed-*.parquet")]
    assert {reason for table in removed for reason in table["reason"].to_pylist()} >= {"fuzzy"}
    return outputs(tmp_path / "single")


@pytest.mark.slow
def test_killed_at_any_point_the_same_command_gives_the_same_bytes(
    start: Callable[..., subprocess.Popen[bytes]], expected: dict[str, str], tmp_path: Path
) -> None:
    chance = random.Random(11)
    kills = 0
    while True:
        stages = start("local", "local")
        try:
            stages.wait(chance.uniform(2.0, 9.0) if kills < STAGE_KILLS else None)
        except subprocess.TimeoutExpired:
            stages.send_signal(signal.SIGKILL)
            stages.wait()
            kills += 1
            continue
        assert stages.returncode == 0
        break
    assert outputs(tmp_path / "local") == expected


@pytest.mark.slow
def test_a_ray_cluster_that_loses_nodes_gives_the_same_bytes(
    start: Callable[..., subprocess.Popen[bytes]], expected: dict[str, str], tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="needs Ray, see requirements.lock")
    from tests.executor.ray_cluster import RayCluster

    chance = random.Random(7)
    with RayCluster(workers=1) as cluster:
        stages = start("ray", "ray", cluster.address)
        for _ in range(NODE_KILLS):
            time.sleep(chance.uniform(4.0, 14.0))
            if stages.poll() is None:
                cluster.kill_worker()
                cluster.add_worker()
        assert stages.wait(timeout=600) == 0
    assert outputs(tmp_path / "ray") == expected
