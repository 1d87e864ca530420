"""The reader of token files: slices across files, and damaged files and indexes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gptoss.config.settings import Settings
from gptoss.core.atomic_files import read_json, write_json
from gptoss.core.errors import DataError
from gptoss.tables.token_files import TokenSplit, token_dtype
from gptoss.tracking.mlflow_run import StageRun
from stages.shards import shards
from tests.toy_corpus import SMALL, write_corpus


@pytest.fixture
def corpus(workspace: Path) -> dict[str, str]:
    return write_corpus()


@pytest.fixture
def small(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(**SMALL)


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
    folder = Path("data/shards")
    with pytest.raises(DataError, match=r"index\.json does not exist"):
        TokenSplit.open(folder, "train")
    shards(small, StageRun("shards"))
    path = folder / "train-00001.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match=r"train-00001\.bin: SHA-256 is"):
        TokenSplit.open(folder, "train").verify()
    path.write_bytes(content[:-1])
    with pytest.raises(DataError, match="has 199 bytes; 100 tokens of 2 bytes are 200"):
        TokenSplit.open(folder, "train")
    path.unlink()
    with pytest.raises(DataError, match=r"train-00001\.bin does not exist"):
        TokenSplit.open(folder, "train")


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
def test_an_inconsistent_index_is_rejected(
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
