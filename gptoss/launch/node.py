"""Start the ranks of one of several nodes: `python -m gptoss.launch.node`, once on every node.

For cluster files with `launcher: torchrun` and several nodes, as in the pods of `infra/kubernetes/pretrain.yaml` or by
hand. PET_NODE_RANK (0, 1, …), PET_MASTER_ADDR and PET_MASTER_PORT (address and a free port of node 0) must be in the
environment; the names are torchrun's. Rank 0, on node 0, runs the stage. Asked to stop (SIGTERM), all nodes save and
exit with code 75.
"""

from __future__ import annotations

import os
import sys

from gptoss.config.cluster import ClusterConfig, cluster_name, load_cluster
from gptoss.core.errors import UserError
from gptoss.core.process import command_parser, exit_code_of
from gptoss.launch.launcher import TORCHRUN

RENDEZVOUS = ("PET_NODE_RANK", "PET_MASTER_ADDR", "PET_MASTER_PORT")
EXTERNAL = [sys.executable, "-u", "-m", "gptoss.launch.external"]


def main() -> int:
    """Replace this process by torchrun; returns only when that is impossible, with the exit code of the error."""
    command_parser("gptoss.launch.node", __doc__).parse_args()
    return exit_code_of(become_torchrun)


def become_torchrun() -> None:
    """Replace this process by torchrun for this node. Raises `UserError` for another kind of cluster file, and when
    the rendezvous is not in the environment."""
    cluster = load_cluster()
    if cluster.launcher != "torchrun" or cluster.nodes == 1:
        raise UserError(
            f"cluster {cluster_name()} has launcher: {cluster.launcher} and nodes: {cluster.nodes}; "
            "gptoss.launch.node is for launcher: torchrun on several nodes",
            "start `python -m stages.pretrain`, or choose another cluster with GPTOSS_CLUSTER",
        )
    if missing := [name for name in RENDEZVOUS if name not in os.environ]:
        raise UserError(
            f"launcher: torchrun with nodes({cluster.nodes}) > 1 needs {', '.join(missing)} in the environment",
            "start `python -m gptoss.launch.node` once on every node with PET_NODE_RANK=0, 1, … and the address and a "
            "free port of node 0 in PET_MASTER_ADDR and PET_MASTER_PORT, or set launcher: slurm",
        )
    # exec instead of a child process: the scheduler's signals and torchrun's exit code need no forwarding.
    os.execv(sys.executable, command(cluster))


def command(cluster: ClusterConfig) -> list[str]:
    """torchrun for the ranks of one node. No --max-restarts: one of its ranks is the stage, whose exit code must reach
    the scheduler, which then restarts all nodes together."""
    processes = f"--nproc-per-node={cluster.processes_per_node}"
    return [*TORCHRUN, f"--nnodes={cluster.nodes}", processes, "--no-python", *EXTERNAL]


if __name__ == "__main__":
    sys.exit(main())
