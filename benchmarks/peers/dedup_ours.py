"""This pipeline: `find_duplicates` on Parquet files with `--workers` processes, in this environment."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import daft  # noqa: F401 - imports of the engine and the kernels are done before the clock starts, as in the peers
import numpy as np
import pandas  # noqa: F401 - Arrow imports it when it first converts a NumPy array
from measure import Clock, report

import gptoss.text.kernels.hashing
import gptoss.text.kernels.sets
import gptoss.text.kernels.words  # noqa: F401
from gptoss.config.cluster import load_cluster
from gptoss.config.settings import load_settings
from gptoss.dedup.find_duplicates import find_duplicates


def main() -> None:
    """Label the documents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path, help="folder of Parquet files")
    parser.add_argument("labels")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    files = sorted(arguments.documents.glob("documents-*.parquet"))
    # The peers' parameters, and nothing that they do not do: no index, no substrings.
    config = load_settings().dedup.model_copy(
        update={"ngram": 5, "bands": 14, "rows": 8, "threshold": 0.7, "known": (), "index": False, "substrings": None}
    )
    # A new state folder per run, or the run would resume finished steps.
    cluster = load_cluster("single").model_copy(update={"data_workers": arguments.workers})
    state = Path(tempfile.mkdtemp(dir=Path(arguments.labels).parent))
    try:
        clock = Clock()
        decisions = find_duplicates(files, config, 1234, state, cluster)
        measured = clock.stop()
    finally:
        shutil.rmtree(state, ignore_errors=True)
    removed = decisions.removed
    report(measured, np.where(removed, decisions.duplicate_of, np.arange(len(removed))).tolist(), arguments.labels)


if __name__ == "__main__":
    main()
