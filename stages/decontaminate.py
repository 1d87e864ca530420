"""Take the benchmark items out of the training text.

In: `data/deduped` and `data/benchmarks/texts.parquet` (`suite`, `task`, `item`, `text` of every evaluated item). Out:
`data/clean`: of each table of documents one with the same number and a `removed-NNNNN.parquet`; and
`contamination.json`, the items that were found and in how many documents, so that evaluation can score the untouched
items by themselves. Wrong: missing benchmark texts.

Method: n-gram overlap as for GPT-3 (Brown et al. 2020, appendix C). With `ngrams: [13, 8]` an item of 13 words or more
is found by a shared run of 13 words, an item of 8 to 12 words by a run of 8; shorter items cannot be told from common
speech and are counted as not checked. A run that occurs in more than `COMMON` documents is a common phrase or
boilerplate and is ignored, also in what counts as found. What happens to a document that holds an item is `policy`:
`drop` removes it, `mark` keeps it and names the items in its `meta`, `trim` cuts out the sentences that hold the run.
Words are those of `gptoss/text/normalize.py`; hashes only suggest matches, each is confirmed on the words themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import assembled_folder, write_json
from gptoss.decontaminate.benchmark_index import Items, index_items
from gptoss.decontaminate.search import COMMON, Found, found_in, search
from gptoss.decontaminate.treatment import treat
from gptoss.executor.tasks import run_tasks
from gptoss.tables.batches import part_files
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage


def decontaminate(settings: Settings, run: StageRun) -> Metrics:
    """Run the stage; returns items, items touched, and documents removed, trimmed or marked by source."""
    benchmark = index_items(paths.BENCHMARKS / "texts.parquet", settings.decontaminate.ngrams, run.state)
    pieces = part_files(paths.DEDUPED)
    searching = [
        benchmark.arguments | {"part": str(part), "matches": str(run.state / f"matches-{part.name}")} for part in pieces
    ]
    counts = run_tasks("decontaminate_search", search, searching, run.state, input_bytes=size(pieces))
    found = found_in([Path(task["matches"]) for task in searching], [count["documents"] for count in counts])
    results = write(pieces, benchmark, found, settings.decontaminate.policy, run.state)
    return summary(benchmark, found, sum(map(Counter, results), Counter()), settings.decontaminate.policy)


def write(pieces: Sequence[Path], benchmark: Items, found: Found, policy: str, state: Path) -> list[dict[str, int]]:
    """Treat every part and put `data/clean` together; returns what each part counted."""
    write_json(state / "common.json", sorted(gram.decode() for gram in found.common))
    write_json(state / "contamination.json", contamination(benchmark, found))
    writing = [
        benchmark.arguments
        | {
            "part": str(part),
            "matches": str(state / f"matches-{part.name}"),
            "common": str(state / "common.json"),
            "policy": policy,
            "kept": str(state / part.name),
            "removed": str(state / _removed(part)),
        }
        for part in pieces
    ]
    results = run_tasks("decontaminate_write", treat, writing, state, input_bytes=size(pieces))
    with assembled_folder(paths.CLEAN) as add:
        for part in pieces:
            for name in (part.name, _removed(part)):
                add(name, state / name)
        add("contamination.json", state / "contamination.json")
    return results


def size(pieces: Sequence[Path]) -> int:
    """Bytes to be read."""
    return sum(part.stat().st_size for part in pieces)


def _removed(part: Path) -> str:
    return part.name.replace("documents-", "removed-")


def contamination(benchmark: Items, found: Found) -> dict[str, Any]:
    """`contamination.json`: the items found, and the n-grams ignored because they are common."""
    touched = [
        dict(zip(("suite", "task", "item"), benchmark.names[item], strict=True)) | {"documents": len(held_by)}
        for item, held_by in found.touched.items()
    ]
    ignored = [{"ngram": gram.decode(), "items": count} for gram, count in found.common.items()]
    return {
        "items": sorted(touched, key=lambda item: (item["suite"], item["task"], item["item"])),
        "ignored_ngrams": sorted(ignored, key=lambda entry: str(entry["ngram"])),
        "common_above_documents": COMMON,
    }


def summary(benchmark: Items, found: Found, tally: Counter[str], policy: str) -> Metrics:
    """The metrics of the stage."""
    removed = tally["documents_in"] - tally["documents_kept"]
    suites = Counter(benchmark.names[item][0] for item in found.touched)
    return {
        "items": len(benchmark.names),
        "items_not_checked": benchmark.unchecked,
        "items_touched": len(found.touched),
        "items_touched_by_suite": dict(sorted(suites.items())),
        "ngrams_ignored": len(found.common),
        **{key: tally[key] for key in ("documents_in", "documents_kept", "bytes_in", "bytes_kept")},
        "documents_removed": removed,
        f"documents_{'trimmed' if policy == 'trim' else 'marked'}": tally["contaminated"] - removed,
        "removed": {key.removeprefix("removed."): tally[key] for key in sorted(tally) if key.startswith("removed.")},
    }


if __name__ == "__main__":
    run_stage(decontaminate, "decontaminate")
