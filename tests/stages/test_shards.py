"""The stage: every document is in its split and decodes to its text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.core.atomic_files import read_json, sha256_file
from gptoss.core.errors import DataError, UserError
from gptoss.tables.token_files import TokenSplit
from gptoss.tokenizer import folder
from gptoss.tokenizer.splits import split_of
from gptoss.tracking.mlflow_run import StageRun
from stages.shards import shards
from tests.documents import write_documents
from tests.toy_corpus import SMALL, write_corpus


@pytest.fixture
def corpus(workspace: Path) -> dict[str, str]:
    return write_corpus()


@pytest.fixture
def small(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(**SMALL)


def output() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path("data/shards").iterdir())}


def test_every_document_is_in_its_split_and_decodes_to_its_text(corpus: dict[str, str], small: Settings) -> None:
    metrics = shards(small, StageRun("shards"))
    tokenizer = folder.read(Path("data/tokenizer"))
    found: list[str] = []
    for split in ("train", "validation"):
        tokens = TokenSplit.open(Path("data/shards"), split)
        tokens.verify()
        offsets = tokens.offsets()
        rows = pq.read_table(f"data/shards/documents-{split}.parquet").to_pylist()
        for row, start, stop in zip(rows, offsets[:-1], offsets[1:], strict=True):
            separator, *ids = tokens[start:stop]
            assert separator == 0 and min(ids, default=4) >= 4
            assert tokenizer.decode(ids, skip_special_tokens=False) == corpus[row["id"]]
            assert (row["tokens"], row["bytes"]) == (len(ids) + 1, len(corpus[row["id"]].encode()))
            assert split_of(row["id"], small) == split
        found += [row["id"] for row in rows]
        assert (tokens.documents, tokens.tokens) == (len(rows), offsets[-1])
        assert tokens.bytes == sum(row["bytes"] for row in rows)
        for name, source in tokens.sources.items():
            of_source = [row for row in rows if row["source"] == name]
            assert source["start"] == of_source[0]["offset"]
            assert source["start"] + source["tokens"] == of_source[-1]["offset"] + of_source[-1]["tokens"]
        for key in ("documents", "tokens", "bytes"):
            assert sum(source[key] for source in tokens.sources.values()) == metrics[split][key]
    assert sorted(found) == sorted(corpus)


def test_the_index_describes_the_files(corpus: dict[str, str], small: Settings) -> None:
    shards(small, StageRun("shards"))
    index = read_json(Path("data/shards/index.json"))
    assert (index["dtype"], index["vocab_size"]) == ("uint16", 320)
    assert index["tokenizer_sha256"] == sha256_file(Path("data/tokenizer/tokenizer.json"))
    for split, entry in index["splits"].items():
        sizes = [shard["tokens"] for shard in entry["shards"]]
        assert set(sizes[:-1]) <= {100} and 0 < sizes[-1] <= 100 and sum(sizes) == entry["tokens"]
        for number, shard in enumerate(entry["shards"]):
            path = Path("data/shards") / shard["file"]
            assert path.name == f"{split}-{number:05d}.bin"
            assert path.stat().st_size == 2 * shard["tokens"]
            assert sha256_file(path) == shard["sha256"]


def test_two_runs_give_the_same_bytes(corpus: dict[str, str], small: Settings) -> None:
    shards(small, StageRun("shards"))
    first = output()
    shards(small, StageRun("shards"))
    assert output() == first


def test_an_interrupted_run_leaves_the_last_finished_one(
    corpus: dict[str, str], small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards(small, StageRun("shards"))
    first = output()

    def stops(items: Iterable[object], *_: object, **__: object) -> Iterable[object]:
        for number, item in enumerate(items):
            if number == 20:
                raise OSError(28, "No space left on device")
            yield item

    monkeypatch.setattr("stages.shards.progress", stops)
    with pytest.raises(OSError, match="No space"):
        shards(small, StageRun("shards"))
    assert output() == first
    assert [path.name for path in sorted(Path("data").iterdir())] == ["clean", "shards", "tokenizer"]


def test_an_empty_split_is_refused_with_the_arithmetic(
    corpus: dict[str, str], settings_with: Callable[..., Settings]
) -> None:
    one = {"id": "a", "text": "x", "source": "web"}
    for path in Path("data/clean").iterdir():
        path.unlink()
    write_documents(Path("data/clean"), [one])
    with pytest.raises(DataError, match=r"validation split is empty: 1 documents \* 0\.03 = 0\.03") as error:
        shards(settings_with(**{"shards.validation_fraction": 0.03}), StageRun("shards"))
    assert "shards.validation_fraction to 0.429" in error.value.fix
    assert not Path("data/shards").exists()


def test_documents_out_of_order_are_refused(corpus: dict[str, str], small: Settings) -> None:
    write_documents(Path("data/clean"), [{"id": str(n), "text": "x", "source": s} for n, s in enumerate("aba")])
    with pytest.raises(DataError, match="the documents of a are not contiguous"):
        shards(small, StageRun("shards"))


def test_a_tokenizer_that_does_not_fit_is_refused(
    corpus: dict[str, str], settings_with: Callable[..., Settings]
) -> None:
    small = settings_with(**{"tokenizer.vocab_size": 300, "tokenizer.pad_to_multiple_of": 4})
    with pytest.raises(UserError, match=r"has 320 tokens, more than tokenizer.vocab_size\(300\)"):
        shards(small, StageRun("shards"))
