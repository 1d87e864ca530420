"""Configuration of the stage `instruct`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from gptoss.config.section import PositiveFloat, Section


class PreferenceConfig(Section):
    """Direct preference optimisation after the supervised steps (Rafailov et al. 2023)."""

    data: tuple[str, ...]
    """OpenAssistant trees with ranked replies (globs)."""
    # The beta of DPO's equation 7; the paper uses 0.1 to 0.5.
    beta: PositiveFloat
    """Weight of the KL term that keeps the policy close to the supervised model."""
    learning_rate: PositiveFloat
    epochs: PositiveInt


class InstructConfig(Section):
    data: tuple[str, ...]
    """The user's own chat JSONL files (globs), in addition to the conversations of the project."""
    documents: tuple[str, ...]
    """Folders with the user's own Markdown, HTML and CSV documents."""
    system_prompt: str
    """Default system message of the chat template; empty for none."""
    method: Literal["lora", "qlora", "full"]
    base_precision: Literal["float32", "float16", "bfloat16"]
    """Precision of the frozen base; trained weights are float32."""
    # The update of a matrix has this rank and is scaled by lora_alpha / lora_rank (Hu et al. 2021, section 4.1).
    lora_rank: PositiveInt
    lora_alpha: PositiveInt
    train_embeddings: bool
    """Also train the embeddings: needed when pretraining has not seen the chat tokens."""
    epochs: PositiveInt
    early_stopping: PositiveInt | None
    """Stop after this many epochs without a lower held-out loss; null trains all epochs and keeps the last."""
    batch_size: PositiveInt
    packing: bool
    """Pack several conversations into one sequence of `max_length` tokens, masked from each other; `batch_size` then
    counts sequences."""
    gradient_checkpointing: bool
    learning_rate: PositiveFloat
    max_length: PositiveInt
    held_out_fraction: Annotated[float, Field(gt=0.0, lt=0.5)]
    preference: PreferenceConfig | None

    @model_validator(mode="after")
    def _precision_fits_the_method(self) -> InstructConfig:
        # Updates of full fine-tuning are often below the resolution of float16 weights; adapters are kept in float32.
        if self.method == "full" and self.base_precision != "float32":
            raise ValueError(
                f"method is full and base_precision is {self.base_precision}: with `full` every weight is trained, "
                "and what is trained is float32: set base_precision to float32, or method to lora"
            )
        return self
