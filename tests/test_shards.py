"""The shards stage and the reader of its files: every document is there, in its split, and comes back as text."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from gptoss.config.settings import Settings
from gptoss.config.tokenizer import SPECIAL_TOKENS
from gptoss.core.atomic_files import read_json, sha256_file, write_json
from gptoss.core.errors import DataError, UserError
from gptoss.tables.documents import document_id, write_documents
from gptoss.tables.token_files import TokenSplit, token_dtype
from gptoss.tokenizer import bpe, folder
from gptoss.tracking.mlflow_run import StageRun
from stages.shards import shards, split_of

TEXTS = {
    "book": [f"Chapter {number}.\n\n" + "It was a dark and stormy night. " * number for number in range(30)],
    "web": ["<|endoftext|>", "", "<|im_end|>\n\n", *(f"page {number} \u00e9\U0001f600" for number in range(30))],
}


@pytest.fixture
def corpus(workspace: Path) -> dict[str, str]:
    """`data/clean` and `data/tokenizer`; the texts by document id."""
    rows = [
        {"id": document_id(source, str(number), text), "text": text, "source": source}
        for source, texts in TEXTS.items()
        for number, text in enumerate(texts)
    ]
    Path("data/clean").mkdir(parents=True)
    write_documents(Path("data/clean"), rows, rows_per_file=10)
    write_tokenizer()
    return {row["id"]: row["text"] for row in rows}


def write_tokenizer(vocab_size: int = 320) -> None:
    Path("data/tokenizer").mkdir(parents=True, exist_ok=True)
    trained = bpe.train([text for texts in TEXTS.values() for text in texts], vocab_size, SPECIAL_TOKENS)
    folder.write(Path("data/tokenizer"), trained, 256)


@pytest.fixture
def small(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(
        **{"shards.tokens_per_shard": 100, "shards.validation_fraction": 0.2, "tokenizer.vocab_size": 320}
    )


def output() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path("data/shards").iterdir())}


def test_every_document_is_in_its_split_and_comes_back(corpus: dict[str, str], small: Settings) -> None:
    metrics = shards(small, StageRun("shards"))
    tokenizer = folder.read(Path("data/tokenizer"))
    seen: list[str] = []
    for split in ("train", "validation"):
        tokens = TokenSplit.open(Path("data/shards"), split)
        tokens.verify()
        offsets = tokens.offsets()
        places = pq.read_table(f"data/shards/documents-{split}.parquet").to_pylist()
        for place, start, stop in zip(places, offsets[:-1], offsets[1:], strict=True):
            separator, *ids = tokens[start:stop]
            assert separator == 0 and min(ids, default=4) >= 4
            assert tokenizer.decode(ids, skip_special_tokens=False) == corpus[place["id"]]
            assert (place["tokens"], place["bytes"]) == (len(ids) + 1, len(corpus[place["id"]].encode()))
            assert split_of(place["id"], small) == split
        seen += [place["id"] for place in places]
        assert (tokens.documents, tokens.tokens) == (len(places), offsets[-1])
        assert tokens.bytes == sum(place["bytes"] for place in places)
        for name, source in tokens.sources.items():
            of_source = [place for place in places if place["source"] == name]
            assert source["start"] == of_source[0]["offset"]
            assert source["start"] + source["tokens"] == of_source[-1]["offset"] + of_source[-1]["tokens"]
        for key in ("documents", "tokens", "bytes"):
            assert sum(source[key] for source in tokens.sources.values()) == metrics[split][key]
    assert sorted(seen) == sorted(corpus)


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


def test_the_split_of_a_document_depends_on_nothing_else(settings_with: Callable[..., Settings]) -> None:
    ids = [document_id("source", str(number), "") for number in range(20_000)]

    def held_out(settings: Settings) -> set[str]:
        return {one for one in ids if split_of(one, settings) == "validation"}

    three, six = (held_out(settings_with(**{"shards.validation_fraction": f})) for f in (0.03, 0.06))
    assert len(three) / len(ids) == pytest.approx(0.03, abs=0.005)
    assert three < six, "a larger fraction only adds documents"
    assert three != held_out(settings_with(seed=7))


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
    with pytest.raises(DataError, match="the documents of a do not stand together"):
        shards(small, StageRun("shards"))


def test_a_tokenizer_that_does_not_fit_is_refused(
    corpus: dict[str, str], settings_with: Callable[..., Settings]
) -> None:
    small = settings_with(**{"tokenizer.vocab_size": 300, "tokenizer.pad_to_multiple_of": 4})
    with pytest.raises(UserError, match=r"has 320 tokens, more than tokenizer.vocab_size\(300\)"):
        shards(small, StageRun("shards"))


def test_token_width_follows_the_padded_vocabulary() -> None:
    assert token_dtype(50_304) == np.dtype("<u2")
    assert token_dtype(65_535) == np.dtype("<u2")
    assert token_dtype(65_536) == np.dtype("<u4")


def test_a_split_reads_as_one_array(tmp_path: Path) -> None:
    whole = np.arange(23, dtype="<u4")
    cuts = [0, 10, 20, 23]
    entries = []
    for number, (start, stop) in enumerate(itertools.pairwise(cuts)):
        whole[start:stop].tofile(tmp_path / f"train-{number}.bin")
        entries.append({"file": f"train-{number}.bin", "tokens": stop - start, "sha256": ""})
    entry: dict[str, Any] = {"shards": entries, "tokens": 23, "documents": 1, "bytes": 1}
    entry["sources"] = {"web": {"start": 0, "tokens": 23}}
    write_json(tmp_path / "index.json", {"dtype": "uint32", "vocab_size": 70_000, "splits": {"train": entry}})
    split = TokenSplit.open(tmp_path, "train")
    assert len(split) == 23
    for start in range(-25, 26):
        for stop in range(-25, 26):
            np.testing.assert_array_equal(split[start:stop], whole[start:stop])
    assert split[3:21].dtype == np.dtype("<u4")


def test_damaged_files_are_named(corpus: dict[str, str], small: Settings) -> None:
    folder_ = Path("data/shards")
    with pytest.raises(DataError, match=r"index\.json does not exist"):
        TokenSplit.open(folder_, "train")
    shards(small, StageRun("shards"))
    path = folder_ / "train-00001.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=r"train-00001\.bin: SHA-256 is"):
        TokenSplit.open(folder_, "train").verify()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match="has 199 bytes; 100 tokens of 2 bytes are 200"):
        TokenSplit.open(folder_, "train")
    path.unlink()
    with pytest.raises(DataError, match=r"train-00001\.bin does not exist"):
        TokenSplit.open(folder_, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "uint32"}, "tokens are uint32, a vocabulary of 320 needs uint16"),
        ({"vocab_size": 70_000}, "tokens are uint16, a vocabulary of 70000 needs uint32"),
        ({"splits.train.tokens": 1}, "the train shards hold 3053 tokens, the split 1"),
        ({"splits.train.shards.0.tokens": 101}, "the train shards hold"),
        (
            {"splits.train.sources.web.start": 7},
            "web begins at token 7 of train, the source before it ends at",
        ),
        ({"splits.train.sources.web.tokens": 7}, "the sources of train end at token"),
        ({"splits.train.sources.web": {"tokens": 7}}, "is not an index of shards: KeyError"),
        ({"splits.train.shards": 5}, "is not an index of shards: TypeError"),
    ],
)
def test_an_index_that_lies_is_refused(
    corpus: dict[str, str], small: Settings, change: dict[str, Any], message: str
) -> None:
    shards(small, StageRun("shards"))
    path = Path("data/shards/index.json")
    index = read_json(path)
    for key, value in change.items():
        *parents, last = key.split(".")
        section = index
        for parent in parents:
            section = section[int(parent) if isinstance(section, list) else parent]
        section[last] = value
    write_json(path, index)
    with pytest.raises(DataError, match=message) as error:
        TokenSplit.open(Path("data/shards"), "train")
    assert str(path) in error.value.problem and "dvc repro shards" in error.value.fix
    path.write_text(path.read_text()[:-9])
    with pytest.raises(DataError, match=r"index\.json is not valid JSON"):
        TokenSplit.open(Path("data/shards"), "train")
