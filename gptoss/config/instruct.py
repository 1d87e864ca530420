"""Configuration of the stage `instruct`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from gptoss.config.section import PositiveFloat, Section


class PreferenceConfig(Section):
    """Direct preference optimisation after the supervised steps (Rafailov et al. 2023)."""

    data: tuple[str, ...]
    """OpenAssistant trees with ranked replies (globs)."""
    beta: PositiveFloat
    """Weight of the KL term that holds the model near where it started."""
    learning_rate: PositiveFloat
    epochs: PositiveInt


class InstructConfig(Section):
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
    preference: PreferenceConfig | None

    @model_validator(mode="after")
    def _precision_fits_the_method(self) -> InstructConfig:
        if self.method == "full" and self.base_precision != "float32":
            raise ValueError(
                f"method is full and base_precision is {self.base_precision}: with `full` every weight is trained, "
                "and what is trained is float32: set base_precision to float32, or method to lora"
            )
        return self
