"""Settings of the model: its shape, how it is trained, fine-tuned, published and measured."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from stages.configuration import Section
from stages.pretrain.architectures import ARCHITECTURES
from stages.settings.data import Fraction, PositiveFloat


class RopeScaling(Section):
    """Rotary positions beyond the context they were made for; the keys are those of transformers' `rope_parameters`.

    `linear`: Chen et al. 2023, `yarn`: Peng et al. 2023, `llama3`: Llama Team 2024, section 3.4.3.
    """

    type: Literal["linear", "llama3", "yarn"]
    factor: Annotated[float, Field(ge=1.0)]
    original_max_position_embeddings: PositiveInt | None = None
    low_freq_factor: PositiveFloat | None = None
    high_freq_factor: PositiveFloat | None = None

    @model_validator(mode="after")
    def _keys_of_the_type(self) -> RopeScaling:
        original, bands = {"original_max_position_embeddings"}, {"low_freq_factor", "high_freq_factor"}
        wanted = {"linear": set(), "llama3": original | bands, "yarn": original}[self.type]
        given = set(self.model_dump(exclude_none=True)) - {"type", "factor"}
        if given != wanted:
            raise ValueError(
                f"type {self.type} takes {', '.join(['factor', *sorted(wanted)])}; "
                f"given: {', '.join(['factor', *sorted(given)])}"
            )
        return self


class Model(Section):
    architecture: str
    """A module of `stages/pretrain/architectures`."""
    hidden_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    ffn_size: PositiveInt
    context: PositiveInt
    rope_theta: PositiveFloat
    rope_scaling: RopeScaling | None
    norm_eps: PositiveFloat
    tie_embeddings: bool
    """The output head is the embedding (Press and Wolf 2017)."""

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

    @model_validator(mode="after")
    def _architecture_has_it(self) -> Model:
        registered("model.architecture", self.architecture, ARCHITECTURES)
        if self.architecture == "gpt_neox":
            if self.kv_heads != self.heads:
                raise ValueError(
                    f"kv_heads({self.kv_heads}) != heads({self.heads}): gpt_neox has no grouped-query attention; "
                    f"set kv_heads to {self.heads}, or architecture to llama"
                )
            if self.head_dim % 8:
                raise ValueError(
                    f"hidden_size({self.hidden_size}) / heads({self.heads}) = {self.head_dim}: gpt_neox rotates pairs "
                    "in a quarter of each head, choose heads of a multiple of 8"
                )
        return self

    def parameters(self, vocab_size: int) -> int:
        """Number of parameters with embeddings of `vocab_size` rows, counted on the model itself."""
        from stages.pretrain.model import parameter_count

        return parameter_count(self, vocab_size)


def registered(key: str, name: str, registry: Iterable[str]) -> None:
    """Raise `ValueError` with the allowed names when `name` is none of them."""
    if name not in registry:
        raise ValueError(f"{key} is {name!r}: choose one of {', '.join(registry)}")


class LossScale(Section):
    """Dynamic loss scaling (Micikevicius et al. 2018, section 3.2)."""

    initial: PositiveFloat
    growth_interval: PositiveInt
    max_consecutive_skips: PositiveInt


def _some_weight(weights: dict[str, float]) -> dict[str, float]:
    if not any(weights.values()):
        raise ValueError("no source has a weight above 0: nothing would be read")
    return weights


Mixture = Annotated[
    dict[str, Annotated[float, Field(ge=0.0, allow_inf_nan=False)]],
    AfterValidator(_some_weight),
]
"""Weights of the sources of text; they need not add up to 1. A source that is not named is not read."""


class Phase(Section):
    """A part of the run with a mixture of its own; it ends where the next one begins."""

    from_fraction: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Of `pretrain.steps`."""
    mixture: Mixture


class Spikes(Section):
    """What to do about a step whose loss is far above those before it."""

    policy: Literal["none", "skip", "rollback"]
    """`skip`: no update from this step. `rollback`: go back to a checkpoint and leave out the batches since."""
    threshold: PositiveFloat
    """In standard deviations above the mean of the losses in the window."""
    window: Annotated[int, Field(ge=2)]
    """Losses of so many steps before are compared with; nothing is a spike until there are as many."""
    rollback_steps: PositiveInt
    """How far back at least the checkpoint is, and of how many steps, the spike last, the batches are left out."""
    max: PositiveInt
    """So many spikes are treated; the next one stops the run with advice."""


