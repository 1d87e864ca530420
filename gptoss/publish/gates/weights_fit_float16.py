"""No weight overflows when it is cast."""

from __future__ import annotations

from gptoss.publish.gates.gate import INFINITY, MAX_NAMES, Gate, GateInputs, three_digits
from gptoss.publish.weights import FLOAT16_MAX


class WeightsFitFloat16(Gate):
    """The largest absolute weight, before the cast."""

    name = "weights_fit_float16"
    reason = "one infinite or NaN weight makes the outputs NaN"
    reference = "IEEE 754-2019, binary16: the largest finite value is 65,504"

    def bound(self, inputs: GateInputs) -> float:
        return FLOAT16_MAX

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        conversion = inputs.conversion
        faults = [f"{name} holds NaN or infinity" for name in conversion.not_finite]
        faults += [f"{name} overflows" for name in conversion.overflowing]
        detail = "; ".join(["largest absolute weight", *faults[:MAX_NAMES]])
        if conversion.not_finite:
            return INFINITY, detail
        if conversion.overflowing:
            return conversion.largest_weight, detail
        # Values from 65,504 to 65,520 round down to the largest float16, so they pass.
        return three_digits(min(conversion.largest_weight, FLOAT16_MAX)), detail
