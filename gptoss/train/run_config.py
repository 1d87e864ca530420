"""What one training run is: settings, cluster, and how a global batch divides over the mesh.

The plan is checked before any process starts, and handed to every rank as one JSON file, so that all ranks and the
process that watches them agree even when a configuration file is edited meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gptoss.config.cluster import ClusterConfig, cluster_name
from gptoss.config.model import ModelConfig
from gptoss.config.section import Section
from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import sha256_file, write_text
from gptoss.core.errors import DataError, UserError
from gptoss.tables.token_files import TokenSplit, read_index
from gptoss.train.mixture import SampleOrder

PLAN = "GPTOSS_PRETRAIN_PLAN"
"""Environment of a rank: the plan's file."""
STOPPED = "GPTOSS_PRETRAIN_STOPPED"
"""Environment of a rank: the file that it leaves for its node's agent when it has stopped on request."""
RESTARTS = "TORCHELASTIC_RESTART_COUNT"
"""Environment of a rank: how often its launcher has started the ranks again. torchrun's name for it."""


class RunConfig(Section):
    """One training run on one cluster."""

    settings: Settings
    cluster: ClusterConfig
    precision: Literal["float16", "bfloat16", "float32", "float64"]
    """`settings.pretrain.precision`; float64 serves tests alone."""
    state: Path
    """Folder for checkpoints, rows of measurements, and what the ranks report."""
    attempt: str
    """Distinguishes this start of the run from an earlier, killed one."""

    @property
    def layout(self) -> Layout:
        """How a global batch divides over the mesh."""
        return divide(self.settings, self.cluster)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding."""
        return self.settings.tokenizer.padded_vocab_size

    def write(self, path: Path) -> None:
        """Save as JSON."""
        write_text(path, self.model_dump_json(by_alias=True, indent=2))

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Load what `write` saved."""
        return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Layout:
    """A global batch on a mesh: `sequences = dp * micro_batches * micro_batch`."""

    sequences: int
    sequences_per_rank: int
    micro_batches: int
    micro_batch: int


def divide(settings: Settings, cluster: ClusterConfig) -> Layout:
    """Divide the global batch over data-parallel ranks and micro-batches. Raises `UserError` with the arithmetic."""
    mesh, context, micro_batch = cluster.mesh, settings.model.context, cluster.micro_batch
    sequences = settings.sequences_per_step
    file = f"infra/clusters/{cluster_name()}.yaml"
    batch = f"batch_tokens({settings.pretrain.batch_tokens}) / context({context}) = {sequences} sequences"
    ranks = f"dp_replicate({mesh.dp_replicate}) * dp_shard({mesh.dp_shard}) = {mesh.dp} data-parallel ranks"
    check_stages(settings.model, cluster, file)
    check_tensor_parallel(settings.model, mesh.tp, file)
    if sequences % mesh.dp:
        raise UserError(
            f"{batch}; {sequences} / ({ranks}) = {sequences / mesh.dp:g} a rank",
            f"set pretrain.batch_tokens to a multiple of {mesh.dp} * {context} = {mesh.dp * context}, "
            f"or change the mesh in {file}",
        )
    per_rank = sequences // mesh.dp
    if per_rank % micro_batch:
        raise UserError(
            f"{batch}; {sequences} / ({ranks}) = {per_rank} a rank; "
            f"{per_rank} / micro_batch({micro_batch}) = {per_rank / micro_batch:g} micro-batches",
            f"set micro_batch in {file} to {_largest_divisor(per_rank, min(micro_batch, per_rank // mesh.pp or 1))}",
        )
    micro_batches = per_rank // micro_batch
    if micro_batches < mesh.pp:
        raise UserError(
            f"{batch}; {per_rank} a rank / micro_batch({micro_batch}) = {micro_batches} micro-batches "
            f"< pp({mesh.pp}): a pipeline of {mesh.pp} stages needs at least {mesh.pp}",
            f"set micro_batch in {file} to {_largest_divisor(per_rank, per_rank // mesh.pp)}"
            if per_rank >= mesh.pp
            else f"set pretrain.batch_tokens to {mesh.pp * mesh.dp * context} or more, or mesh.pp in {file} to 1",
        )
    if cluster.pipeline.schedule != "1f1b" and micro_batches % mesh.pp:
        raise UserError(
            f"{batch}; {per_rank} a rank / micro_batch({micro_batch}) = {micro_batches} micro-batches; "
            f"{micro_batches} / pp({mesh.pp}) = {micro_batches / mesh.pp:g} rounds: "
            f"pipeline.schedule {cluster.pipeline.schedule} runs whole rounds of pp micro-batches",
            f"set micro_batch in {file} so that {per_rank} / micro_batch is a multiple of {mesh.pp}, "
            "or pipeline.schedule to 1f1b",
        )
    return Layout(sequences, per_rank, micro_batches, micro_batch)


