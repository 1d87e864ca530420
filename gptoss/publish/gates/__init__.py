"""Checks that a folder must pass before it is published; each measures one number that has an upper bound.

To add a gate: one file in this folder with a subclass of `Gate`, and one line in `GATES`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gptoss.core.errors import DataError, PipelineError
from gptoss.publish.gates.activations_fit_float16 import ActivationsFitFloat16
from gptoss.publish.gates.chat_template import ChatTemplate
from gptoss.publish.gates.checksums import Checksums
from gptoss.publish.gates.config_as_trained import ConfigAsTrained
from gptoss.publish.gates.gate import INFINITY, Gate, GateInputs
from gptoss.publish.gates.kl_float32_float16 import KlFloat32Float16
from gptoss.publish.gates.loads_stock import LoadsStock
from gptoss.publish.gates.logits_finite import LogitsFinite
from gptoss.publish.gates.tensors_float16 import TensorsFloat16
from gptoss.publish.gates.tokenizer_as_trained import TokenizerAsTrained
from gptoss.publish.gates.tokenizer_round_trip import TokenizerRoundTrip
from gptoss.publish.gates.vocabulary_fits import VocabularyFits
from gptoss.publish.gates.weights_fit_float16 import WeightsFitFloat16

# The order is that of `gates.json`. Gates that read only headers come first; checksums come last, because they read
# every byte again, after everything that could have damaged a file.
GATES: tuple[type[Gate], ...] = (
    WeightsFitFloat16,
    TensorsFloat16,
    ConfigAsTrained,
    LoadsStock,
    ActivationsFitFloat16,
    LogitsFinite,
    KlFloat32Float16,
    TokenizerAsTrained,
    TokenizerRoundTrip,
    VocabularyFits,
    ChatTemplate,
    Checksums,
)
# transformers prints whole configurations in some of its errors.
MAX_REASON_CHARACTERS = 300


@dataclass(frozen=True)
class GateResult:
    """The measured value of a gate; `detail` names what was found."""

    gate: type[Gate]
    value: float
    bound: float
    detail: str

    @property
    def passed(self) -> bool:
        """True when the value is within the bound; false also for NaN."""
        return self.value <= self.bound

    def as_json(self) -> dict[str, Any]:
        """Return the entry of `gates.json`."""
        values = {"name": self.gate.name, "value": self.value, "bound": self.bound, "detail": self.detail}
        return values | {"passed": self.passed}


def run_gates(inputs: GateInputs) -> list[GateResult]:
    """Measure every gate, whether or not an earlier one failed, so that one run reports all faults."""
    return [_run(gate, inputs) for gate in GATES]


def _run(gate: type[Gate], inputs: GateInputs) -> GateResult:
    bound = gate().bound(inputs)
    try:
        value, detail = gate().measure(inputs)
    # Any exception fails the gate: transformers raises many types, and users of the folder would meet the same error.
    except Exception as error:
        text = error.problem if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
        return GateResult(gate, INFINITY, bound, text[:MAX_REASON_CHARACTERS])
    return GateResult(gate, value, bound, detail)


def require_passed(results: Sequence[GateResult], name: str) -> None:
    """Raise `DataError` with value, bound, detail and reason of each failed gate."""
    failed = [result for result in results if not result.passed]
    if failed:
        lines = "".join(
            f"\n    {result.gate.name}: {result.value:g}, bound {result.bound:g} ({result.detail})"
            f"\n        why it matters: {result.gate.reason}"
            for result in failed
        )
        raise DataError(
            f"{name} is not published: {len(failed)} of {len(results)} gates failed{lines}",
            "where weights overflow or the models differ, train again with a lower learning rate or stronger weight "
            "decay; where a file is wrong, make it again; raise a bound (publish.max_kl) only on purpose",
        )
