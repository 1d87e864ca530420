"""Search the documents for n-grams of benchmark items: a table of matches per part, merged for the whole corpus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gptoss.core.atomic_files import atomic_file
from gptoss.decontaminate.index_files import open_benchmark
from gptoss.executor.tasks import Result, run_tasks
from gptoss.tables.batches import part_batches
from gptoss.tables.documents import write_table

# An n-gram in more documents than this is a common phrase and is ignored (Brown et al. 2020, appendix C).
MAX_DOCUMENTS_PER_NGRAM = 10

# An n-gram found in a part: the numbers of the items that contain it, and the rows of the documents that do; of these
# only the first `MAX_DOCUMENTS_PER_NGRAM` + 1, which suffice to recognise a common phrase.
MATCHES = pa.schema([("ngram", pa.large_binary()), ("items", pa.list_(pa.int32())), ("rows", pa.list_(pa.int64()))])


# Items and documents (by position, ascending) of each n-gram found so far. Memory is bounded by the number of n-grams
# of the benchmark, whatever the number of documents.
Found = dict[bytes, tuple[list[int], list[int]]]


@dataclass(frozen=True)
class Contamination:
    """What the documents contain of the benchmark.

    `common`: the n-grams that are ignored, each with the number of items that contain it; `documents`: the items that
    were found, each with the positions in the corpus of the documents that contain it.
    """

    common: dict[bytes, int]
    documents: dict[int, set[int]]


def search_parts(parts: Sequence[Path], index: Mapping[str, str], state: Path) -> tuple[list[Path], Contamination]:
    """Search all parts; returns the file of matches of each, and what was found in the corpus."""
    files = [state / f"matches-{part.name}" for part in parts]
    tasks = [{"part": str(part), "matches": str(file), **index} for part, file in zip(parts, files, strict=True)]
    size = sum(part.stat().st_size for part in parts)
    counts = run_tasks("decontaminate_search", search_part, tasks, state, input_bytes=size)
    return files, merge_matches(files, [count["documents"] for count in counts])


def search_part(part: str, matches: str, folder: str, sha256: str) -> Result:
    """Task: search every document of `part` for every item; writes `MATCHES`, returns the number of documents."""
    benchmark = open_benchmark(folder, sha256)
    found: Found = {}
    first = 0
    for batch in part_batches(Path(part), ["text"]):
        for match in benchmark.matches(batch.column("text")):
            _add(found, match.ngram, match.items, first + match.text)
        first += batch.num_rows
    rows = [{"ngram": ngram, "items": items, "rows": documents} for ngram, (items, documents) in found.items()]
    with atomic_file(Path(matches)) as partial:
        write_table(partial, pa.Table.from_pylist(rows, schema=MATCHES))
    return {"documents": first}


def _add(found: Found, ngram: bytes, items: list[int], position: int) -> None:
    _, documents = found.setdefault(ngram, (items, []))
    # An n-gram may occur repeatedly in a document, which is then the last one in the list.
    if position not in documents[-1:] and len(documents) <= MAX_DOCUMENTS_PER_NGRAM:
        documents.append(position)


def merge_matches(files: Sequence[Path], documents: Sequence[int]) -> Contamination:
    """Merge the matches of all parts, given the number of documents in each."""
    found: Found = {}
    first = 0
    for file, count in zip(files, documents, strict=True):
        for match in pq.read_table(file, schema=MATCHES).to_pylist():
            for row in match["rows"]:
                _add(found, match["ngram"], match["items"], first + row)
        first += count
    contamination = Contamination({}, {})
    for ngram, (items, positions) in found.items():
        # Here and not per part: whether an n-gram is common depends on the whole corpus.
        if len(positions) > MAX_DOCUMENTS_PER_NGRAM:
            contamination.common[ngram] = len(items)
            continue
        for item in items:
            contamination.documents.setdefault(item, set()).update(positions)
    return contamination
