"""Section `model` of `params.yaml`: architecture and dimensions of the decoder."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from gptoss.config.extensions import ARCHITECTURES, require_registered
from gptoss.config.section import PositiveFloat, Section


class RopeScalingConfig(Section):
    """Scaling of rotary positions to longer contexts; the keys are those of transformers' `rope_parameters`.

    `linear`: Chen et al. 2023; `yarn`: Peng et al. 2023; `llama3`: not in a paper, but in Meta's released code for
    Llama 3.1 (`apply_scaling`) and in transformers (`_compute_llama3_parameters`).
    """

    type: Literal["linear", "llama3", "yarn"]
    factor: Annotated[float, Field(ge=1.0)]
    original_max_position_embeddings: PositiveInt | None = None
    low_freq_factor: PositiveFloat | None = None
    high_freq_factor: PositiveFloat | None = None

    @model_validator(mode="after")
    def _keys_match_type(self) -> RopeScalingConfig:
        # transformers silently ignores keys that a type does not use, and takes defaults for missing ones.
        original, bands = {"original_max_position_embeddings"}, {"low_freq_factor", "high_freq_factor"}
        wanted = {"linear": set(), "llama3": original | bands, "yarn": original}[self.type]
        given = set(self.model_dump(exclude_none=True)) - {"type", "factor"}
        if given != wanted:
            raise ValueError(
                f"type {self.type} takes {', '.join(['factor', *sorted(wanted)])}; "
                f"given: {', '.join(['factor', *sorted(given)])}"
            )
        return self


class ModelConfig(Section):
    """Dimensions of the decoder, under our own names for what Hugging Face configurations call differently."""

    architecture: str
    """One of `gptoss.config.extensions.ARCHITECTURES`."""
    hidden_size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    kv_heads: PositiveInt
    ffn_size: PositiveInt
    context: PositiveInt
    rope_theta: PositiveFloat
    rope_scaling: RopeScalingConfig | None
    norm_eps: PositiveFloat
    tie_embeddings: bool
    """Use the embedding matrix as the output head (Press and Wolf 2017)."""

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.hidden_size // self.heads

    @model_validator(mode="after")
    def _dimensions_divide(self) -> ModelConfig:
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size({self.hidden_size}) / heads({self.heads}) = {self.hidden_size / self.heads:g}: "
                "heads must divide hidden_size"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd: RoPE rotates pairs, choose an even head_dim")
        # Grouped-query attention shares each key-value head among an equal number of query heads.
        if self.heads % self.kv_heads:
            raise ValueError(
                f"heads({self.heads}) / kv_heads({self.kv_heads}) = {self.heads / self.kv_heads:g}: "
                "kv_heads must divide heads"
            )
        return self

    @model_validator(mode="after")
    def _architecture_supports_dimensions(self) -> ModelConfig:
        # Here rather than as a Literal, so that a new architecture needs only its line in `extensions.py`.
        require_registered("model.architecture", self.architecture, ARCHITECTURES)
        if self.architecture == "gpt_neox":
            if self.kv_heads != self.heads:
                raise ValueError(
                    f"kv_heads({self.kv_heads}) != heads({self.heads}): gpt_neox has no grouped-query attention; "
                    f"set kv_heads to {self.heads}, or architecture to llama"
                )
            # A quarter of each head is rotated, in pairs.
            if self.head_dim % 8:
                raise ValueError(
                    f"hidden_size({self.hidden_size}) / heads({self.heads}) = {self.head_dim}: gpt_neox rotates pairs "
                    "in a quarter of each head, choose a head width that is a multiple of 8"
                )
        return self
