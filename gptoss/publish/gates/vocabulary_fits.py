"""Every token has a row in the embedding."""

from __future__ import annotations

from gptoss.core.atomic_files import read_json
from gptoss.publish.gates.gate import Gate, GateInputs


class VocabularyFits(Gate):
    """Number of tokens of the tokenizer; the bound is the number of rows of the embedding."""

    name = "vocabulary_fits"
    reason = "a token id without a row in the embedding is an index error when the model runs"
    reference = "`vocab_size` in config.json"

    def bound(self, inputs: GateInputs) -> float:
        rows: int = read_json(inputs.folder / "config.json").get("vocab_size", 0)
        return rows

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        # `len` counts added tokens as well; `tokenizer.vocab_size` does not.
        return len(inputs.tokenizer), "tokens in the tokenizer, rows in the embedding"
