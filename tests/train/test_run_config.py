"""How a batch divides over a mesh, and the error messages when it does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError, UserError
from gptoss.tables.token_files import TokenSplit
from gptoss.train.run_config import BatchLayout, RunConfig, check_shards, divide_batch
from tests.training_runs import cluster, write_shards

ZERO_BUBBLE = {"schedule": "zero_bubble", "stages_per_rank": 1}


def interleaved(stages: int) -> dict[str, object]:
    return {"schedule": "interleaved_1f1b", "stages_per_rank": stages}


@pytest.mark.parametrize(
    ("sizes", "changes", "message"),
    [
        ({"tp": 2}, {"processes_per_node": 3}, r"tp\(2\) = 2 != nodes\(1\) \* processes_per_node\(3\) = 3"),
        ({"pp": 2}, {"pipeline": {"stages_per_rank": 2}}, "1f1b runs one stage per rank, stages_per_rank is 2"),
        ({}, {"pipeline": ZERO_BUBBLE}, "zero_bubble needs a pipeline and mesh.pp is 1"),
        ({"pp": 2}, {"pipeline": interleaved(1)}, "needs several stages per rank, stages_per_rank is 1"),
        ({"pp": 2}, {"pipeline": ZERO_BUBBLE, "activation_checkpointing": "full"}, "would run the layers again"),
        ({"pp": 2}, {"pipeline": ZERO_BUBBLE, "compile": True}, "a compiled layer has a single one"),
    ],
)
def test_invalid_cluster_files_are_rejected(sizes: dict[str, int], changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        cluster(**sizes, **changes)


def test_the_default_divides(settings: Settings) -> None:
    layout = divide_batch(settings, cluster(pp=2, shard=2, micro_batch=4))
    assert layout == BatchLayout(sequences=16, sequences_per_rank=8, micro_batches=2, micro_batch=4)


@pytest.mark.parametrize(
    ("on", "arithmetic", "fix"),
    [
        (cluster(shard=3), "16 / (dp_replicate(1) * dp_shard(3) = 3 data-parallel ranks) = 5.33333", r"3 \* 256 = 768"),
        (cluster(pp=5), "mesh.pp(5) * pipeline.stages_per_rank(1) = 5 stages > model.layers(4)", "to 4 or less"),
        (cluster(shard=2, micro_batch=3), "8 / micro_batch(3) = 2.66667 micro-batches", "micro_batch in .* to 2$"),
        (cluster(pp=2, shard=2, micro_batch=8), "= 1 micro-batches < pp(2)", "micro_batch in .* to 4$"),
        (cluster(pp=4, shard=8, micro_batch=1), "= 2 micro-batches < pp(4)", "batch_tokens to 8192 or more"),
        (cluster(tp=4), "model.heads(2) / tp(4) = 0.5", "mesh.tp in .* to a divisor of 1$"),
        (cluster(pp=2, pipeline=interleaved(4)), "mesh.pp(2) * pipeline.stages_per_rank(4) = 8 stages", "to 4 or less"),
        (cluster(pp=3, shard=4, micro_batch=1, pipeline=ZERO_BUBBLE), "4 / pp(3) = 1.33333 rounds", "schedule to 1f1b"),
    ],
)
def test_errors_show_the_arithmetic_and_a_fix(settings: Settings, on: object, arithmetic: str, fix: str) -> None:
    with pytest.raises(UserError) as raised:
        divide_batch(settings, on)  # type: ignore[arg-type]
    assert arithmetic in raised.value.problem
    assert re.search(fix, raised.value.fix), raised.value.fix


def test_shards_must_fit_the_settings(workspace: Path, tiny: Callable[..., Settings]) -> None:
    write_shards(Path("shards"))
    splits = [TokenSplit.open(Path("shards"), split) for split in ("train", "validation")]  # type: ignore[arg-type]
    check_shards(tiny(), *splits)
    with pytest.raises(DataError, match="vocabulary of 320, the settings say 384"):
        check_shards(tiny(**{"tokenizer.vocab_size": 321}), *splits)
    Path("data/tokenizer").mkdir(parents=True)
    Path("data/tokenizer/tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match=r"shards was not made with data/tokenizer/tokenizer\.json"):
        check_shards(tiny(), *splits)
    Path("data/tokenizer/tokenizer.json").unlink()
    long = {"model.context": 512, "pretrain.batch_tokens": 4096}
    with pytest.raises(DataError, match=r"validation split has 401 tokens; model.context\(512\) needs at least 513"):
        check_shards(tiny(**long), *splits)


def test_a_run_config_survives_its_file(make_run_config: Callable[..., RunConfig]) -> None:
    run_config = make_run_config(cluster(pp=2), "float64")
    run_config.write(Path("run.json"))
    assert RunConfig.read(Path("run.json")) == run_config


def test_unsupported_combinations_are_rejected(tiny: Callable[..., Settings]) -> None:
    with pytest.raises(UserError, match=r"mesh.pp is 2: the first and the last pipeline stage would each hold a copy"):
        divide_batch(tiny(**{"model.tie_embeddings": True}), cluster(pp=2))
    with pytest.raises(UserError, match=r"mesh.tp is 2: tensor parallelism cannot divide the biases of gpt_neox"):
        divide_batch(tiny(**{"model.architecture": "gpt_neox", "model.kv_heads": 4}), cluster(tp=2))
    with pytest.raises(UserError, match=r"kv_heads\(2\) != heads\(4\): gpt_neox has no grouped-query attention"):
        tiny(**{"model.architecture": "gpt_neox"})
    with pytest.raises(UserError, match=r"type llama3 takes factor, high_freq_factor, low_freq_factor, original_max_"):
        tiny(**{"model.rope_scaling": {"type": "llama3", "factor": 2.0}})
    with pytest.raises(UserError, match=r"model\.architecture is 'gpt2': choose one of llama, gpt_neox"):
        tiny(**{"model.architecture": "gpt2"})
