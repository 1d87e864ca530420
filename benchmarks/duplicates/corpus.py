"""The corpus of the deduplication benchmark: built once per size and seed, kept under `.benchmarks/`.

A family is an original and its copy. The sizes `all`, `tenth` (every tenth family) and `thirtieth` are one folder each,
with the same documents as Parquet files in the schema of the pipeline and as one JSONL file for peers that read that.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from duplicates.distinct import DistinctFilter, recombined
from duplicates.plant import MIN_WORDS, SHARES, exact_copy, near_copy
from duplicates.text import pieces

# Part of the name of the cached corpus: raise it when a change of the code below changes the corpus.
VERSION = 1
SIZES = {"all": 1, "tenth": 10, "thirtieth": 30}
FILES = 16
VOCABULARY = 20_000  # words drawn, with repetition, from which edits take theirs
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        *((name, pa.string()) for name in ("source", "url", "title", "language", "license", "meta")),
    ]
)


@dataclass(frozen=True)
class PlantedPair:
    """Ids of an original and its copy. `bin`: lowest similarity of the bin, 1.0 for an exact copy; `jaccard`: exact."""

    original: str
    copy: str
    bin: float
    jaccard: float


@dataclass(frozen=True)
class Corpus:
    """One size of the corpus on disk."""

    folder: Path

    @property
    def files(self) -> list[Path]:
        """Parquet files, in order."""
        return sorted(self.folder.glob("documents-*.parquet"))

    @property
    def lines(self) -> Path:
        """The same documents, in the same order, as JSON lines with `id` and `text`."""
        return self.folder / "lines" / "documents.jsonl"

    @cached_property
    def ids(self) -> list[str]:
        """Ids of all documents, in order."""
        return [name for file in self.files for name in pq.read_table(file, columns=["id"])["id"].to_pylist()]

    @cached_property
    def megabytes(self) -> float:
        """Size of all texts in UTF-8, in 10^6 bytes."""
        return float(json.loads((self.folder / "size.json").read_text())["bytes"]) / 1e6

    def texts(self, ids: set[str]) -> dict[str, str]:
        """Texts of the given documents, by id."""
        found: dict[str, str] = {}
        for file in self.files:
            table = pq.read_table(file, columns=["id", "text"])
            rows = zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
            found.update((name, text) for name, text in rows if name in ids)
        return found

    def planted(self) -> list[PlantedPair]:
        """The planted pairs in this size of the corpus."""
        present = set(self.ids)
        rows = json.loads((self.folder.parent / "planted.json").read_text())
        return [PlantedPair(*row) for row in rows if row[0] in present]


def load(cache: Path, megabytes: float, seed: int) -> tuple[dict[str, Corpus], dict[str, Any]]:
    """Return the sizes of the corpus and a summary of what it was made of; build it if it is missing."""
    folder = cache / f"corpus-{megabytes:g}MB-seed{seed}-v{VERSION}"
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        build(unfinished, int(megabytes * 1e6), seed)
        unfinished.rename(folder)  # an interrupted build never has the final name
    about = json.loads((folder / "about.json").read_text())
    return {size: Corpus(folder / size) for size in SIZES}, about


@dataclass(frozen=True)
class _Document:
    text: str
    url: str
    origin: str
    family: int

    @cached_property
    def id(self) -> str:
        return hashlib.blake2b(f"{self.url}\0{self.text}".encode(), digest_size=16).hexdigest()


def build(folder: Path, min_bytes: int, seed: int) -> None:
    """Write a corpus of at least `min_bytes` of text."""
    bytes_by_origin: Counter[str] = Counter()
    planted_share = sum(SHARES.values())
    originals = list(_originals(int(min_bytes * (1 - planted_share)), seed, bytes_by_origin))
    print(f"corpus: {len(originals)} distinct documents, planting duplicates", file=sys.stderr)
    copies, planted = _copies(originals, seed)
    documents = [*originals, *copies]
    # Copies are planned by number, not by size: their bytes may fall short of the planned share.
    missing = min_bytes - sum(len(document.text.encode()) for document in documents)
    if missing > 0:
        texts = [document.text for document in originals]
        documents.extend(_recombined(missing, seed + 1, texts, bytes_by_origin, len(originals)))
    # Shuffled: a copy must not follow its original, nor documents of one file each other.
    random.Random(f"{seed} order").shuffle(documents)
    # By family, so that a fraction of the corpus has whole pairs and the same share of duplicates.
    for size, divisor in SIZES.items():
        _write(folder / size, [document for document in documents if document.family % divisor == 0])
    (folder / "planted.json").write_text(json.dumps([list(vars(pair).values()) for pair in planted]))
    about = {"documents": len(documents), "bytes_by_origin": dict(bytes_by_origin), "planted": len(planted)}
    (folder / "about.json").write_text(json.dumps(about))


def _originals(min_bytes: int, seed: int, bytes_by_origin: Counter[str]) -> Iterator[_Document]:
    """Distinct pieces of files and, where there are too few, documents of recombined lines."""
    distinct = DistinctFilter()
    texts: list[str] = []
    size = reported = excluded = 0
    for piece in pieces(seed):
        if not distinct.add(piece.words):
            excluded += len(piece.text.encode())
            continue
        texts.append(piece.text)
        size += len(piece.text.encode())
        bytes_by_origin[piece.origin] += len(piece.text.encode())
        yield _Document(piece.text, piece.url, piece.origin, len(texts) - 1)
        if size - reported > 20e6:
            reported = size
            progress = f"{size / 1e6:.0f} of {min_bytes / 1e6:.0f} MB ({excluded / 1e6:.0f} MB excluded: not distinct)"
            print(f"corpus: {progress}", file=sys.stderr)
        if size >= min_bytes:
            return
    print(f"corpus: this machine has {size / 1e6:.0f} MB of distinct text; recombining its lines", file=sys.stderr)
    yield from _recombined(min_bytes - size, seed, texts, bytes_by_origin, len(texts))


def _recombined(
    min_bytes: int, seed: int, texts: Sequence[str], bytes_by_origin: Counter[str], first_family: int
) -> Iterator[_Document]:
    """At least `min_bytes` of documents of recombined lines, one family each, numbered from `first_family`."""
    if not texts:
        raise SystemExit("error: no text was found on this machine: install documentation or Python packages")
    for number, text in enumerate(recombined(texts, seed)):
        if min_bytes <= 0:
            return
        min_bytes -= len(text.encode())
        bytes_by_origin["recombined"] += len(text.encode())
        yield _Document(text, f"recombined:{seed}/{number}", "recombined", first_family + number)


def _copies(originals: Sequence[_Document], seed: int) -> tuple[list[_Document], list[PlantedPair]]:
    """Copy some originals, each at most once, so that no planted pair is similar to another."""
    rng = random.Random(f"{seed} copies")
    total = len(originals) / (1 - sum(SHARES.values()))
    vocabulary = _vocabulary(originals, rng)
    # One generator for all bins: each original is copied at most once.
    candidates = (document for document in rng.sample(originals, len(originals)) if _long_enough(document))
    copies, planted = [], []
    for bin_, share in SHARES.items():
        remaining = round(total * share)
        for document in candidates:
            result = _copy(document, bin_, vocabulary, rng)
            if result is None:  # no number of edits hits the bin: try the next original
                continue
            text, jaccard = result
            copy = _Document(text, f"{document.url}?copy={bin_:g}", document.origin, document.family)
            copies.append(copy)
            planted.append(PlantedPair(document.id, copy.id, bin_, jaccard))
            remaining -= 1
            if remaining <= 0:
                break
    return copies, planted


def _copy(document: _Document, bin_: float, vocabulary: Sequence[str], rng: random.Random) -> tuple[str, float] | None:
    if bin_ < 1.0:
        return near_copy(document.text, bin_, vocabulary, rng)
    text = exact_copy(document.text, rng)
    return None if text is None else (text, 1.0)


def _long_enough(document: _Document) -> bool:
    return len(document.text.split()) >= MIN_WORDS


def _vocabulary(originals: Sequence[_Document], rng: random.Random) -> list[str]:
    """Words drawn with their frequency in the text, so that edits look like it."""
    words = (word for document in rng.choices(originals, k=VOCABULARY) for word in rng.choices(document.text.split()))
    return [word for word in words if word.isalnum()]


def _write(folder: Path, documents: Sequence[_Document]) -> None:
    (folder / "lines").mkdir(parents=True)
    rows = iter(documents)
    per_file = -(-len(documents) // FILES)
    # In a folder of its own, because datatrove's reader takes every file of a folder.
    with (folder / "lines" / "documents.jsonl").open("w") as lines:
        for number in range(FILES):
            written = [_row(document) for document in islice(rows, per_file)]
            table = pa.Table.from_pylist(written, schema=SCHEMA)
            pq.write_table(table, folder / f"documents-{number:05d}.parquet", compression="zstd")
            lines.writelines(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in written)
    size = sum(len(document.text.encode()) for document in documents)
    (folder / "size.json").write_text(json.dumps({"bytes": size, "documents": len(documents)}))


def _row(document: _Document) -> dict[str, str]:
    return {
        "id": document.id,
        "text": document.text,
        "source": "debian",
        "url": document.url,
        "title": "",
        "language": "en",
        "license": "",
        "meta": "{}",
    }