class Pretrain(Section):
    steps: PositiveInt
    batch_tokens: PositiveInt
    """Tokens in a global batch, whatever the mesh."""
    mixture: Mixture | None
    """Null: every source in proportion to its tokens."""
    phases: tuple[Phase, ...]
    """Mixtures that replace `mixture` later in the run, such as better text at the end of it."""
    optimizer: Literal["adamw", "muon"]
    """Muon: for the matrices of the layers, AdamW for everything else."""
    schedule: Literal["cosine", "wsd"]
    """After the warm-up: a cosine to the end, or stable and then a decay (WSD)."""
    decay_fraction: Annotated[float, Field(gt=0.0, le=1.0)]
    """Of `steps`: how long the decay of `wsd` takes."""
    decay: Literal["linear", "1-sqrt"]
    """Shape of the decay of `wsd`."""
    learning_rate: PositiveFloat
    final_learning_rate_fraction: Fraction
    warmup_steps: int = Field(ge=0)
    weight_decay: float = Field(ge=0.0)
    beta1: Fraction
    beta2: Fraction
    gradient_clip: PositiveFloat
    precision: Literal["float16", "bfloat16", "float32"]
    objective: str
    """What is learnt: a function of `stages/pretrain/objectives.py`."""
    fim_rate: Annotated[float, Field(ge=0.0, le=1.0)]
    """For `fill_in_the_middle`: the share of documents that are rearranged."""
    document_mask: bool
    """Attention does not cross documents, and positions start anew in each."""
    z_loss: float = Field(ge=0.0)
    """Coefficient of the squared log-normaliser (Chowdhery et al. 2022, PaLM, section 5); 0: off."""
    logit_soft_cap: PositiveFloat | None
    """Training logits are bent into (-cap, cap) by tanh (Gemma Team 2024, section 2); null: off. The published model,
    and validation, have no cap."""
    loss_scale: LossScale
    spikes: Spikes
    validate_every: PositiveInt
    validation_tokens: PositiveInt
    """How much of the validation split each validation reads."""

    @property
    def mixtures(self) -> dict[str, Mixture]:
        """Every mixture that is given, by its key."""
        given = {} if self.mixture is None else {"mixture": self.mixture}
        return given | {f"phases.{number}.mixture": phase.mixture for number, phase in enumerate(self.phases)}

    @model_validator(mode="after")
    def _parts_of_the_run_fit(self) -> Pretrain:
        begins = [phase.from_fraction for phase in self.phases]
        if any(earlier >= later for earlier, later in itertools.pairwise(begins)):
            raise ValueError(f"phases begin at {begins}: each from_fraction must be above the one before it")
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps({self.warmup_steps}) must be below pretrain.steps({self.steps})")
        if self.schedule == "wsd" and self.warmup_steps + self.decay_steps > self.steps:
            raise ValueError(
                f"warmup_steps({self.warmup_steps}) + decay_fraction({self.decay_fraction:g}) * steps({self.steps}) "
                f"= {self.warmup_steps + self.decay_steps} > {self.steps}: lower decay_fraction or warmup_steps"
            )
        return self

    @property
    def decay_steps(self) -> int:
        """Steps of the decay of `wsd`."""
        return max(1, round(self.decay_fraction * self.steps))

    @model_validator(mode="after")
    def _objective_exists(self) -> Pretrain:
        from stages.pretrain.objectives import OBJECTIVES

        registered("pretrain.objective", self.objective, OBJECTIVES)
        return self


class Preference(Section):
    """Direct preference optimisation after the supervised steps (Rafailov et al. 2023)."""

    data: tuple[str, ...]
    """OpenAssistant trees with ranked replies (globs)."""
    beta: PositiveFloat
    """Weight of the KL term that holds the model near where it started."""
    learning_rate: PositiveFloat
    epochs: PositiveInt


class Instruct(Section):
    data: tuple[str, ...]
    """The user's own chat JSONL files (globs), beside the conversations that ship with the project."""
    documents: tuple[str, ...]
    """Folders of a company's own Markdown, HTML and CSV documents."""
    system_prompt: str
    """What the chat template says where a conversation has no system message; empty for nothing."""
    method: Literal["lora", "qlora", "full"]
    base_precision: Literal["float32", "float16", "bfloat16"]
    """Of the frozen base; what is trained is float32."""
    lora_rank: PositiveInt
    lora_alpha: PositiveInt
    train_embeddings: bool
    """Train the embeddings too: needed when the chat tokens were never seen in pretraining."""
    epochs: PositiveInt
    early_stopping: PositiveInt | None
    """Epochs without a lower held-out loss after which training stops; null trains all epochs and keeps the last."""
    batch_size: PositiveInt
    packing: bool
    """Several conversations in a row of `max_length` tokens, none seeing another; a batch is then that many rows."""
    gradient_checkpointing: bool
    learning_rate: PositiveFloat
    max_length: PositiveInt
    held_out_fraction: Annotated[float, Field(gt=0.0, lt=0.5)]
    preference: Preference | None

    @model_validator(mode="after")
    def _precision_fits_the_method(self) -> Instruct:
        if self.method == "full" and self.base_precision != "float32":
            raise ValueError(
                f"method is full and base_precision is {self.base_precision}: with `full` every weight is trained, "
                "and what is trained is float32: set base_precision to float32, or method to lora"
            )
        return self


class Publish(Section):
    max_shard_bytes: PositiveInt
    max_kl: PositiveFloat
    """Bound on KL(FP32 || FP16), nats a token."""
    gguf: bool = False
    """Write `gguf/NAME-F16.gguf` into the folder too (Llama with byte-level BPE only): as large as the weights."""


class Benchmarks(Section):
    gpt4: Literal["none", "hub", "mirror", "packages"]
    """Where items come from that do not ship with the project: those of the suite `gpt4`, and LAMBADA."""
    mirror: str = ""
    """For `mirror`: a folder with one folder a data set, as on the hub."""


class Evaluate(Section):
    suites: tuple[Literal["smoke", "language", "gpt4"], ...]
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
