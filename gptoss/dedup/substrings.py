"""Cut out passages that occur earlier in the corpus (Lee et al. 2022, section 4.1, on words instead of tokens).

A passage is a run of at least `window` words, as the one normaliser finds them. The order of the corpus is that of its
parts, of the documents in a part and of the words in a document. What is cut is exactly this: a word goes if and only
if it stands in a window of `window` words whose first occurrence is earlier and apart from it. So every repeat of
`window` words or more is found, at its full length, across documents and within one; nothing is cut that does not stand
earlier; and a run that repeats itself at once (a refrain, a ruler of dashes and numbers) keeps its first `window`
words. Where the first occurrence of a passage holds a shorter one that is earlier still, the shorter one is cut out of
it too, so its words survive in two places. What meets at a cut is not looked at again.

`min_kept_words` holds for every document: its passages stay, from the first on, until so many words are left.

How: all windows of all documents would be 24 bytes a word. But two equal windows agree on the least of the hashes of
the runs of `window // 2` words in them (winnowing, Schleimer et al. 2003), one word in thirteen, so only windows around
an anchor that occurs twice are looked at. These are compared by 128-bit hashes: among 10^11 windows, two different ones
share a hash with probability 10^-17, so words need not be compared. Steps: anchors, compared; windows, compared; cut.
Each is a task a part or a task a range of hashes; memory is bounded by the words of one part, and the files in between
are a third of the text and 30 bytes for each word in a passage that occurs twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gptoss.config.cluster import ClusterConfig
from gptoss.config.dedup import SubstringsConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.first_occurrence import NOBODY, Occurrences, Owners, compare_all, save
from gptoss.dedup.repeats import Repeats
from gptoss.dedup.winnowing import anchors, windows_around
from gptoss.executor.tasks import Result, run_tasks
from gptoss.tables.batches import TableWriter, part_batches
from gptoss.tables.documents import DOCUMENT, write_table
from gptoss.text.normalize import Hashes, Integers, find_words, mix
from gptoss.text.shingles import window_hashes
from gptoss.text.spans import with_changes, without

SAMPLE = 1_000
"""Different passages kept for the report."""
EXCERPT = 300
"""Characters shown of a passage in the sample."""

PASSAGES = pa.schema(
    [
        ("id", pa.string()),
        ("words", pa.int64()),
        ("first_id", pa.string()),
        ("copies", pa.int64()),
        ("passage", pa.large_string()),
    ]
)
"""A passage that was cut: from which document (of several the first), how long it is there, which document holds its
first occurrence, how often a passage that begins with the same window was cut, and how it reads."""
_SAMPLED = pa.schema([*PASSAGES, ("hash", pa.uint64()), ("first_part", pa.int64()), ("first_word", pa.int64())])
_SECOND = np.uint64(0xD1B54A32D192ED03)


def cut_repeats(
    parts: list[Path], settings: SubstringsConfig, state: Path, cluster: ClusterConfig | None = None
) -> tuple[list[Path], dict[str, Any]]:
    """Cut repeats out of the documents in `parts`, in this order. Returns the new parts, in the same order (a part in
    which nothing was cut is given back as it is), and counts: documents cut, passages, words and bytes, in all and by
    source, and `documents_spared`, those that `min_kept_words` kept from more cuts. `state/passages.parquet` is a
    sample of what was cut."""
    folder = state / "repeats"
    tasks: list[dict[str, Any]] = [
        {"part": str(path), "number": number, "folder": str(folder), "window": settings.window}
        for number, path in enumerate(parts)
    ]

    size = sum(path.stat().st_size for path in parts)

    def step(function: Callable[..., Result], **more: int) -> list[Result]:
        name = f"dedup_{function.__name__}"
        return run_tasks(
            name, function, [task | more for task in tasks], folder, cluster=cluster, input_bytes=size, releases_gil=True
        )

    found = step(find_anchors)
    ranges = compare_all(folder / "anchors", len(parts), sum(result["keys"] for result in found), folder, cluster)
    found = step(find_windows, ranges=ranges)
    ranges = compare_all(folder / "windows", len(parts), sum(result["keys"] for result in found), folder, cluster)
    results = step(cut_passages, ranges=ranges, min_kept_words=settings.min_kept_words)
    with atomic_file(state / "passages.parquet") as partial:
        write_table(partial, sample_of_all(parts, folder))
    new = [_new(folder, number) if result["cut"] else parts[number] for number, result in enumerate(results)]
    return new, summary(results)


def find_anchors(part: str, number: int, folder: str, window: int) -> Result:
    """Task: write the anchors of a part, and the word at which each of its documents begins."""
    positions, hashes = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint64)]
    counts = [np.zeros(1, dtype=np.int64)]
    start = 0
    for batch in part_batches(Path(part), ["text"]):
        words = find_words(batch.column("text"))
        chosen, of_chosen = anchors(words, words.hashes, window)
        positions.append(chosen + start)
        hashes.append(of_chosen)
        counts.append(words.counts)
        start += len(words.starts)
    found = Occurrences.of(np.concatenate(hashes)[None], np.concatenate(positions))
    found.write(Path(folder) / "anchors", number)
    save(_documents(Path(folder), number), np.cumsum(np.concatenate(counts)))
    return {"keys": found.keys.shape[1], "words": start}


def find_windows(part: str, number: int, folder: str, window: int, ranges: int) -> Result:
    """Task: write the windows of a part around its anchors that occur more than once in the corpus."""
    near = repeated_anchors(Path(folder) / "anchors", number, ranges)
    bounds = _bounds(Path(folder), number)
    positions, hashes = [np.zeros(0, dtype=np.int64)], [np.zeros((2, 0), dtype=np.uint64)]
    row = 0
    for batch in part_batches(Path(part), ["text"]) if len(near) else ():
        here = near[slice(*np.searchsorted(near, bounds[[row, row + batch.num_rows]]))]
        rows = np.unique(np.searchsorted(bounds, here, side="right") - 1)
        words = find_words(batch.column("text").take(pa.array(rows - row)))
        shift = np.repeat(bounds[rows] - words.offsets[:-1], words.counts)  # from words here to words of the part
        found = windows_around(words, np.searchsorted(np.arange(len(shift)) + shift, here), window)
        positions.append(found + shift[found])
        hashes.append(identities(words.hashes, window)[:, found])
        row += batch.num_rows
    windows = Occurrences.of(np.concatenate(hashes, axis=1), np.concatenate(positions))
    windows.write(Path(folder) / "windows", number)
    return {"keys": windows.keys.shape[1], "windows": len(windows.words)}


def repeated_anchors(folder: Path, number: int, ranges: int) -> Integers:
    """The words at which anchors of a part begin that occur more than once, int64 [anchors], ascending."""
    found = Occurrences.read(folder, number)
    repeated = (Owners.read(folder, number, ranges).parts != NOBODY) | (found.counts > 1)
    return np.asarray(found.words[repeated[found.key]])


def identities(hashes: Hashes, window: int) -> Hashes:
    """Two independent 64-bit hashes of each window, uint64 [2, words]."""
    return np.stack([window_hashes(hashes, window), window_hashes(mix(hashes ^ _SECOND), window)])


def cut_passages(part: str, number: int, folder: str, window: int, ranges: int, min_kept_words: int) -> Result:
    """Task: write a part without the passages that occur earlier, if there are any, and a sample of them."""
    bounds = _bounds(Path(folder), number)
    repeats = Repeats.of(Path(folder) / "windows", number, ranges, window, bounds)
    affordable = repeats.affordable(bounds, min_kept_words)
    spared = len(np.unique(repeats.rows[~affordable]))
    repeats = repeats.select(affordable)
    if not len(repeats):
        return {"cut": False, "documents_spared": spared, "sources": {}}
    cutter = Cutter(repeats, bounds)
    with atomic_file(_new(Path(folder), number)) as partial, TableWriter(partial, DOCUMENT) as table:
        for batch in part_batches(Path(part)):
            table.write(cutter.without_repeats(batch))
    with atomic_file(_sample(Path(folder), number)) as partial:
        write_table(partial, pa.Table.from_pylist(cutter.sample, schema=_SAMPLED))
    return {"cut": True, "documents_spared": spared, "sources": cutter.counts}


class Cutter:
    """Cuts the repeats out of a part, batch by batch, and keeps count."""

    def __init__(self, repeats: Repeats, bounds: Integers) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.sample: list[dict[str, Any]] = []
        self._repeats = repeats
        self._bounds = bounds
        sample, copies = repeats.sample(SAMPLE)
        self._copies = dict(zip(sample.begins.tolist(), copies.tolist(), strict=True))
        self._row = 0

    def without_repeats(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The next documents of the part, without their repeats."""
        start, end = np.searchsorted(self._repeats.rows, [self._row, self._row + batch.num_rows])
        passages = self._repeats.select(np.arange(start, end))
        rows, firsts = np.unique(passages.rows - self._row, return_index=True)
        documents = batch.take(pa.array(rows))
        texts = documents.column("text")
        words = find_words(texts, lowercase=False)
        bytes_before = np.cumsum(np.append(0, pc.binary_length(texts).to_numpy(zero_copy_only=False)))
        changed = {}
        for place, row in enumerate(rows.tolist()):
            own = slice(*words.offsets[place : place + 2].tolist())
            starts, ends = ((edges[own] - bytes_before[place]).tolist() for edges in (words.starts, words.ends))
            of_row = passages.select(np.arange(firsts[place], np.append(firsts, len(passages))[place + 1]))
            document = documents.slice(place, 1).to_pylist()[0]
            changed[row] = self._cut(document, starts, ends, of_row)
        self._row += batch.num_rows
        return with_changes(batch, changed)

    def _cut(self, document: dict[str, Any], starts: list[int], ends: list[int], passages: Repeats) -> dict[str, Any]:
        """The new text and meta of a document whose words are the bytes `starts` to `ends`."""
        before = int(self._bounds[passages.rows[0]])
        spans = list(zip((passages.begins - before).tolist(), (passages.ends - before).tolist(), strict=True))
        lengths = [last - first for first, last in spans]
        encoded = document["text"].encode()
        for place, begin in enumerate(passages.begins.tolist()):
            if begin not in self._copies:
                continue
            first, last = spans[place]
            self.sample.append(
                {
                    "id": document["id"],
                    "words": last - first,
                    "copies": self._copies[begin],
                    "passage": encoded[starts[first] : ends[last - 1]].decode()[:EXCERPT],
                    "hash": int(passages.hashes[place]),
                    "first_part": int(passages.first_parts[place]),
                    "first_word": int(passages.first_words[place]),
                }
            )
        text = without(encoded, starts, ends, spans)
        self.counts.setdefault(document["source"], Counter()).update(
            documents_cut=1,
            passages_cut=len(spans),
            words_cut=sum(lengths),
            bytes_cut=len(encoded) - len(text.encode()),
        )
        meta = json.loads(document["meta"] or "{}") | {"cut_passages": len(spans), "cut_words": sum(lengths)}
        return {"text": text, "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True)}


def sample_of_all(parts: Sequence[Path], folder: Path) -> pa.Table:
    """`PASSAGES`: a sample of what was cut from all parts, with the ids of the documents that hold the first
    occurrences."""
    best = _SAMPLED.empty_table()
    for path in (path for number in range(len(parts)) if (path := _sample(folder, number)).exists()):
        both = pa.concat_tables([best, pq.read_table(path, schema=_SAMPLED)])
        _, first, which = np.unique(both.column("hash").to_numpy(), return_index=True, return_inverse=True)
        copies = np.zeros(len(first), dtype=np.int64)
        np.add.at(copies, which, both.column("copies").to_numpy())
        place = _SAMPLED.get_field_index("copies")
        best = both.take(pa.array(first[:SAMPLE])).set_column(place, _SAMPLED.field(place), pa.array(copies[:SAMPLE]))
    holders, words = (best.column(name).to_numpy() for name in ("first_part", "first_word"))
    ids = np.full(len(best), None, dtype=object)
    for part in np.unique(holders).tolist():
        held = np.flatnonzero(holders == part)
        rows = np.searchsorted(_bounds(folder, part), words[held], side="right") - 1
        ids[held] = pq.read_table(parts[part], columns=["id"]).column("id").take(pa.array(rows)).to_pylist()
    place = PASSAGES.get_field_index("first_id")
    return best.select(PASSAGES.names).set_column(place, PASSAGES.field(place), pa.array(ids, pa.string()))


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """The counts of all parts together."""
    sources: dict[str, Counter[str]] = {}
    for result in results:
        for source, counts in result["sources"].items():
            sources.setdefault(source, Counter()).update(counts)
    total = sum(sources.values(), Counter())
    return {
        **{name: total[name] for name in ("documents_cut", "passages_cut", "words_cut", "bytes_cut")},
        "documents_spared": sum(result["documents_spared"] for result in results),
        "sources": {source: dict(counts) for source, counts in sorted(sources.items())},
    }


def _documents(folder: Path, number: int) -> Path:
    return folder / f"documents-{number:05d}.npy"


def _bounds(folder: Path, number: int) -> Integers:
    """The words of document i of a part are `bounds[i]:bounds[i + 1]`."""
    return np.asarray(np.load(_documents(folder, number)), dtype=np.int64)


def _new(folder: Path, number: int) -> Path:
    return folder / f"documents-{number:05d}.parquet"


def _sample(folder: Path, number: int) -> Path:
    return folder / f"sample-{number:05d}.parquet"
