"""Simulate a training step of the ranks of a cluster and print the memory that each needs.

    gptoss simulate --profile 20b --cluster a100-80gb-64
    gptoss simulate --profile 20b 30b --cluster a100-80gb-64 a100-80gb-128 --markdown docs/memory.md

Any profile can be combined with any cluster file that divides it (the same checks as before training). By default the
first rank of the first and of the last pipeline stage is simulated, with `--all` the first rank of every pipeline
stage. The other ranks of a stage hold as much or less.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from gptoss.core.atomic_files import write_text
from gptoss.core.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", nargs="+", required=True, help="names of files in profiles/")
    parser.add_argument("--cluster", nargs="+", required=True, help="a file in infra/clusters/ for each profile")
    parser.add_argument("--all", action="store_true", help="every pipeline stage, not only the first and the last")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")


def execute(options: argparse.Namespace) -> None:
    """Simulate, print and write the table."""
    tabulate(options.profile, options.cluster, options.all, options.markdown)


def tabulate(profiles: list[str], clusters: list[str], all_stages: bool, markdown: Path | None) -> None:
    """Simulate each profile on its cluster, as many ranks at a time as there are cores."""
    from gptoss.simulate.profile_rank import load_run_config, simulate_rank
    from gptoss.simulate.table import Row, as_markdown, as_text

    if len(profiles) != len(clusters):
        raise UserError(f"{len(profiles)} profiles and {len(clusters)} clusters", "name one cluster for each profile")
    pairs = list(zip(profiles, clusters, strict=True))
    # All are checked before the first is simulated, which takes minutes.
    run_configs = [load_run_config(*pair) for pair in pairs]
    tasks = [
        (number, pp_rank)
        for number, run_config in enumerate(run_configs)
        for pp_rank in range(run_config.cluster.mesh.pp)
        if all_stages or pp_rank in (0, run_config.cluster.mesh.pp - 1)
    ]
    # Spawned, not forked: each simulated rank initialises torch.distributed and a fake device anew.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(tasks), os.cpu_count() or 1), mp_context=spawn) as workers:
        peaks = list(workers.map(simulate_rank, *zip(*((*pairs[n], pp_rank) for n, pp_rank in tasks), strict=True)))
    rows = [Row(*pairs[n], run_configs[n], peak) for (n, _), peak in zip(tasks, peaks, strict=True)]
    print(as_text(rows))
    if markdown:
        write_text(markdown, as_markdown(rows))
