"""Checks that a folder must pass before it is published. Each measures something and has a bound.

Every gate is measured, whether or not one before it failed; what a gate cannot measure, because a file does not load,
it fails with the reason. `agreement.py` holds those that run the model, `tokenizer_gates.py` those of the tokenizer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptoss.config.settings import Settings
from gptoss.core import checksums, paths
from gptoss.core.atomic_files import read_json
from gptoss.core.errors import DataError, PipelineError
from gptoss.publish import agreement, configuration_files, tokenizer_gates
from gptoss.publish.weights import FLOAT16_MAX, Conversion, tensor_dtypes

if TYPE_CHECKING:
    import torch

SHOWN = 5
"""Names in a message."""
INFINITY = float("inf")


@dataclass(frozen=True)
class Gate:
    """`value` must not exceed `bound`; `detail` names what was found."""

    name: str
    value: float
    bound: float
    detail: str

    @property
    def passed(self) -> bool:
        """False also when the value is not a number."""
        return self.value <= self.bound


def run_gates(
    folder: Path, source: Path, converted: Conversion, settings: Settings, windows: torch.Tensor
) -> list[Gate]:
    """Every gate of `folder`, which was cast from `source`."""
    rows = read_json(folder / "config.json").get("vocab_size", 0)
    return [
        measured("weights_fit_float16", FLOAT16_MAX, partial(weights_fit, converted)),
        measured("tensors_float16", 0, partial(tensors_are_float16, folder)),
        measured("config_as_trained", 0, partial(configuration_files.differing, folder, settings)),
        *models_agree(folder, source, converted.parameters, settings.publish.max_kl, windows),
        measured("tokenizer_as_trained", 0, partial(tokenizer_gates.as_trained, folder, paths.SHARDS)),
        measured("tokenizer_round_trip", 0, partial(tokenizer_gates.round_trips, folder, windows)),
        measured("vocabulary_fits", rows, partial(vocabulary_size, folder)),
        measured("chat_template", 0, partial(tokenizer_gates.chat_template_works, folder)),
        measured("checksums", 0, partial(checksums_differ, folder)),
    ]


def measured(name: str, bound: float, measure: Callable[[], tuple[float, str]]) -> Gate:
    """The gate of a measurement; infinite where it raises, since users of the folder would meet the same error."""
    try:
        value, detail = measure()
    except Exception as error:
        return Gate(name, INFINITY, bound, _reason(error))
    return Gate(name, value, bound, detail)


def _reason(error: Exception) -> str:
    text = error.problem if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
    return text[:300]


def require(gates: Sequence[Gate], name: str) -> None:
    """Raise `DataError` naming each failed gate with its value and bound."""
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        lines = "".join(f"\n    {gate.name}: {gate.value:g}, bound {gate.bound:g} ({gate.detail})" for gate in failed)
        raise DataError(
            f"{name} is not published: {len(failed)} of {len(gates)} gates failed{lines}",
            "train anew with a lower learning rate or stronger weight decay where weights overflow or the models "
            "differ; a bound is raised on purpose only (publish.max_kl); otherwise make the inputs again",
        )


def account(gates: Sequence[Gate]) -> dict[str, Any]:
    """The gates for `gates.json`."""
    return {"gates": [dataclasses.asdict(gate) | {"passed": gate.passed} for gate in gates]}


def weights_fit(converted: Conversion) -> tuple[float, str]:
    """No weight was NaN or infinite, none became infinite."""
    faults = [f"{name} holds NaN or infinity" for name in converted.not_finite]
    faults += [f"{name} overflows" for name in converted.overflowing]
    detail = "; ".join(["largest absolute weight", *faults[:SHOWN]])
    if converted.not_finite:
        return INFINITY, detail
    return converted.largest if converted.overflowing else significant(min(converted.largest, FLOAT16_MAX)), detail


def tensors_are_float16(folder: Path) -> tuple[int, str]:
    """No tensor has another dtype."""
    others = [f"{name} is {dtype}" for name, dtype in tensor_dtypes(folder) if dtype != "F16"]
    return len(others), "; ".join(others[:SHOWN]) or "every tensor is float16"


def models_agree(folder: Path, source: Path, parameters: int, max_kl: float, windows: torch.Tensor) -> list[Gate]:
    """Four gates: the folder loads into a stock model, what it computes fits float16, its logits are finite, and they
    are those of float32."""
    import torch

    try:
        published = agreement.read(folder, "auto", 2 * parameters, windows)
    except Exception as error:  # whatever transformers raises, its users would meet
        names = ("loads_stock", "activations_fit_float16", "logits_finite", "kl_float32_float16")
        return [
            Gate(name, INFINITY, bound, _reason(error))
            for name, bound in zip(names, (0, FLOAT16_MAX, 0, max_kl), strict=True)
        ]
    infinite = sum(int((~torch.isfinite(part)).sum()) for part in published.logits)
    largest, where = published.largest
    at = f"{published.not_finite} is the first whose output is not finite" if published.not_finite else f"at {where}"

    def distance() -> tuple[float, str]:
        reference = agreement.read(source, torch.float32, 4 * parameters, windows)
        found = significant(agreement.divergence(reference.logits, published.logits))
        return found, f"nats a token over {windows.numel()} held-out positions"

    return [
        Gate("loads_stock", len(published.problems), 0, "; ".join(published.problems) or "nothing missing or custom"),
        Gate(
            "activations_fit_float16",
            INFINITY if published.not_finite else significant(largest),
            FLOAT16_MAX,
            f"largest absolute activation, {at}",
        ),
        Gate("logits_finite", infinite, 0, f"logits that are not finite, of {windows.numel()} positions"),
        measured("kl_float32_float16", max_kl, distance),
    ]


def vocabulary_size(folder: Path) -> tuple[int, str]:
    """Every token must have a row in the embedding."""
    return len(tokenizer_gates.tokenizer_of(folder)), "tokens in the tokenizer, rows in the embedding"


def checksums_differ(folder: Path) -> tuple[int, str]:
    """Every file on disk has the bytes of its checksum, and every file has one."""
    wrong = checksums.differing(folder)
    return len(wrong), "; ".join(wrong[:SHOWN]) or "every file was read again"


def significant(value: float) -> float:
    """Three significant digits: what a float32 sum still owes to its order is not published."""
    return float(f"{value:.3g}")
