"""Run the ranks of a submitted Slurm job: `python -m gptoss.launch.slurm_batch`.

The stage on the login node submits `infra/slurm/pretrain.sbatch` (`gptoss.launch.slurm.submit`), and the batch script
runs this on the job's first node, with the run configuration in the environment. Exit code: that of srun, or 75 when
the ranks stopped on request, upon which the script requeues the job.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gptoss.core.errors import Preempted
from gptoss.launch import failures, slurm
from gptoss.launch.environment import RESTART_COUNT_ENV, RUN_CONFIG_ENV
from gptoss.train.run_config import RunConfig


def main() -> int:
    """Run all ranks with srun, and again after a rank has died, at most `restarts` times (cluster file)."""
    run_config = RunConfig.read(Path(os.environ[RUN_CONFIG_ENV]))
    # A requeued job finds the reports of its previous run here.
    failures.clear(run_config.state)
    code = 0
    for restart in range(run_config.cluster.restarts + 1):
        # srun cannot restart its tasks, so this loop does what torchrun's --max-restarts does on one node.
        environment = os.environ | {RESTART_COUNT_ENV: str(restart)}
        code = subprocess.run(slurm.srun(run_config.cluster, run_config.attempt), env=environment).returncode
        if failures.preemption(run_config.state):
            return Preempted.exit_code
        # A lost node is not handled here: Slurm ends this process and requeues the whole job (--requeue).
        if code == 0 or failures.is_permanent(run_config.state):
            break
    return code


if __name__ == "__main__":
    sys.exit(main())
