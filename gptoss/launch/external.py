"""Run one rank that another launcher started: `python -m gptoss.launch.external`, once per rank.

For srun, torchrun or mpirun of your own (cluster files with `launcher: external`), and for the ranks of
`gptoss.launch.node`. RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT must be in the environment; in a task of
srun they are derived from Slurm's variables. Rank 0 becomes the stage, `python -m stages.pretrain`, which trains as
rank 0; the other ranks are workers and receive the run configuration from it.
"""

from __future__ import annotations

import os
import sys

from gptoss.core.errors import UserError
from gptoss.core.process import command_parser, exit_code_of
from gptoss.launch import slurm, worker

STAGE = [sys.executable, "-u", "-m", "stages.pretrain"]


def main() -> int:
    """Run this rank; returns its exit code."""
    command_parser("gptoss.launch.external", __doc__).parse_args()
    if code := exit_code_of(find_rank):
        return code
    if os.environ["RANK"] == "0":
        # exec instead of an import: stages are above this package, and the launcher keeps the process it started.
        os.execv(sys.executable, STAGE)
    return worker.main()


def find_rank() -> None:
    """Derive RANK from Slurm's variables where it is not set. Raises `UserError` when neither is there."""
    slurm.set_rank_environment()
    if "RANK" not in os.environ:
        raise UserError(
            "RANK is not set, and this is not a task of srun",
            "start `python -m gptoss.launch.external` with srun, torchrun or mpirun, which set it (or SLURM_PROCID) "
            "for every rank",
        )


if __name__ == "__main__":
    sys.exit(main())
