"""Simulate a training step of a rank of each cluster and print the memory it needs.

    python -m stages.pretrain.simulate --profile 20b --cluster a100-80gb-64
    python -m stages.pretrain.simulate --profile 20b 30b --cluster a100-80gb-64 a100-80gb-128 --markdown docs/memory.md

Any profile and any cluster file go together that divide (the same checks as before training). Simulated is the first
rank at the first and at the last place of the pipeline, or at every place with `--all`: the others at a place hold as
much or less.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from gptoss.core.atomic_files import write_text
from gptoss.core.errors import UserError
from gptoss.core.process import exit_code_of
from gptoss.simulate.profile_rank import plan_of, simulate
from gptoss.simulate.table import Row, as_markdown, as_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print and write the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.pretrain.simulate", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--profile", nargs="+", required=True, help="names of files in profiles/")
    parser.add_argument("--cluster", nargs="+", required=True, help="a file in infra/clusters/ for each profile")
    parser.add_argument("--all", action="store_true", help="every place in the pipeline")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    options = parser.parse_args(arguments)
    return exit_code_of(lambda: tabulate(options.profile, options.cluster, options.all, options.markdown))


def tabulate(profiles: list[str], clusters: list[str], everywhere: bool, markdown: Path | None) -> None:
    """Simulate each profile on its cluster, as many places at a time as there are cores."""
    if len(profiles) != len(clusters):
        raise UserError(f"{len(profiles)} profiles and {len(clusters)} clusters", "name one cluster for each profile")
    runs = list(zip(profiles, clusters, strict=True))
    plans = [plan_of(*run) for run in runs]
    places = [
        (run, pp_rank)
        for run, plan in enumerate(plans)
        for pp_rank in range(plan.cluster.mesh.pp)
        if everywhere or pp_rank in (0, plan.cluster.mesh.pp - 1)
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(len(places), os.cpu_count() or 1), mp_context=spawn) as workers:
        peaks = list(workers.map(simulate, *zip(*((*runs[run], pp_rank) for run, pp_rank in places), strict=True)))
    rows = [Row(*runs[run], plans[run], peak) for (run, _), peak in zip(places, peaks, strict=True)]
    print(as_text(rows))
    if markdown:
        write_text(markdown, as_markdown(rows))


if __name__ == "__main__":
    sys.exit(main())
