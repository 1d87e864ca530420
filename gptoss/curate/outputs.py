"""What the stage makes of the results of its tasks: metrics, histograms, repeated lines, the output folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.curate import CurateConfig
from gptoss.core.atomic_files import assembled_folder, write_json
from gptoss.curate.curate_file import output_files
from gptoss.curate.histograms import distributions, languages, merge
from gptoss.executor.tasks import Result
from gptoss.tables.documents import write_table

REPEATED_LINE = pa.schema([("line", pa.string()), ("documents", pa.int64())])
"""A line that was cut, and in how many documents of different content it occurred."""


def summarize(results: Sequence[Result], config: CurateConfig) -> dict[str, Any]:
    """The metrics of the stage. Every key is always present, except reasons that removed nothing.

    Errors: `RuntimeError` when kept and removed documents do not add up to those read, which is a bug.
    """
    # A Counter has 0 for what no task counted, so that the keys of the metrics do not depend on the data.
    counts: Counter[str] = sum((Counter(result["counts"]) for result in results), Counter())
    # Sorted by reason, because the order of a Counter depends on which reason a task met first.
    removed = {key.removeprefix("removed."): counts[key] for key in sorted(counts) if key.startswith("removed.")}
    if counts["documents_in"] != counts["documents_kept"] + sum(removed.values()):
        raise RuntimeError(
            f"{counts['documents_in']} documents in != {counts['documents_kept']} kept + {removed} removed"
        )
    return {
        **{key: counts[key] for key in ("documents_in", "documents_kept", "bytes_in", "bytes_kept")},
        "documents_removed": sum(removed.values()),
        "removed": removed,
        "redacted": {kind: counts[f"redacted.{kind}"] for kind in config.personal_data.redacted_kinds},
        "repeated_lines": {"lines": counts["lines_cut"], "bytes": counts["bytes_cut"]},
    }


def assemble(output: Path, files: Sequence[Path], folder: Path, results: Sequence[Result]) -> None:
    """Assemble the output folder from the files that the tasks wrote to `folder`, atomically."""
    total = merge(result["histograms"] for result in results)
    written = [output_files(file, folder) for file in files]
    summaries = {name: folder / name for name in ("distributions.json", "languages.json", "repeated_lines.parquet")}
    write_json(summaries["distributions.json"], distributions(total))
    write_json(summaries["languages.json"], languages(total))
    write_table(summaries["repeated_lines.parquet"], repeated_line_table([samples for _, _, samples in written]))
    with assembled_folder(output) as add:
        for file in (*(file for kept, removed, _ in written for file in (kept, removed)), *summaries.values()):
            add(file.name, file)


def repeated_line_table(sample_files: Sequence[Path]) -> pa.Table:
    """The sampled lines, most frequent first, each in the wording of its first occurrence in the source."""
    by_key: dict[int, dict[str, Any]] = {}
    for file in sample_files:  # in the order of the input, not of the tasks' ends: the same table on every cluster
        for row in pq.read_table(file).to_pylist():
            by_key.setdefault(row["key"], row)
    rows = sorted(by_key.values(), key=lambda row: (-row["documents"], row["line"]))
    return pa.Table.from_pylist([{name: row[name] for name in REPEATED_LINE.names} for row in rows], REPEATED_LINE)
