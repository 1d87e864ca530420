"""Keep the documents of one source that are text in a wanted language, of a wanted origin and of quality.

In: `data/documents/SOURCE`. Out: `data/curated/SOURCE`: for each part the documents kept (`documents-NNNNN.parquet`),
with their measured `language` and without personal data, and every removed document with the rule that removed it and
the value that broke the rule (`removed-NNNNN.parquet`); `repeated_lines.parquet`, the boilerplate that was cut most
often; `distributions.json` and `languages.json`, what the documents are like before the rules and after. Wrong: a list
(of domains, of words) that cannot be read; a source of which nothing remains is said so, and left empty.

Method, in this order: address and licence (`urls.py`); lines that repeat through the source (`lines.py`); language
(`language.py`); document rules of Gopher, C4 and FineWeb with their published definitions (`quality.py`); listed words
(`toxicity.py`); personal data (`redact.py`), which is replaced before anything is written.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.config.curate import CurateConfig
from gptoss.config.settings import Settings
from gptoss.config.source import SourceConfig
from gptoss.core import paths
from gptoss.core.atomic_files import assembled_folder, atomic_file, write_json
from gptoss.executor.tasks import Result, run_tasks
from gptoss.tables.batches import parts
from gptoss.tables.documents import write_table
from gptoss.tracking.mlflow_run import StageRun
from gptoss.tracking.runner import Metrics, run_stage

REPEATED_LINE = pa.schema([("line", pa.string()), ("documents", pa.int64())])
"""A sample of a line that was cut, and in how many documents of different content it stood."""


def curate(settings: Settings, run: StageRun, source: str) -> Metrics:
    """Run the stage for one source; returns documents and bytes in and kept, removed by reason, personal data found."""
    from gptoss.curate.curate_file import curate_part

    files = parts(paths.documents(source))
    rules = applied(settings.curate, settings.sources[source])
    common = prepared(files, rules, settings.sources[source], run.state)
    tasks = [outputs(file, run.state) | common for file in files]
    results = run_tasks("curate_parts", curate_part, tasks, run.state, work=_bytes(files))
    metrics = summary(results, settings.curate)
    assemble(source, tasks, results, run.state)
    print(f"curate {source}: kept {metrics['documents_kept']} of {metrics['documents_in']} documents", file=sys.stderr)
    return metrics


def applied(curate: CurateConfig, source: SourceConfig) -> CurateConfig:
    """The settings with only those families of rules switched on that judge this source."""
    off = dict.fromkeys({"gopher", "repetition", "c4", "fineweb"} - set(source.rules))
    lines = curate.repeated_lines if "repeated_lines" in source.rules else None
    return curate.model_copy(update={"quality": curate.quality.model_copy(update=off), "repeated_lines": lines})


def prepared(files: list[Path], curate: CurateConfig, source: SourceConfig, state: Path) -> dict[str, Any]:
    """What the tasks of all parts are told: settings and the files of blocked domains, listed words, repeated lines."""
    from gptoss.quality.urls import domain_hashes
    from gptoss.quality.word_lists import read_list

    domains = words = ""
    if curate.urls and curate.urls.blocked_domains:
        hashes = domain_hashes(curate.urls.blocked_domains)
        domains = _kept(state / "domains", hashes.tobytes())
    if curate.toxicity:
        words = _kept(state / "words", "\n".join(read_list(curate.toxicity.words)).encode())
    by_site = source.format == "warc"
    return {
        "curate": curate.model_dump(mode="json"),
        "licenses": list(source.licenses),
        "by_site": by_site,
        "repeated": repeated_lines(files, curate, by_site, state),
        "domains": domains,
        "words": words,
    }


def repeated_lines(files: list[Path], curate: CurateConfig, by_site: bool, state: Path) -> str:
    """The file of the lines that stand in too many documents of the source; empty when the setting is off."""
    from gptoss.quality.repeated_lines import PAIRS_PER_RANGE, count_lines, list_lines

    wanted = curate.repeated_lines
    if wanted is None:
        return ""
    tasks = [
        {"part": str(file), "pairs": str(state / "pairs" / f"{file.stem}.npy"), "min_words": wanted.min_words,
         "by_site": by_site}
        for file in files
    ]  # fmt: skip
    listed = run_tasks("list_lines", list_lines, tasks, state, work=_bytes(files))
    total = sum(result["pairs"] for result in listed)
    pairs = [task["pairs"] for task, result in zip(tasks, listed, strict=True) if result["pairs"]]
    ranges = max(1, -(-total // PAIRS_PER_RANGE))
    counts = [
        {"pairs": pairs, "number": number, "ranges": ranges, "min_documents": wanted.min_documents,
         "repeated": str(state / "repeated" / f"{number:06d}.npy")}
        for number in range(ranges)
    ]  # fmt: skip
    run_tasks("count_lines", count_lines, counts, state, work=16 * total)
    joined = state / "repeated.npy"
    with atomic_file(joined) as partial, partial.open("wb") as stream:
        np.save(stream, np.concatenate([np.load(task["repeated"]) for task in counts]))
    return str(joined)


def outputs(part: Path, state: Path) -> dict[str, Any]:
    """The input and the output files of one part: the same number in all names."""
    number = part.stem.rpartition("-")[2]
    return {
        "part": str(part),
        "kept": str(state / "parts" / part.name),
        "removed": str(state / "parts" / f"removed-{number}.parquet"),
        "shown": str(state / "parts" / f"lines-{number}.parquet"),
    }


def assemble(source: str, tasks: list[dict[str, Any]], results: list[Result], state: Path) -> None:
    """Put the output together from what the tasks wrote."""
    from gptoss.curate.histograms import distributions, languages, merged

    total = merged(result["histograms"] for result in results)
    write_json(state / "distributions.json", distributions(total))
    write_json(state / "languages.json", languages(total))
    write_table(state / "repeated_lines.parquet", shown_lines(tasks))
    with assembled_folder(paths.curated(source)) as add:
        for task in tasks:
            for file in (Path(task["kept"]), Path(task["removed"])):
                add(file.name, file)
        for name in ("distributions.json", "languages.json", "repeated_lines.parquet"):
            add(name, state / name)


def shown_lines(tasks: list[dict[str, Any]]) -> pa.Table:
    """The lines that stand in most documents, each as it is worded where it stands first."""
    from gptoss.quality.repeated_lines import Repeated

    if not tasks[0]["repeated"]:
        return REPEATED_LINE.empty_table()
    repeated = Repeated.load(Path(tasks[0]["repeated"]))
    wording: dict[int, str] = {}
    for task in tasks:
        table = pq.read_table(task["shown"])
        for key, line in zip(table["key"].to_pylist(), table["line"].to_pylist(), strict=True):
            wording.setdefault(key, line)
    keys = np.array(list(wording), dtype=np.uint64)
    documents = repeated.documents[np.searchsorted(repeated.keys, keys)].tolist() if len(keys) else []
    rows = sorted(zip(wording.values(), documents, strict=True), key=lambda row: (-row[1], row[0]))
    return pa.table([[line for line, _ in rows], [number for _, number in rows]], schema=REPEATED_LINE)


def summary(results: list[Result], curate: CurateConfig) -> dict[str, Any]:
    """The metrics: every key is always there, a reason that removed nothing aside. Counts that do not add up are a
    bug, and raised."""
    tally: Counter[str] = sum((Counter(result["counts"]) for result in results), Counter())
    removed = {key.removeprefix("removed."): tally[key] for key in sorted(tally) if key.startswith("removed.")}
    if tally["documents_in"] != tally["documents_kept"] + sum(removed.values()):
        raise RuntimeError(
            f"{tally['documents_in']} documents in != {tally['documents_kept']} kept + {removed} removed"
        )
    return {
        **{key: tally[key] for key in ("documents_in", "documents_kept", "bytes_in", "bytes_kept")},
        "documents_removed": sum(removed.values()),
        "removed": removed,
        "redacted": {
            kind: tally[f"redacted.{kind}"]
            for kind, treatment in curate.personal_data.model_dump().items()
            if treatment != "keep"
        },
        "repeated_lines": {"lines": tally["lines_cut"], "bytes": tally["bytes_cut"]},
    }


def _kept(stem: Path, content: bytes) -> str:
    """Write content under a name of its own, so that a task that knew another content is run again."""
    file = stem.with_name(f"{stem.name}-{hashlib.sha256(content).hexdigest()[:16]}")
    with atomic_file(file) as partial:
        partial.write_bytes(content)
    return str(file)


def _bytes(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    run_stage(curate, "curate", keys=lambda settings: settings.sources)
