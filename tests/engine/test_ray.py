"""The same bytes from one process, from all cores and from a Ray cluster that loses nodes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.engine.ray_cluster import RayCluster

pytest.importorskip("ray", reason="needs Ray: pip install -e '.[cluster]'")

NODE_KILLS = int(os.environ.get("GPTOSS_TEST_NODE_KILLS", "3"))
"""How many nodes the cluster loses; ten take some minutes."""
PROGRAM = """
import json, sys
from pathlib import Path
from stages.cluster import load_cluster
from stages.engine.tasks import run_tasks
from tests.engine import jobs
cluster = load_cluster("ray").model_copy(update={"address": sys.argv[1]})
results = run_tasks("slow", jobs.slow_square, json.loads(sys.argv[2]), Path("state"), cluster=cluster)
print(json.dumps(results))
"""


@pytest.mark.slow
def test_a_cluster_that_loses_nodes_completes_every_task(workspace: Path) -> None:
    tasks = [{"number": number, "folder": str(workspace), "seconds": 0.5} for number in range(20 + 12 * NODE_KILLS)]
    with RayCluster(workers=2) as cluster:
        stage = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, cluster.address, json.dumps(tasks)],
            cwd=workspace, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        )  # fmt: skip
        chance = random.Random(7)
        for _ in range(NODE_KILLS):
            time.sleep(chance.uniform(2.0, 8.0))
            if stage.poll() is None:
                cluster.kill_worker()
                cluster.add_worker()
        output, _ = stage.communicate(timeout=300)
    assert stage.returncode == 0
    assert json.loads(output.splitlines()[-1]) == [{"square": task["number"] ** 2} for task in tasks]
    assert sorted(int(path.stem) for path in workspace.glob("*.txt")) == [task["number"] for task in tasks]
