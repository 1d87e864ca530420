"""Every tensor is stored as float16."""

from __future__ import annotations

from gptoss.publish.gates.gate import MAX_NAMES, Gate, GateInputs
from gptoss.publish.weights import tensor_dtypes


class TensorsFloat16(Gate):
    """Number of tensors with another dtype."""

    name = "tensors_float16"
    reason = "the model card and `config.json` promise float16; a mixed file doubles memory or is cast silently"
    reference = "safetensors format: the dtype in each tensor's header"

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        # All files of the folder, so the adapter is checked too.
        others = [f"{name} is {dtype}" for name, dtype in tensor_dtypes(inputs.folder) if dtype != "F16"]
        return len(others), "; ".join(others[:MAX_NAMES]) or "every tensor is float16"
