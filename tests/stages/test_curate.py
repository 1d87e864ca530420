"""The curate stage on small document tables."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.errors import DataError
from gptoss.pii.contact import EMAIL
from gptoss.pii.phones import PHONE
from gptoss.tables.documents import DOCUMENT, REMOVED, document_id, read_table, removed_files, write_table
from gptoss.tracking.mlflow_run import StageRun
from stages.curate import curate
from tests.quality.test_language import BULGARIAN, GERMAN

PROSE = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a "
    "wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood, this "
    "truth is so well fixed in the minds of the surrounding families, that he is considered the rightful property of "
    "some one or other of their daughters."
)
MENU = "Home | About us | Contact"
NO_FAMILIES = {f"curate.quality.{family}": None for family in ("gopher", "repetition", "c4", "fineweb")}


def document(text: str, url: str, license_: str = "CC0") -> dict[str, str]:
    return {
        "id": document_id("wikipedia", url, text), "text": text, "source": "wikipedia", "url": url, "title": url,
        "language": "en", "license": license_, "meta": "{}",
    }  # fmt: skip


def given(documents: list[str] | list[dict[str, str]], parts: int = 1) -> list[dict[str, str]]:
    """Write documents (texts are enough) as `data/documents/wikipedia`, cut in parts of unequal size."""
    rows = [
        document(each, f"page-{number}") if isinstance(each, str) else each for number, each in enumerate(documents)
    ]
    folder = paths.documents("wikipedia")
    folder.mkdir(parents=True, exist_ok=True)
    cuts = [0, *(len(rows) * number // (parts + 1) for number in range(2, parts + 1)), len(rows)]
    for number, (start, end) in enumerate(pairwise(cuts)):
        table = pa.Table.from_pylist(rows[start:end], schema=DOCUMENT)
        write_table(folder / f"documents-{number:05d}.parquet", table)
    return rows


def run(settings: Settings) -> dict[str, Any]:
    stage = StageRun("curate@wikipedia")
    metrics = dict(curate(settings, stage, "wikipedia"))
    shutil.rmtree(stage.state)  # as `run_stage` does
    kept, removals = read_table(paths.curated("wikipedia")), removed()
    assert metrics["documents_in"] == len(kept) + len(removals)
    assert metrics["documents_kept"] == len(kept)
    assert metrics["removed"] == dict(Counter(row["reason"] for row in removals))
    assert metrics["bytes_kept"] == sum(len(text.encode()) for text in kept["text"].to_pylist())
    assert all(row["detail"] for row in removals)
    return metrics


def removed() -> list[dict[str, Any]]:
    files = removed_files(paths.curated("wikipedia"))
    tables = [pq.read_table(file) for file in files]
    assert all(table.schema.equals(REMOVED) for table in tables)
    assert [file.name.replace("removed", "documents") for file in files] == [
        file.name for file in sorted(paths.curated("wikipedia").glob("documents-*"))
    ]
    return list(pa.concat_tables(tables).to_pylist())


def kept_texts() -> list[str]:
    return list(read_table(paths.curated("wikipedia"))["text"].to_pylist())


def test_every_document_is_kept_or_removed_whole_with_its_reason(workspace: Path, settings: Settings) -> None:
    rows = given([PROSE, BULGARIAN * 5, "short text", f"{PROSE} Write to joe@acme.org.", GERMAN * 5])
    metrics = run(settings)
    kept = read_table(paths.curated("wikipedia"))
    assert kept.schema.equals(DOCUMENT)
    assert kept["id"].to_pylist() == [rows[0]["id"], rows[3]["id"]]
    assert kept["text"].to_pylist() == [PROSE, f"{PROSE} Write to {EMAIL}."]
    removals = removed()
    assert [row["text"] for row in removals] == [rows[number]["text"] for number in (1, 2, 4)]
    assert [row["detail"] for row in removals] == ["bg != en", "words 2 < 50", "de != en"]
    assert [row["language"] for row in removals if row["reason"] == "language"] == ["bg", "de"]
    assert metrics["bytes_in"] == sum(len(row["text"].encode()) for row in rows)
    assert metrics["removed"] == {"gopher.min_words": 1, "language": 2}
    assert metrics["redacted"] == {"email": 1, "ip": 0, "credit_card": 0, "iban": 0, "national_id": 0}
    assert json.loads((paths.curated("wikipedia") / "languages.json").read_text())["bg"] == {"in": 1, "kept": 0}
    words = json.loads((paths.curated("wikipedia") / "distributions.json").read_text())["words"]
    assert (sum(words["in"]), sum(words["kept"]), len(words["edges"])) == (5, 2, len(words["in"]) + 1)


def test_reasons_come_in_order(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    lists = Path("blocked.txt")
    lists.write_text("# adult\nbad.example.net\n\n")
    words = Path("words.txt")
    words.write_text("universally\nsingle man\n")
    settings = settings_with(
        **{
            "curate.urls": {"blocked_domains": ["spam.com", "./blocked.txt"], "blocked_words": ["casino"]},
            "sources.wikipedia.licenses": ["*/licenses/BY/*", "cc0"],
            "curate.toxicity": {"words": "./words.txt", "max_fraction": 0.03},
            "curate.personal_data": dict.fromkeys(("email", "ip", "credit_card", "iban", "national_id"), "replace")
            | {"phone": "drop"},
        }
    )
    good = "Two words are not three. " + PROSE.replace("universally", "widely")
    given(
        [
            document(PROSE, "https://www.spam.com/x"),
            document(PROSE, "http://a.bad.example.net:80/x"),
            document("short", "https://good.com/casino-bonus", "none"),
            document("short", "https://good.com/", "https://creativecommons.org/licenses/by-nc/4.0/"),
            document("short", "https://good.com/casinos"),
            document(PROSE, "https://notspam.com/"),
            document(f"{good} Phone: 212 555 1234", "https://good.com/"),
            document(good, "https://good.com/", "http://creativecommons.org/licenses/by/4.0/"),
        ]
    )
    run(settings)
    assert [(row["reason"], row["detail"]) for row in removed()] == [
        ("url", "domain spam.com"),
        ("url", "domain bad.example.net"),
        ("url", "word casino"),
        ("license", "https://creativecommons.org/licenses/by-nc/4.0/"),
        ("gopher.min_words", "words 1 < 50"),
        ("toxicity", f"listed words {3 / 70:.6g} > 0.03"),
        ("personal_data.phone", "1 found"),
    ]
    assert removed()[-1]["text"].endswith(f"Phone: {PHONE}")  # dropped documents are redacted too
    assert kept_texts() == [good]


def test_repeated_lines_are_cut_from_all_documents(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(**{"curate.repeated_lines": {"min_documents": 3, "min_words": 3}} | NO_FAMILIES)
    given(
        [
            f"{MENU}\n\n{PROSE} one\n  COPYRIGHT by  joe@acme.org",
            f"{MENU.lower()}\n{MENU}\n\n{PROSE} two\nCopyright by joe@acme.org\n",
            f"{PROSE} three\n\n{MENU}\n\nend\ncopyright by Joe@acme.org",
            f"\t{MENU} ",
            *(["the same document all over\nand over again"] * 5),
            "twice in one document is\ntwice in one document is",
            "twice in one document is\nonce",
        ],
        parts=3,
    )
    metrics = run(settings)
    assert kept_texts() == [
        *(f"{PROSE} {end}" for end in ("one", "two", "three\n\nend")),
        *(["the same document all over\nand over again"] * 5),
        "twice in one document is\ntwice in one document is",
        "twice in one document is\nonce",
    ]
    assert [(row["reason"], row["text"]) for row in removed()] == [("repeated_lines", f"\t{MENU} ")]
    assert metrics["repeated_lines"]["lines"] == 8
    shown = pq.read_table(paths.curated("wikipedia") / "repeated_lines.parquet").to_pylist()
    assert shown == [{"line": MENU, "documents": 4}, {"line": f"COPYRIGHT by  {EMAIL}", "documents": 3}]


def test_lines_of_a_crawl_repeat_within_a_site(workspace: Path, settings_with: Callable[..., Settings]) -> None:
    changes = {"sources.wikipedia.format": "warc", "curate.repeated_lines": {"min_documents": 2, "min_words": 3}}
    given(
        [
            document(f"{MENU}\n{host} {page}", f"https://{host}/{page}")
            for host, pages in (("a.com", "12"), ("b.com", "1"))
            for page in pages
        ]
    )
    run(settings_with(**changes | NO_FAMILIES))
    assert kept_texts() == ["a.com 1", "a.com 2", f"{MENU}\nb.com 1"]
    run(settings_with(**changes | NO_FAMILIES | {"sources.wikipedia.rules": ["gopher"]}))
    assert kept_texts() == [f"{MENU}\n{end}" for end in ("a.com 1", "a.com 2", "b.com 1")]


HOSTILE = [
    "!!! ... ??? --- " * 40, "", " \n\t\n", "a\0b " * 60, "x" * 3_000_000, "word " * 20_000, "\n" * 10_000,
    "4 " * 5_000, "é" * 1_000, "\u2028\u0085\u3000", PROSE, PROSE,
]  # fmt: skip


@pytest.mark.parametrize("repeated", [None, {"min_documents": 2, "min_words": 1}])
def test_one_part_or_three_give_the_same_documents(
    workspace: Path, settings_with: Callable[..., Settings], repeated: dict[str, int] | None
) -> None:
    settings = settings_with(**{"curate.repeated_lines": repeated})
    texts = [*HOSTILE, *(f"{PROSE} Number {number % 40}.\n{MENU}" for number in range(80)), *["short"] * 9]
    rows = [document(text, "page") for text in texts]  # equal texts have equal ids
    found = []
    for parts in (1, 3):
        given(rows, parts)
        metrics = run(settings)
        removals = [(row["id"], row["text"], row["reason"], row["detail"]) for row in removed()]
        found.append((kept_texts(), removals, metrics, *_small_files()))
        assert metrics["documents_in"] == len(rows)
    assert found[0] == found[1]
    before = _hashes(paths.curated("wikipedia"))
    run(settings)
    assert _hashes(paths.curated("wikipedia")) == before


@pytest.mark.parametrize("texts", [[], ["short"]])
def test_nothing_in_or_nothing_left_is_an_empty_table(
    workspace: Path, settings_with: Callable[..., Settings], texts: list[str]
) -> None:
    given(texts)
    metrics = run(settings_with(**{"curate.repeated_lines": {"min_documents": 2, "min_words": 1}}))
    assert metrics["documents_kept"] == 0
    assert read_table(paths.curated("wikipedia")).num_rows == 0
    assert len(removed()) == len(texts)


def test_a_killed_stage_keeps_the_previous_output(
    workspace: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given([PROSE])
    run(settings)
    before = _hashes(paths.curated("wikipedia"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gptoss.curate.filters.quality.apply_rules", die)
    with pytest.raises(KeyboardInterrupt):
        curate(settings, StageRun("curate@wikipedia", "another"), "wikipedia")
    assert _hashes(paths.curated("wikipedia")) == before
    assert [path.name for path in Path("data/curated").iterdir()] == ["wikipedia"]


def test_a_missing_input_is_a_clear_error(workspace: Path, settings: Settings) -> None:
    with pytest.raises(DataError, match="holds no documents"):
        run(settings)


def test_real_books_and_articles_survive(workspace: Path, shared: Path, settings: Settings) -> None:
    books = sorted((shared / "corpora" / "gutenberg").glob("*.txt"))[:2]
    given([book.read_text(encoding="utf-8-sig", errors="replace")[2_000:200_000] for book in books])
    assert run(settings)["documents_kept"] == len(books)


def _small_files() -> list[object]:
    folder = paths.curated("wikipedia")
    shown = pq.read_table(folder / "repeated_lines.parquet").to_pylist()
    return [shown, *((folder / name).read_text() for name in ("distributions.json", "languages.json"))]


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
