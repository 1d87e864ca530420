"""Checks that a folder must pass before it is published. Each measures something and has a bound.

The folder is loaded as its users will: stock `AutoModelForCausalLM`, its own dtype, local files only, no code from
the folder. The float32 master weights and the published float16 model then read the same windows of held-out text,
each in its own arithmetic, one model in memory at a time. Their distance is KL(FP32 ‖ FP16) of the next token, in
nats (Kullback and Leibler 1951), the mean over all positions; sums are in float64.
"""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import paths
from stages.errors import DataError
from stages.publish import checksums
from stages.publish.weights import Converted, tensor_dtypes
from stages.settings import Settings
from stages.storage import read_json
from stages.token_files import TokenSplit

if TYPE_CHECKING:
    import torch

FLOAT16_MAX = 65504.0
MAX_WINDOWS = 8
MAX_WINDOW_TOKENS = 1024
WINDOW_FLOPS = 4e11
"""Arithmetic spent on the windows, 2 operations a parameter and token: under a minute where half precision is slow.
A model too large for that reads one window."""
ROWS = 64
"""Positions whose distributions are compared at once, in float64."""

UNICODE_SAMPLES = (
    "The quick brown fox jumps over the lazy dog.",
    "  leading, trailing and   inner spaces  ",
    "tabs\tnewlines\n\n\r\nand\u00a0no-break spaces",
    "naïve café — “quotes”, ‘more’… 12,345.67 €",
    "Ελληνικά, кириллица, עברית, العربية, हिन्दी, 中文, 日本語, 한국어",
    "🙂👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 ﷽ \u200b\u200d\ufeff \u0001\u007f",
    "def f(x):\n    return {'a': [1, 2]}  # code",
    "\U0010ffff\ue000\ufffd",
)


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
    folder: Path, source: Path, converted: Converted, settings: Settings, windows: torch.Tensor
) -> list[Gate]:
    """Every gate, whether or not one before it failed."""
    return [
        Gate(
            "weights_fit_float16",
            FLOAT16_MAX * 2 if converted.overflowing else significant(converted.largest),
            FLOAT16_MAX,
            "largest absolute weight" + "".join(f"; {name} overflows" for name in converted.overflowing[:5]),
        ),
        tensors_are_float16(folder),
        *models_agree(folder, source, settings.publish.max_kl, windows),
        round_trips(folder, windows),
        vocabulary_fits(folder),
        chat_template_works(folder),
        checksums_match(folder),
    ]


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


