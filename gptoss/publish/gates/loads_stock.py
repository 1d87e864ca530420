"""The folder loads into a stock transformers class."""

from __future__ import annotations

from gptoss.publish.gates.gate import Gate, GateInputs


class LoadsStock(Gate):
    """Number of problems when the folder is loaded: missing, unexpected or mismatched tensors, custom code."""

    name = "loads_stock"
    reason = "transformers fills missing tensors with random values and only logs a warning"
    reference = "`output_loading_info` of transformers' `from_pretrained`"

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        # Each kind of problem counts once, however many tensors it concerns.
        problems = inputs.published.load_problems
        return len(problems), "; ".join(problems) or "nothing missing or custom"
