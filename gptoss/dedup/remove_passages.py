"""Remove passages that occur earlier in the corpus (Lee et al. 2022, section 4.1, on words instead of tokens).

A passage is a run of at least `window` words of the normaliser. The corpus is ordered by parts, documents and words. A
word is removed if and only if it is in a window of `window` words that occurs earlier in the corpus without overlap.
Consequences:

- every repeat of `window` words or more is found at its full length, across documents and within one, and nothing is
  removed that does not occur earlier;
- a run that repeats itself at once (a refrain, a ruler of dashes and numbers) keeps its first `window` words;
- where the first occurrence of a passage contains a shorter passage that occurs even earlier, the shorter one is
  removed from it too, so its words survive in two places;
- words that meet where a passage was removed are not compared again;
- `min_kept_words` holds for every document: its first passages stay if fewer words would be left.

Method: all windows of all documents would take 24 bytes per word. But equal windows share a fingerprint (winnowing.py),
and about one word in thirteen is one, so only windows around a fingerprint that occurs twice are compared, by 128-bit
hashes. Among 10^11 windows two different ones share a hash with probability 10^-17, so the words need not be compared.
Steps: fingerprints of each part, compared over all parts; windows, compared; removal. Each is a task per part or per
range of hashes. Memory is bounded by the words of one part; the intermediate files take a third of the text and 30
bytes per word in a passage that occurs twice. A suffix array, as in Lee et al., needs the whole corpus on one machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from gptoss.config.dedup import SubstringsConfig
from gptoss.core.atomic_files import atomic_file
from gptoss.dedup.first_occurrence import UNSHARED, FirstOccurrences, PartKeys, compare_parts, save_integers
from gptoss.dedup.passage_remover import SAMPLE_SCHEMA, PassageRemover, merge_samples
from gptoss.dedup.repeated_passages import RepeatedPassages
from gptoss.dedup.winnowing import fingerprints, windows_containing
from gptoss.executor.tasks import Result, run_tasks
from gptoss.tables.batches import TableWriter, part_batches
from gptoss.tables.documents import DOCUMENT, write_table
from gptoss.text.arrays import NO_HASHES, Hashes, Integers, offsets_of
from gptoss.text.mixing import mix
from gptoss.text.normalize import find_words
from gptoss.text.shingles import hash_windows

# Mixed into the word hashes before the second half of a window's hash, to make it independent of the first. Any odd
# number without structure will do; this is 2^64 / 1.22074…, the golden ratio generalised to three dimensions (Roberts).
_SECOND_HASH_KEY = np.uint64(0xD1B54A32D192ED03)
_NO_INTEGERS = np.zeros(0, dtype=np.int64)


def remove_passages(parts: Sequence[Path], config: SubstringsConfig, state: Path) -> tuple[list[Path], dict[str, Any]]:
    """Remove repeated passages from the documents in `parts`, which are in the order of the corpus.

    Returns the new parts in the same order (the path of the old one where nothing was removed), and counts: documents,
    passages, words and bytes removed, in total and per source, and `documents_spared`, those that `min_kept_words` kept
    from further removals. Writes a sample of what was removed to `state/passages.parquet`.
    """
    folder = state / "repeats"
    size = sum(path.stat().st_size for path in parts)

    def run_step(function: Callable[..., Result], **arguments: int) -> list[Result]:
        tasks = [
            {"part": str(path), "number": number, "folder": str(folder), "window": config.window, **arguments}
            for number, path in enumerate(parts)
        ]
        return run_tasks(f"dedup_{function.__name__}", function, tasks, folder, input_bytes=size, releases_gil=True)

    def compare(name: str, results: Sequence[Result]) -> int:
        return compare_parts(folder / name, len(parts), sum(result["keys"] for result in results), folder)

    ranges = compare("fingerprints", run_step(write_fingerprints))
    ranges = compare("windows", run_step(write_windows, ranges=ranges))
    results = run_step(rewrite_part, ranges=ranges, min_kept_words=config.min_kept_words)
    samples = [_sample_file(folder, number) for number in range(len(parts))]
    with atomic_file(state / "passages.parquet") as partial:
        write_table(partial, merge_samples(samples, parts, lambda number: _document_bounds(folder, number)))
    rewritten = [
        _rewritten_file(folder, number) if result["cut"] else parts[number] for number, result in enumerate(results)
    ]
    return rewritten, sum_counts(results)


def write_fingerprints(part: str, number: int, folder: str, window: int) -> Result:
    """Task: write the fingerprints of a part, and the word at which each of its documents begins."""
    positions, hashes, counts = [_NO_INTEGERS], [NO_HASHES], [_NO_INTEGERS]
    start = 0
    for batch in part_batches(Path(part), ["text"]):
        words = find_words(batch.column("text"))
        selected, selected_hashes = fingerprints(words, window)
        positions.append(selected + start)
        hashes.append(selected_hashes)
        counts.append(words.counts)
        start += len(words.starts)
    # 64 bits suffice here: a collision only adds windows to be compared in the next step.
    keys = PartKeys.from_occurrences(np.concatenate(hashes)[None], np.concatenate(positions))
    keys.write(Path(folder) / "fingerprints", number)
    save_integers(_bounds_file(Path(folder), number), offsets_of(np.concatenate(counts)))
    return {"keys": keys.keys.shape[1], "words": start}


def write_windows(part: str, number: int, folder: str, window: int, ranges: int) -> Result:
    """Task: write the windows of a part around those of its fingerprints that occur more than once in the corpus."""
    repeated = repeated_fingerprints(Path(folder) / "fingerprints", number, ranges)
    bounds = _document_bounds(Path(folder), number)
    positions, hashes = [_NO_INTEGERS], [np.zeros((2, 0), dtype=np.uint64)]
    row = 0
    for batch in part_batches(Path(part), ["text"]) if len(repeated) else ():
        # Only the documents with such a fingerprint are processed again.
        in_batch = repeated[slice(*np.searchsorted(repeated, bounds[[row, row + batch.num_rows]]))]
        rows = np.unique(np.searchsorted(bounds, in_batch, side="right") - 1)
        words = find_words(batch.column("text").take(pa.array(rows - row)))
        # Add to a word of the chosen documents to get the word of the part.
        shift = np.repeat(bounds[rows] - words.offsets[:-1], words.counts)
        chosen = windows_containing(words, np.searchsorted(np.arange(len(shift)) + shift, in_batch), window)
        positions.append(chosen + shift[chosen])
        hashes.append(window_keys(words.hashes, window)[:, chosen])
        row += batch.num_rows
    keys = PartKeys.from_occurrences(np.concatenate(hashes, axis=1), np.concatenate(positions))
    keys.write(Path(folder) / "windows", number)
    return {"keys": keys.keys.shape[1], "windows": len(keys.words)}


def repeated_fingerprints(folder: Path, number: int, ranges: int) -> Integers:
    """The words at which those fingerprints of a part begin that occur more than once, int64, ascending."""
    keys = PartKeys.read(folder, number)
    repeated = (FirstOccurrences.read(folder, number, ranges).parts != UNSHARED) | (keys.counts > 1)
    return np.asarray(keys.words[repeated[keys.key]])


def window_keys(word_hashes: Hashes, window: int) -> Hashes:
    """Two independent 64-bit hashes of each window, uint64 [2, words]."""
    return np.stack([hash_windows(word_hashes, window), hash_windows(mix(word_hashes ^ _SECOND_HASH_KEY), window)])


def rewrite_part(part: str, number: int, folder: str, window: int, ranges: int, min_kept_words: int) -> Result:
    """Task: write a part without the passages that occur earlier, and a sample of them, if there are any."""
    bounds = _document_bounds(Path(folder), number)
    passages = RepeatedPassages.read(Path(folder) / "windows", number, ranges, window, bounds)
    removable = passages.removable(bounds, min_kept_words)
    spared = len(np.unique(passages.rows[~removable]))
    passages = passages.select(removable)
    # Many parts of a deduplicated corpus have none. They are not written again, but used as they are.
    if not len(passages):
        return {"cut": False, "documents_spared": spared, "sources": {}}
    remover = PassageRemover(passages, bounds)
    with atomic_file(_rewritten_file(Path(folder), number)) as partial, TableWriter(partial, DOCUMENT) as table:
        for batch in part_batches(Path(part)):
            table.write(remover.without_passages(batch))
    with atomic_file(_sample_file(Path(folder), number)) as partial:
        write_table(partial, pa.Table.from_pylist(remover.sample, schema=SAMPLE_SCHEMA))
    return {"cut": True, "documents_spared": spared, "sources": remover.counts}


def sum_counts(results: Sequence[Result]) -> dict[str, Any]:
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


def _bounds_file(folder: Path, number: int) -> Path:
    return folder / f"documents-{number:05d}.npy"


def _document_bounds(folder: Path, number: int) -> Integers:
    """The words of document i of a part are `bounds[i]:bounds[i + 1]`."""
    return np.asarray(np.load(_bounds_file(folder, number)), dtype=np.int64)


def _rewritten_file(folder: Path, number: int) -> Path:
    return folder / f"documents-{number:05d}.parquet"


def _sample_file(folder: Path, number: int) -> Path:
    return folder / f"sample-{number:05d}.parquet"
