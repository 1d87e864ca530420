"""Environment variables of a rank: those this package adds to what torchrun or Slurm sets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gptoss
from gptoss.train.run_config import RunConfig

RUN_CONFIG_ENV = "GPTOSS_RUN_CONFIG"
"""Path of the run configuration as JSON. Set for ranks that our launcher starts; ranks that another launcher starts do
not have it and receive the configuration from rank 0."""
STOPPED_ENV = "GPTOSS_STOPPED_FILE"
"""Path of the file that a rank creates for the torchrun agent of its node when it has stopped on request."""
LAUNCHER_PID_ENV = "GPTOSS_LAUNCHER_PID"
"""Process id of the launcher. A child compares it with its parent to detect that the launcher died before the child
could ask the kernel for a signal at its parent's death."""
RESTART_COUNT_ENV = "TORCHELASTIC_RESTART_COUNT"
"""How often the ranks have been restarted. torchrun sets it; our Slurm job sets the same name."""


def worker_environment(run_config: RunConfig) -> dict[str, str]:
    """The environment of the ranks: run configuration, number of threads, and the path of this package."""
    root = str(Path(gptoss.__file__).resolve().parent.parent)
    values = {
        **os.environ,
        RUN_CONFIG_ENV: str(config_file(run_config.state).resolve()),
        LAUNCHER_PID_ENV: str(os.getpid()),
        "OMP_NUM_THREADS": str(run_config.cluster.threads_per_process),
        # The ranks must run this checkout's code even when the working directory is another one (tests, Slurm).
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
    }
    if run_config.cluster.nodes == 1 and run_config.cluster.device == "cpu" and sys.platform.startswith("linux"):
        # gloo resolves the host name to find its interface; in containers and on laptops that address is often not
        # reachable. Ranks of one node only need the loopback device.
        values.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return values


def config_file(state: Path) -> Path:
    """Where the launcher writes the run configuration for the ranks."""
    return state / "run_config.json"


def restart_count() -> int:
    """How often torchrun, or the Slurm job, has restarted the ranks."""
    return int(os.environ.get(RESTART_COUNT_ENV, "0"))
