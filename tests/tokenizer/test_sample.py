"""The sample that the tokenizer is trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gptoss.core.errors import DataError, UserError
from gptoss.tables.documents import document_id
from gptoss.tokenizer import sample as sample_module
from gptoss.tokenizer.sample import draw_sample
from tests.tokenizer.corpus import write_clean


def test_the_sample_is_seeded_and_within_its_size(workspace: Path) -> None:
    texts = [f"{number:03d} " * 25 for number in range(100)]
    write_clean(numbers=texts)
    sample = draw_sample(Path("data/clean"), 1, 3_050)
    chosen = [text for text, _ in sample]
    assert (sample.documents, sample.bytes) == (30, 3_000)
    assert chosen == [text for text in texts if text in chosen], "the order is that of the files"
    assert chosen == [text for text, _ in draw_sample(Path("data/clean"), 1, 3_050)]
    assert chosen != [text for text, _ in draw_sample(Path("data/clean"), 2, 3_050)]
    assert set(chosen) < {text for text, _ in draw_sample(Path("data/clean"), 1, 6_000)}


def test_the_sample_equals_that_of_a_plain_loop(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_module, "DOCUMENTS_PER_PASS", 16)
    texts = ["é" * (number * 37 % 90) for number in range(200)]
    write_clean(numbers=texts)
    hashes = [
        sample_module.sample_hash(1, document_id("numbers", str(number), text)) for number, text in enumerate(texts)
    ]
    for limit in (2, 500, 3_001, 10**6):
        taken, room = set(), limit
        for number in sorted(range(len(texts)), key=hashes.__getitem__):
            if 0 < (size := len(texts[number].encode())) <= room:
                taken.add(number)
                room -= size
        sample = draw_sample(Path("data/clean"), 1, limit)
        assert set(sample.is_drawn.nonzero()[0].tolist()) == taken
        assert sample.bytes == limit - room


def test_drawing_takes_few_bytes_per_document(workspace: Path) -> None:
    write_clean(numbers=[f"{number}" for number in range(1_000)])
    hashes, sizes = sample_module._hashes_and_sizes(Path("data/clean"), 1)
    assert hashes.nbytes == sizes.nbytes == 8_000


def test_a_sample_that_cannot_be_drawn_is_explained(workspace: Path) -> None:
    write_clean(numbers=["ten bytes." * 10, "ten bytes." * 20])
    with pytest.raises(UserError, match="sample_bytes = 99: the smallest document has 100 bytes"):
        draw_sample(Path("data/clean"), 1, 99)
    write_clean(numbers=["", ""])
    with pytest.raises(DataError, match="0 bytes of text"):
        draw_sample(Path("data/clean"), 1, 99)
