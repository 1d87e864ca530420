"""The corpus of the deduplication benchmark: built once per size and seed, kept under `.benchmarks/`.

Each of its sizes (`all`, a `tenth`, a `thirtieth`: every tenth family of an original and its copies) is a folder with
the same documents as Parquet parts in the schema of the pipeline and as one JSONL file, for readers of either.
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
from duplicates.distinct import Distinct, recombined
from duplicates.plant import MIN_WORDS, SHARES, exact_copy, near_copy
from duplicates.text import pieces

VERSION = 1
"""Part of the name of the cached corpus: raise it when the code below makes another one."""
SIZES = {"all": 1, "tenth": 10, "thirtieth": 30}
PARTS = 16
VOCABULARY = 20_000
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("text", pa.large_string()),
        *((name, pa.string()) for name in ("source", "url", "title", "language", "license", "meta")),
    ]
)


@dataclass(frozen=True)
class Planted:
    """One planted pair. `bin` is 1.0 for an exact copy; `jaccard` is exact."""

    original: str
    copy: str
    bin: float
    jaccard: float


@dataclass(frozen=True)
class Corpus:
    """One size of the corpus on disk."""

    folder: Path

    @property
    def parts(self) -> list[Path]:
        """Parquet files, in order."""
        return sorted(self.folder.glob("documents-*.parquet"))

    @property
    def lines(self) -> Path:
        """The same documents, in the same order, as JSON lines with `id` and `text`."""
        return self.folder / "lines" / "documents.jsonl"

    @cached_property
    def ids(self) -> list[str]:
        """Ids in order."""
        return [name for part in self.parts for name in pq.read_table(part, columns=["id"])["id"].to_pylist()]

    @cached_property
    def megabytes(self) -> float:
        """UTF-8 bytes of all texts / 10^6."""
        return float(json.loads((self.folder / "size.json").read_text())["bytes"]) / 1e6

    def texts(self, wanted: set[str]) -> dict[str, str]:
        """Texts of some documents by id."""
        found: dict[str, str] = {}
        for part in self.parts:
            table = pq.read_table(part, columns=["id", "text"])
            rows = zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
            found.update((name, text) for name, text in rows if name in wanted)
        return found

    def planted(self) -> list[Planted]:
        """The planted pairs that lie in this size."""
        present = set(self.ids)
        rows = json.loads((self.folder.parent / "planted.json").read_text())
        return [Planted(*row) for row in rows if row[0] in present]


def load(cache: Path, megabytes: float, seed: int) -> tuple[dict[str, Corpus], dict[str, Any]]:
    """The sizes of the corpus and what it is made of; built first if it is not there."""
    folder = cache / f"corpus-{megabytes:g}MB-seed{seed}-v{VERSION}"
    if not folder.exists():
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        build(unfinished, int(megabytes * 1e6), seed)
        unfinished.rename(folder)
    about = json.loads((folder / "about.json").read_text())
    return {size: Corpus(folder / size) for size in SIZES}, about


@dataclass(frozen=True)
class _Document:
    text: str
    url: str
    kind: str
    family: int

    @cached_property
    def id(self) -> str:
        return hashlib.blake2b(f"{self.url}\0{self.text}".encode(), digest_size=16).hexdigest()


def build(folder: Path, wanted: int, seed: int) -> None:
    """Write a corpus of at least `wanted` bytes."""
    kinds: Counter[str] = Counter()
    planted_share = sum(SHARES.values())
    originals = list(_originals(int(wanted * (1 - planted_share)), seed, kinds))
    print(f"corpus: {len(originals)} distinct documents, planting duplicates", file=sys.stderr)
    copies, planted = _copies(originals, seed)
    documents = [*originals, *copies]
    missing = wanted - sum(len(document.text.encode()) for document in documents)
    documents.extend(_more(missing, seed, originals, kinds) if missing > 0 else ())
    random.Random(f"{seed} order").shuffle(documents)
    for size, divisor in SIZES.items():
        _write(folder / size, [document for document in documents if document.family % divisor == 0])
    (folder / "planted.json").write_text(json.dumps([list(vars(pair).values()) for pair in planted]))
    about = {"documents": len(documents), "bytes_by_origin": dict(kinds), "planted": len(planted)}
    (folder / "about.json").write_text(json.dumps(about))


def _originals(wanted: int, seed: int, kinds: Counter[str]) -> Iterator[_Document]:
    """Distinct pieces of files and, where those are not enough, recombined lines of theirs."""
    distinct = Distinct()
    texts: list[str] = []
    size = shown = left_out = 0
    for piece in pieces(seed):
        if not distinct.add(piece.words):
            left_out += len(piece.text.encode())
            continue
        texts.append(piece.text)
        size += len(piece.text.encode())
        kinds[piece.kind] += len(piece.text.encode())
        yield _Document(piece.text, piece.url, piece.kind, len(texts) - 1)
        if size - shown > 20e6:
            shown = size
            progress = f"{size / 1e6:.0f} of {wanted / 1e6:.0f} MB ({left_out / 1e6:.0f} MB left out: not distinct)"
            print(f"corpus: {progress}", file=sys.stderr)
        if size >= wanted:
            return
    print(f"corpus: this machine has {size / 1e6:.0f} MB of distinct text; recombining its lines", file=sys.stderr)
    yield from _derived(wanted - size, seed, texts, kinds, len(texts))


def _more(missing: int, seed: int, originals: Sequence[_Document], kinds: Counter[str]) -> Iterator[_Document]:
    """What rounding left out: a few recombined documents."""
    texts = [document.text for document in originals]
    yield from _derived(missing, seed + 1, texts, kinds, len(originals))


def _derived(wanted: int, seed: int, texts: Sequence[str], kinds: Counter[str], family: int) -> Iterator[_Document]:
    if not texts:
        raise SystemExit("error: no text was found on this machine: install documentation or Python packages")
    for number, text in enumerate(recombined(texts, seed)):
        if wanted <= 0:
            return
        wanted -= len(text.encode())
        kinds["recombined"] += len(text.encode())
        yield _Document(text, f"recombined:{seed}/{number}", "recombined", family + number)


def _copies(originals: Sequence[_Document], seed: int) -> tuple[list[_Document], list[Planted]]:
    """One copy of an original at most, so that every planted pair stands alone."""
    chance = random.Random(f"{seed} copies")
    total = len(originals) / (1 - sum(SHARES.values()))
    vocabulary = _vocabulary(originals, chance)
    candidates = (document for document in chance.sample(originals, len(originals)) if _long_enough(document))
    copies, planted = [], []
    for bin_, share in SHARES.items():
        left = round(total * share)
        for document in candidates:
            made = _copy(document, bin_, vocabulary, chance)
            if made is None:
                continue
            text, exact = made
            copy = _Document(text, f"{document.url}?copy={bin_:g}", document.kind, document.family)
            copies.append(copy)
            planted.append(Planted(document.id, copy.id, bin_, exact))
            left -= 1
            if left <= 0:
                break
    return copies, planted


def _copy(
    document: _Document, bin_: float, vocabulary: Sequence[str], chance: random.Random
) -> tuple[str, float] | None:
    if bin_ < 1.0:
        return near_copy(document.text, bin_, vocabulary, chance)
    text = exact_copy(document.text, chance)
    return None if text is None else (text, 1.0)


def _long_enough(document: _Document) -> bool:
    return len(document.text.split()) >= MIN_WORDS


def _vocabulary(originals: Sequence[_Document], chance: random.Random) -> list[str]:
    """Words as frequent as in the text."""
    words = (
        word for document in chance.choices(originals, k=VOCABULARY) for word in chance.choices(document.text.split())
    )
    return [word for word in words if word.isalnum()]


def _write(folder: Path, documents: Sequence[_Document]) -> None:
    (folder / "lines").mkdir(parents=True)
    rows = iter(documents)
    per_part = -(-len(documents) // PARTS)
    with (folder / "lines" / "documents.jsonl").open("w") as lines:
        for number in range(PARTS):
            part = [_row(document) for document in islice(rows, per_part)]
            table = pa.Table.from_pylist(part, schema=SCHEMA)
            pq.write_table(table, folder / f"documents-{number:05d}.parquet", compression="zstd")
            lines.writelines(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in part)
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
