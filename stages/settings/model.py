"""Settings of the model: its shape, how it is trained, fine-tuned, published and measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from stages.configuration import Section
from stages.settings.data import Fraction, PositiveFloat


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
