"""No activation overflows in float16."""

from __future__ import annotations

from gptoss.publish.gates.gate import INFINITY, Gate, GateInputs, three_digits
from gptoss.publish.weights import FLOAT16_MAX


class ActivationsFitFloat16(Gate):
    """The largest absolute activation of any module on held-out text."""

    name = "activations_fit_float16"
    reason = "activations can overflow although every weight fits, since they are sums of products"
    reference = "IEEE 754-2019, binary16; massive activations: Sun et al. 2024, arXiv:2402.17762"

    def bound(self, inputs: GateInputs) -> float:
        return FLOAT16_MAX

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        value, module = inputs.published.largest_activation
        # The first module is the cause; every module after it only passes the infinity on.
        first = inputs.published.first_not_finite
        if first:
            return INFINITY, f"largest absolute activation, {first} is the first whose output is not finite"
        return three_digits(value), f"largest absolute activation, at {module}"