def check_stages(shape: ModelConfig, cluster: ClusterConfig, file: str) -> None:
    """Every stage of the pipeline holds a layer. Raises `UserError`."""
    pp, each = cluster.mesh.pp, cluster.pipeline.stages_per_rank
    if pp > 1 and shape.tie_embeddings:
        raise UserError(
            f"model.tie_embeddings is true and mesh.pp is {pp}: the first and the last pipeline stage would each hold "
            "a copy of the embedding, whose gradients had to be added up",
            f"set mesh.pp in {file} to 1, or model.tie_embeddings to false",
        )
    if pp * each > shape.layers:
        raise UserError(
            f"mesh.pp({pp}) * pipeline.stages_per_rank({each}) = {pp * each} stages > model.layers({shape.layers}): "
            "a pipeline stage would hold no layer",
            f"set mesh.pp * pipeline.stages_per_rank in {file} to {shape.layers} or less",
        )


def check_tensor_parallel(shape: ModelConfig, tp: int, file: str) -> None:
    """What tensor parallelism divides is divisible. Raises `UserError`."""
    if tp > 1 and (shape.architecture != "llama" or shape.tie_embeddings):
        what = "tied embeddings" if shape.tie_embeddings else f"the biases of {shape.architecture}"
        raise UserError(f"mesh.tp is {tp}: tensor parallelism cannot divide {what}", f"set mesh.tp in {file} to 1")
    sizes = {key: getattr(shape, key) for key in ("heads", "kv_heads", "ffn_size", "context", "hidden_size")}
    for key, size in sizes.items():
        if size % tp:
            raise UserError(
                f"model.{key}({size}) / tp({tp}) = {size / tp:g}: tensor parallelism gives every rank as many of them",
                f"set mesh.tp in {file} to a divisor of {math.gcd(*sizes.values())}",
            )


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, max(1, limit) + 1) if number % divisor == 0)


def check_data(settings: Settings, train: TokenSplit, validation: TokenSplit) -> None:
    """The shards hold what the settings ask for, in the ids of the tokenizer. Raises `DataError`."""
    padded = settings.tokenizer.padded_vocab_size
    if train.vocab_size != padded:
        raise DataError(
            f"the shards were made for a vocabulary of {train.vocab_size}, the settings say {padded}",
            "run `dvc repro pretrain`, which makes the shards again",
        )
    context = settings.model.context
    for split, windows in ((train, 2), (validation, 1)):
        needed = windows * context + 1
        if len(split) < needed:
            raise DataError(
                f"the {split.name} split has {len(split)} tokens; model.context({context}) needs at least {needed}",
                "add text, raise shards.validation_fraction or lower model.context",
            )
    SampleOrder(train, settings)
    tokenizer = paths.TOKENIZER / "tokenizer.json"
    if tokenizer.is_file() and sha256_file(tokenizer) != read_index(train.folder)["tokenizer_sha256"]:
        raise DataError(
            f"{train.folder} was not made with {tokenizer}: its ids would mean other text",
            "run `dvc repro pretrain`, which makes the shards again",
        )
