"""Write the clean documents, the removed ones, and which items were found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gptoss.core.atomic_files import assembled_folder, write_json
from gptoss.decontaminate.benchmark_ngrams import BenchmarkNgrams
from gptoss.decontaminate.index_files import open_benchmark
from gptoss.decontaminate.policy import apply_policy
from gptoss.decontaminate.search import MAX_DOCUMENTS_PER_NGRAM, Contamination
from gptoss.executor.tasks import Result, run_tasks


def write_outputs(
    parts: Sequence[Path],
    matches: Sequence[Path],
    index: Mapping[str, str],
    contamination: Contamination,
    policy: str,
    target: Path,
    state: Path,
) -> list[Result]:
    """Apply the policy to every part and put the folder `target` together; returns the counts of each part."""
    common, report = state / "common.json", state / "contamination.json"
    # A file and not an argument: the arguments are repeated in the result of every task.
    write_json(common, sorted(ngram.decode() for ngram in contamination.common))
    write_json(report, contamination_report(open_benchmark(**index), contamination))
    removed = [part.name.replace("documents-", "removed-") for part in parts]
    tasks = [
        {"part": str(part), "matches": str(file), "common": str(common), "policy": policy,
         "kept": str(state / part.name), "removed": str(state / removed_name), **index}
        for part, file, removed_name in zip(parts, matches, removed, strict=True)
    ]  # fmt: skip
    size = sum(part.stat().st_size for part in parts)
    results = run_tasks("decontaminate_write", apply_policy, tasks, state, input_bytes=size)
    with assembled_folder(target) as add:
        for part, removed_name in zip(parts, removed, strict=True):
            add(part.name, state / part.name)
            add(removed_name, state / removed_name)
        add(report.name, report)
    return results


def contamination_report(benchmark: BenchmarkNgrams, contamination: Contamination) -> dict[str, Any]:
    """`contamination.json`: the items that were found, and the n-grams that were ignored because they are common."""
    items = [
        dict(zip(("suite", "task", "item"), benchmark.items[item], strict=True)) | {"documents": len(documents)}
        for item, documents in contamination.documents.items()
    ]
    ignored = [{"ngram": ngram.decode(), "items": count} for ngram, count in contamination.common.items()]
    # Sorted: the order in which matches were found depends on the division into parts.
    return {
        "items": sorted(items, key=lambda item: (item["suite"], item["task"], item["item"])),
        "ignored_ngrams": sorted(ignored, key=lambda entry: str(entry["ngram"])),
        "common_above_documents": MAX_DOCUMENTS_PER_NGRAM,
    }


def summarize(
    index: Mapping[str, str], contamination: Contamination, results: Sequence[Result], policy: str
) -> dict[str, Any]:
    """The metrics of the stage."""
    benchmark = open_benchmark(**index)
    counts: Counter[str] = sum(map(Counter, results), Counter())
    removed = counts["documents_in"] - counts["documents_kept"]
    # A document that is contaminated and not removed was trimmed or marked.
    suites = Counter(benchmark.items[item][0] for item in contamination.documents)
    return {
        "items": len(benchmark.items),
        "items_not_checked": benchmark.unchecked,
        "items_touched": len(contamination.documents),
        "items_touched_by_suite": dict(sorted(suites.items())),
        "ngrams_ignored": len(contamination.common),
        **{key: counts[key] for key in ("documents_in", "documents_kept", "bytes_in", "bytes_kept")},
        "documents_removed": removed,
        f"documents_{'trimmed' if policy == 'trim' else 'marked'}": counts["contaminated"] - removed,
        "removed": {key.removeprefix("removed."): counts[key] for key in sorted(counts) if key.startswith("removed.")},
    }
