"""Everything that defines one training run: settings, cluster, and how a global batch divides over the mesh.

The run configuration is validated before any process starts and passed to every rank as one JSON file, so that the
ranks and the process that watches them agree even when a configuration file is edited meanwhile.
"""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gptoss.config.cluster import ClusterConfig, cluster_name, load_cluster
from gptoss.config.model import ModelConfig
from gptoss.config.section import Section
from gptoss.config.settings import Settings
from gptoss.core import paths
from gptoss.core.atomic_files import sha256_file, write_text
from gptoss.core.errors import DataError, UserError
from gptoss.tables.token_files import TokenSplit, read_index
from gptoss.train.mixture import SampleOrder


class RunConfig(Section):
    """One training run on one cluster."""

    settings: Settings
    cluster: ClusterConfig
    precision: Literal["float16", "bfloat16", "float32", "float64"]
    """`settings.pretrain.precision`; float64 is for tests only."""
    state: Path
    """Folder for checkpoints, the metrics log, and failure reports of the ranks."""
    attempt: str
    """Unique id of this start of the run; a restart after a kill has another one."""

    @classmethod
    def create(cls, settings: Settings, state: Path) -> RunConfig:
        """A new attempt on the configured cluster. Raises `UserError` when the batch does not divide over its mesh."""
        cluster, precision = load_cluster(), settings.pretrain.precision
        divide_batch(settings, cluster)
        return cls(settings=settings, cluster=cluster, precision=precision, state=state, attempt=uuid.uuid4().hex)

    @property
    def layout(self) -> BatchLayout:
        """How a global batch divides over the mesh."""
        return divide_batch(self.settings, self.cluster)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding matrix: the padded vocabulary."""
        return self.settings.tokenizer.padded_vocab_size

    def write(self, path: Path) -> None:
        """Save as JSON."""
        write_text(path, self.model_dump_json(by_alias=True, indent=2))

    @classmethod
    def read(cls, path: Path) -> RunConfig:
        """Load what `write` saved."""
        return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))


@dataclass(frozen=True)
class BatchLayout:
    """A global batch on a mesh: `sequences = dp * micro_batches * micro_batch`."""

    sequences: int
    """Per global batch."""
    sequences_per_rank: int
    """Per data-parallel rank."""
    micro_batches: int
    """Per data-parallel rank and step."""
    micro_batch: int
    """Sequences per micro-batch."""


def divide_batch(settings: Settings, cluster: ClusterConfig) -> BatchLayout:
    """Divide the global batch over data-parallel ranks and micro-batches.

    Errors: `UserError` with the arithmetic and a value that works, when the batch, layers or matrices do not divide.
    """
    mesh, context, micro_batch = cluster.mesh, settings.model.context, cluster.micro_batch
    sequences = settings.pretrain.sequences_per_step(context)
    # Every message names both files that can be changed, and shows the terms of the division.
    file = f"infra/clusters/{cluster_name()}.yaml"
    batch = f"batch_tokens({settings.pretrain.batch_tokens}) / context({context}) = {sequences} sequences"
    ranks = f"dp_replicate({mesh.dp_replicate}) * dp_shard({mesh.dp_shard}) = {mesh.dp} data-parallel ranks"
    # Before the batch: no batch size helps a model that does not divide.
    check_pipeline_stages(settings.model, cluster, file)
    check_tensor_parallel(settings.model, mesh.tp, file)
    if sequences % mesh.dp:
        raise UserError(
            f"{batch}; {sequences} / ({ranks}) = {sequences / mesh.dp:g} per rank",
            f"set pretrain.batch_tokens to a multiple of {mesh.dp} * {context} = {mesh.dp * context}, "
            f"or change the mesh in {file}",
        )
    per_rank = sequences // mesh.dp
    if per_rank % micro_batch:
        raise UserError(
            f"{batch}; {sequences} / ({ranks}) = {per_rank} per rank; "
            f"{per_rank} / micro_batch({micro_batch}) = {per_rank / micro_batch:g} micro-batches",
            f"set micro_batch in {file} to {_largest_divisor(per_rank, min(micro_batch, per_rank // mesh.pp or 1))}",
        )
    micro_batches = per_rank // micro_batch
    # With fewer micro-batches than pipeline stages, some would idle for the whole step; torch's schedules refuse it.
    if micro_batches < mesh.pp:
        raise UserError(
            f"{batch}; {per_rank} per rank / micro_batch({micro_batch}) = {micro_batches} micro-batches "
            f"< pp({mesh.pp}): a pipeline of {mesh.pp} stages needs at least {mesh.pp}",
            f"set micro_batch in {file} to {_largest_divisor(per_rank, per_rank // mesh.pp)}"
            if per_rank >= mesh.pp
            else f"set pretrain.batch_tokens to {mesh.pp * mesh.dp * context} or more, or mesh.pp in {file} to 1",
        )
    # torch's multi-stage schedules accept only whole rounds, and would raise inside the ranks.
    if cluster.pipeline.schedule != "1f1b" and micro_batches % mesh.pp:
        raise UserError(
            f"{batch}; {per_rank} per rank / micro_batch({micro_batch}) = {micro_batches} micro-batches; "
            f"{micro_batches} / pp({mesh.pp}) = {micro_batches / mesh.pp:g} rounds: "
            f"pipeline.schedule {cluster.pipeline.schedule} runs whole rounds of pp micro-batches",
            f"set micro_batch in {file} so that {per_rank} / micro_batch is a multiple of {mesh.pp}, "
            "or pipeline.schedule to 1f1b",
        )
    return BatchLayout(sequences, per_rank, micro_batches, micro_batch)


def check_pipeline_stages(config: ModelConfig, cluster: ClusterConfig, file: str) -> None:
    """Raise `UserError` unless every pipeline stage holds a layer and no parameter is on two of them."""
    pp, per_rank = cluster.mesh.pp, cluster.pipeline.stages_per_rank
    # torchtitan does not support tied embeddings in a pipeline either (pytorch/torchtitan#1524).
    if pp > 1 and config.tie_embeddings:
        raise UserError(
            f"model.tie_embeddings is true and mesh.pp is {pp}: the first and the last pipeline stage would each hold "
            "a copy of the embedding, whose gradients would have to be summed",
            f"set mesh.pp in {file} to 1, or model.tie_embeddings to false",
        )
    if pp * per_rank > config.layers:
        raise UserError(
            f"mesh.pp({pp}) * pipeline.stages_per_rank({per_rank}) = {pp * per_rank} stages > "
            f"model.layers({config.layers}): a pipeline stage would hold no layer",
            f"set mesh.pp * pipeline.stages_per_rank in {file} to {config.layers} or less",
        )


def check_tensor_parallel(config: ModelConfig, tp: int, file: str) -> None:
    """Raise `UserError` unless the model's dimensions are divisible by `tp`."""
    # A bias after a row-parallel matrix would be added once per rank. A tied embedding would be column-sharded as input
    # and whole as output head.
    if tp > 1 and (config.architecture != "llama" or config.tie_embeddings):
        what = "tied embeddings" if config.tie_embeddings else f"the biases of {config.architecture}"
        raise UserError(f"mesh.tp is {tp}: tensor parallelism cannot divide {what}", f"set mesh.tp in {file} to 1")
    sizes = {key: getattr(config, key) for key in ("heads", "kv_heads", "ffn_size", "context", "hidden_size")}
    for key, size in sizes.items():
        if size % tp:
            raise UserError(
                f"model.{key}({size}) / tp({tp}) = {size / tp:g}: tensor parallelism gives every rank an equal share",
                f"set mesh.tp in {file} to a divisor of {math.gcd(*sizes.values())}",
            )


