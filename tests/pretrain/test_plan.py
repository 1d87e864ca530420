"""How a batch divides over a mesh, and what a person is told when it does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.errors import DataError, UserError
from stages.pretrain.plan import Layout, Plan, check_data, divide
from stages.settings import Settings
from stages.token_files import TokenSplit
from tests.pretrain.conftest import cluster, write_shards


def test_the_default_divides(settings: Settings) -> None:
    layout = divide(settings, cluster(pp=2, shard=2, micro_batch=4))
    assert layout == Layout(sequences=16, sequences_per_rank=8, micro_batches=2, micro_batch=4)


@pytest.mark.parametrize(
    ("on", "arithmetic", "fix"),
    [
        (cluster(shard=3), "16 / (dp_replicate(1) * dp_shard(3) = 3 data-parallel ranks) = 5.33333", r"3 \* 256 = 768"),
        (cluster(pp=5), "mesh.pp(5) > model.layers(4)", "to 4 or less"),
        (cluster(shard=2, micro_batch=3), "8 / micro_batch(3) = 2.66667 micro-batches", "micro_batch in .* to 2$"),
        (cluster(pp=2, shard=2, micro_batch=8), "= 1 micro-batches < pp(2)", "micro_batch in .* to 4$"),
        (cluster(pp=4, shard=8, micro_batch=1), "= 2 micro-batches < pp(4)", "batch_tokens to 8192 or more"),
    ],
)
def test_what_does_not_divide_is_explained(settings: Settings, on: object, arithmetic: str, fix: str) -> None:
    with pytest.raises(UserError) as raised:
        divide(settings, on)  # type: ignore[arg-type]
    assert arithmetic in raised.value.problem
    assert re.search(fix, raised.value.fix), raised.value.fix


def test_shards_must_fit_the_settings(workspace: Path, tiny: Callable[..., Settings]) -> None:
    write_shards(Path("shards"))
    splits = [TokenSplit.open(Path("shards"), split) for split in ("train", "validation")]  # type: ignore[arg-type]
    check_data(tiny(), *splits)
    with pytest.raises(DataError, match="vocabulary of 320, the settings say 384"):
        check_data(tiny(**{"tokenizer.vocab_size": 321}), *splits)
    long = {"model.context": 512, "pretrain.batch_tokens": 4096}
    with pytest.raises(DataError, match=r"validation split has 401 tokens; model.context\(512\) needs at least 513"):
        check_data(tiny(**long), *splits)


def test_a_plan_survives_its_file(plan: Callable[..., Plan]) -> None:
    made = plan(cluster(pp=2), "float64")
    made.write(Path("plan.json"))
    assert Plan.read(Path("plan.json")) == made
