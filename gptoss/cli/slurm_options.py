"""Print the options of the chosen cluster for sbatch and salloc: `sbatch $(gptoss slurm-options) SCRIPT`.

`GPTOSS_CLUSTER=NAME` chooses the cluster file `infra/clusters/NAME.yaml`.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command has no options."""


def execute(_: argparse.Namespace) -> None:
    """Print the options on one line."""
    from gptoss.config.cluster import load_cluster
    from gptoss.launch.slurm import options

    print(" ".join(options(load_cluster())))
