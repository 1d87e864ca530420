"""Packed rows: every example once, none cut, and a model that sees each as if it were alone."""

from __future__ import annotations

import random
from pathlib import Path

import torch

from gptoss.finetune.packing import IGNORED, Example, collate_packed, collate_padded, pack
from tests.publish.toy import make_model


def examples(count: int, longest: int, seed: int = 1) -> list[Example]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        ids = [chance.randrange(4, 300) for _ in range(chance.randint(2, longest))]
        made.append({"input_ids": ids, "labels": [IGNORED, *ids[1:]]})
    return made


def test_every_example_is_in_one_row_and_rows_are_full() -> None:
    given = examples(300, 60)
    rows = pack(given, 64)
    assert sorted(map(id, given)) == sorted(id(example) for row in rows for example in row)
    lengths = [sum(len(example["input_ids"]) for example in row) for row in rows]
    assert max(lengths) <= 64
    assert sum(lengths) / (64 * len(rows)) > 0.95
    assert [[id(example) for example in row] for row in pack(given, 64)] == [list(map(id, row)) for row in rows]


def test_a_packed_example_is_seen_as_if_alone(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    make_model(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path).train()
    model.config.use_cache = False  # as training sets it
    rows = [examples(3, 30), examples(2, 20, seed=2)]
    batch = collate_packed(rows, pad_id=1)
    targets = batch.pop("labels")
    logits_BTV = model(**batch).logits
    losses = torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    alone = torch.zeros(())
    for number, row in enumerate(rows):
        start = 0
        for example in row:
            single = collate_padded([example], pad_id=1)
            end = start + len(example["input_ids"])
            expected = model(input_ids=single["input_ids"]).logits[0]
            torch.testing.assert_close(logits_BTV[number, start:end], expected, atol=1e-5, rtol=1e-5)
            alone = alone + torch.nn.functional.cross_entropy(
                expected[:-1], single["labels"][0, 1:], ignore_index=IGNORED, reduction="sum"
            )
            start = end
    torch.testing.assert_close(losses, alone)


def test_the_first_token_of_an_example_is_no_target() -> None:
    marked = {"input_ids": [7, 8, 9], "labels": [7, 8, 9]}
    batch = collate_packed([[marked, marked]], pad_id=1)
    assert batch["labels"].tolist() == [[IGNORED, 8, 9, IGNORED, 8, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 2]]