def held_out_windows(settings: Settings, parameters: int) -> torch.Tensor:
    """Windows of the validation split, evenly spaced: int64 [windows, tokens]. Raises `DataError` when it holds
    fewer than two tokens."""
    import numpy as np
    import torch

    split = TokenSplit.open(paths.SHARDS, "validation")
    length = min(settings.model.context, MAX_WINDOW_TOKENS, len(split))
    if length < 2:
        raise DataError(
            f"the validation split holds {len(split)} tokens, too few to compare models on",
            "raise shards.validation_fraction",
        )
    affordable = int(WINDOW_FLOPS / (2 * parameters * length))
    count = max(1, min(MAX_WINDOWS, affordable, len(split) // length))
    starts = np.linspace(0, len(split) - length, count).astype(int)
    return torch.from_numpy(np.stack([split[start : start + length] for start in starts]).astype(np.int64))


def models_agree(folder: Path, source: Path, max_kl: float, windows: torch.Tensor) -> list[Gate]:
    """Three gates: the folder loads into a stock model, its logits are finite, and they are those of float32."""
    import torch

    reference, _ = logits(source, torch.float32, windows)
    try:
        published, problems = logits(folder, "auto", windows)
    except Exception as error:  # whatever transformers raises, its users would meet
        detail = f"{type(error).__name__}: {error}"[:300]
        return [
            Gate(name, float("inf"), bound, detail)
            for name, bound in (("loads_stock", 0), ("logits_finite", 0), ("kl_float32_float16", max_kl))
        ]
    infinite = sum(int((~torch.isfinite(part)).sum()) for part in published)
    positions = windows.numel()
    return [
        Gate("loads_stock", len(problems), 0, "; ".join(problems) or "no missing, unexpected or custom part"),
        Gate("logits_finite", infinite, 0, f"logits that are not finite, of {positions} positions"),
        Gate(
            "kl_float32_float16",
            significant(divergence(reference, published)),
            max_kl,
            f"nats a token over {positions} held-out positions",
        ),
    ]


def logits(folder: Path, dtype: Any, windows: torch.Tensor) -> tuple[list[torch.Tensor], list[str]]:
    """The model's logits on each window (float32 [tokens, vocabulary], on the CPU), and what is not stock about it.
    The model is gone afterwards."""
    import torch
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=dtype,
        device_map="auto",
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    problems = [f"{kind} {found}" for kind, found in info.items() if found]
    config = read_json(folder / "config.json")
    if [type(model).__name__] != config["architectures"] or "auto_map" in config:
        problems.append(f"{type(model).__name__} is not the stock {config['architectures'][0]}")
    model.eval()
    device = model.device if model.device.type != "meta" else "cpu"  # meta: the first layers are read from disc
    with torch.no_grad():
        found = [model(input_ids=window[None].to(device)).logits[0].float().cpu() for window in windows]
    del model
    gc.collect()
    return found, problems


def divergence(reference: list[torch.Tensor], published: list[torch.Tensor]) -> float:
    """Mean over positions of sum p log(p / q), nats: p from `reference`, q from `published`."""
    import torch

    total, positions = 0.0, 0
    for p_all, q_all in zip(reference, published, strict=True):
        for p, q in zip(p_all.split(ROWS), q_all.split(ROWS), strict=True):
            log_p, log_q = (torch.log_softmax(part.double(), dim=-1) for part in (p, q))
            total += float((log_p.exp() * (log_p - log_q)).sum())
            positions += len(p)
    return max(0.0, total / positions) if total == total else float("nan")


def tensors_are_float16(folder: Path) -> Gate:
    """No tensor has another dtype."""
    others = [f"{name} is {dtype}" for name, dtype in tensor_dtypes(folder) if dtype != "F16"]
    return Gate("tensors_float16", len(others), 0, "; ".join(others[:5]) or "every tensor is float16")


def round_trips(folder: Path, windows: torch.Tensor) -> Gate:
    """decode(encode(text)) == text, for difficult Unicode and for held-out text."""
    tokenizer = tokenizer_of(folder)
    texts = [*UNICODE_SAMPLES, *(tokenizer.decode(window, skip_special_tokens=True) for window in windows)]
    failed = [text for text in texts if tokenizer.decode(tokenizer(text)["input_ids"]) != text]
    return Gate(
        "tokenizer_round_trip", len(failed), 0, f"of {len(texts)} texts" + "".join(f"; {t!r}"[:60] for t in failed)
    )


def vocabulary_fits(folder: Path) -> Gate:
    """Every token has a row in the embedding."""
    rows = read_json(folder / "config.json")["vocab_size"]
    return Gate("vocabulary_fits", len(tokenizer_of(folder)), rows, "tokens in the tokenizer, rows in the embedding")


def chat_template_works(folder: Path) -> Gate:
    """The template renders, opens the assistant's turn, and marks the answer with its closing token."""
    tokenizer = tokenizer_of(folder)
    question, answer = {"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Good day."}
    if tokenizer.chat_template is None:
        return Gate("chat_template", 1, 0, "there is no chat template")
    prompt = tokenizer.apply_chat_template([question], add_generation_prompt=True, tokenize=False)
    encoded = tokenizer.apply_chat_template(
        [question, answer], tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = [token for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True) if mask]
    faults = [
        fault
        for fault, wrong in (
            ("the question is not in the prompt", question["content"] not in prompt),
            ("the prompt does not open the assistant's turn", not prompt.endswith("<|im_start|>assistant\n")),
            ("the marked tokens are not the answer", tokenizer.decode(marked) != answer["content"] + "<|im_end|>"),
        )
        if wrong
    ]
    return Gate("chat_template", len(faults), 0, "; ".join(faults) or "renders, and marks what the assistant says")


def checksums_match(folder: Path) -> Gate:
    """Every file on disk has the bytes of its checksum, and every file has one."""
    wrong = checksums.differing(folder)
    return Gate("checksums", len(wrong), 0, "; ".join(wrong[:5]) or "every file was read again")


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer as users load it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def significant(value: float) -> float:
    """Three significant digits: what a float32 sum still owes to its order is not published."""
    return float(f"{value:.3g}")
