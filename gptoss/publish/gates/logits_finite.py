"""All logits on held-out text are finite."""

from __future__ import annotations

from gptoss.publish.gates.gate import Gate, GateInputs


class LogitsFinite(Gate):
    """Number of logits that are NaN or infinite."""

    name = "logits_finite"
    reason = "sampling from such logits fails or always returns the same token"
    reference = "softmax is undefined for NaN and for +infinity"

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        # Counted on float32 copies: the conversion from float16 keeps infinities and NaN.
        count = sum(int((~logits.isfinite()).sum()) for logits in inputs.published.logits)
        return count, f"logits that are not finite, of {inputs.windows.numel()} positions"
