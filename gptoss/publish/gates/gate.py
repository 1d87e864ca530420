"""The interface of a gate, and what a gate can measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gptoss.config.settings import Settings
from gptoss.core.errors import DataError
from gptoss.publish.model_outputs import ModelOutputs, run_model
from gptoss.publish.weights import FLOAT16_BYTES, FLOAT32_BYTES, Conversion

if TYPE_CHECKING:
    import torch

INFINITY = float("inf")
# Tensors or files that a message lists; a fault often concerns all of them.
MAX_NAMES = 5


class Gate(ABC):
    """One check of the folder that is about to be published."""

    name: ClassVar[str]
    """Key in `gates.json` and in the metrics."""
    reason: ClassVar[str]
    """Why a folder that fails would be of no use."""
    reference: ClassVar[str]
    """The source of the bound or the requirement."""

    def bound(self, inputs: GateInputs) -> float:
        """Return the largest value that passes: 0 where `measure` counts faults."""
        return 0

    @abstractmethod
    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        """Return the value and what was found. An exception fails the gate with its message."""


@dataclass
class GateInputs:
    """The folder under its temporary name, what it was made from, and what models compute on held-out text."""

    folder: Path
    source: Path
    """The float32 weights that were cast."""
    conversion: Conversion
    settings: Settings
    # Drawn once, by the stage: both models must read the same tokens.
    windows: torch.Tensor
    """Held-out token ids, int64 [windows, tokens]."""

    @property
    def published(self) -> ModelOutputs:
        """Outputs of the float16 folder, loaded as its users load it. Raises what transformers raises."""
        if isinstance(self._published, Exception):
            raise self._published
        return self._published

    @cached_property
    def _published(self) -> ModelOutputs | Exception:
        # The exception is cached as well: several gates need the outputs, and loading a large model takes minutes.
        # The dtype "auto" is that of config.json, as users load it.
        try:
            return run_model(self.folder, "auto", FLOAT16_BYTES * self.conversion.parameters, self.windows)
        except Exception as error:
            return error

    def trained(self) -> ModelOutputs:
        """Return the outputs of the float32 weights. Not cached: one gate needs them, and logits are large."""
        import torch

        return run_model(self.source, torch.float32, FLOAT32_BYTES * self.conversion.parameters, self.windows)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the folder."""
        return load_tokenizer(self.folder)


def load_tokenizer(folder: Path) -> Any:
    """Load a tokenizer as users do. Errors: `DataError` when it does not load."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise whatever their parsers raise
        raise DataError(
            f"{folder / 'tokenizer.json'} does not load: {type(error).__name__}: {error}",
            "remove data/tokenizer and run `dvc repro tokenizer`, which makes it again",
        ) from None


def three_digits(value: float) -> float:
    """Round to three significant digits: the last digits of a float32 sum depend on the order of summation, and the
    published value must not."""
    return float(f"{value:.3g}")
