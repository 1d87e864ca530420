"""The data stages over a small corpus in the working directory, on the cluster that GPTOSS_CLUSTER names:
`python -m tests.executor.data_stages`. All tasks are passed to the scheduler, even when there is little work."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from pydoc_data import topics

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.settings import Settings
from gptoss.config.yaml_sections import check, load_yaml
from gptoss.core import paths
from gptoss.executor import tasks
from gptoss.tracking.mlflow_run import StageRun
from tests.conftest import ROOT

FILES, COPIES = 12, 3


def corpus(folder: Path) -> None:
    """Text files of English prose, some of which repeat others with a few words changed, and benchmark items."""
    chance = random.Random(5)
    prose = [text for text in topics.topics.values() if len(text) > 2_000]
    (folder / "raw").mkdir()
    for number in range(FILES):
        text = "\n\n".join(chance.sample(prose, 8))
        if number >= FILES - COPIES:
            words = (folder / "raw" / f"{number - FILES + COPIES}.txt").read_text().split(" ")
            for place in chance.sample(range(len(words)), len(words) // 100):
                words[place] = "otherwise"
            text = " ".join(words)
        (folder / "raw" / f"{number}.txt").write_text(text)
    item = " ".join(prose[0].split()[40:70])
    rows = {"suite": ["smoke"], "task": ["prose"], "item": ["0"], "text": [item]}
    (folder / paths.BENCHMARKS).mkdir(parents=True)
    pq.write_table(pa.table(rows), folder / paths.BENCHMARKS / "texts.parquet")


def settings() -> Settings:
    """Two sources of the same format, in parts of some documents each."""
    values = load_yaml(ROOT / "profiles" / "tiny.yaml")
    source = {"format": "gutenberg", "license": "PSF", "language": "en"}
    values["sources"] = {
        "even": {**source, "urls": ["raw/*[02468].txt"]},
        "odd": {**source, "urls": ["raw/*[13579].txt"]},
    }
    values["ingest"]["documents_per_file"] = 8
    values["dedup"]["max_removed_fraction"] = 1.0
    values["dedup"]["substrings"] = {"window": 50, "min_kept_words": 50}
    values["curate"]["repeated_lines"] = {"min_documents": 4, "min_words": 5}
    values["curate"]["quality"] |= {"gopher": None, "repetition": None}
    return check(Settings, values, origin="test")


def run() -> None:
    """From raw files to clean documents."""
    from stages.curate import curate
    from stages.decontaminate import decontaminate
    from stages.dedup import dedup
    from stages.ingest import ingest

    tasks.MIN_BYTES_FOR_PROCESSES = tasks.MIN_BYTES_FOR_THREADS = 0
    chosen = settings()
    for source in chosen.sources:
        ingest(chosen, StageRun(f"ingest@{source}"), source)
        curate(chosen, StageRun(f"curate@{source}"), source)
    dedup(chosen, StageRun("dedup"))
    decontaminate(chosen, StageRun("decontaminate"))


def outputs(folder: Path) -> dict[str, str]:
    """The hash of every file that the stages wrote."""
    files = sorted(path for path in (folder / "data").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    run()