def _largest_divisor(number: int, limit: int) -> int:
    return max(divisor for divisor in range(1, max(1, limit) + 1) if number % divisor == 0)


def check_shards(settings: Settings, train: TokenSplit, validation: TokenSplit) -> None:
    """Raise `DataError` unless the shards hold enough tokens of the configured tokenizer."""
    padded = settings.tokenizer.padded_vocab_size
    if train.vocab_size != padded:
        raise DataError(
            f"the shards were made for a vocabulary of {train.vocab_size}, the settings say {padded}",
            "run `dvc repro pretrain`, which makes the shards again",
        )
    context = settings.model.context
    # Training shifts the windows in every epoch, so it needs room for two; see `shuffle.py`.
    for split, windows in ((train, 2), (validation, 1)):
        needed = windows * context + 1
        if len(split) < needed:
            raise DataError(
                f"the {split.name} split has {len(split)} tokens; model.context({context}) needs at least {needed}",
                "add text, raise shards.validation_fraction or lower model.context",
            )
    SampleOrder(train, settings)  # raises when a source of the mixture is missing or too short
    # Same vocabulary size does not mean same tokenizer, and nothing in training would fail.
    tokenizer = paths.TOKENIZER / "tokenizer.json"
    if tokenizer.is_file() and sha256_file(tokenizer) != read_index(train.folder)["tokenizer_sha256"]:
        raise DataError(
            f"{train.folder} was not made with {tokenizer}: its token ids would mean other text",
            "run `dvc repro pretrain`, which makes the shards again",
        )
