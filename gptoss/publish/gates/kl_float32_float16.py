"""The float16 model predicts what the float32 weights predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gptoss.publish.gates.gate import Gate, GateInputs, three_digits

if TYPE_CHECKING:
    import torch

# Positions compared at a time: two float64 distributions over the vocabulary are 0.8 MB per position at 50k tokens.
POSITIONS_PER_BLOCK = 64


class KlFloat32Float16(Gate):
    """KL(float32 || float16) of the next token, in nats per token, mean over all held-out positions."""

    name = "kl_float32_float16"
    reason = "what is evaluated and used must be the model that was trained"
    reference = "Kullback and Leibler 1951; the bound is `publish.max_kl`"

    def bound(self, inputs: GateInputs) -> float:
        return inputs.settings.publish.max_kl

    def measure(self, inputs: GateInputs) -> tuple[float, str]:
        published = inputs.published.logits  # first: when it does not load, the reference need not be computed
        divergence = kl_divergence(inputs.trained().logits, published)
        return three_digits(divergence), f"nats a token over {inputs.windows.numel()} held-out positions"


def kl_divergence(reference: Sequence[torch.Tensor], published: Sequence[torch.Tensor]) -> float:
    """Return the mean over positions of sum_v p(v) log(p(v) / q(v)) in nats, with p from `reference` and q from
    `published`; both are logits, one [tokens, vocabulary] tensor per window."""
    import torch

    total, positions = 0.0, 0
    for p_logits_TV, q_logits_TV in zip(reference, published, strict=True):
        blocks = zip(p_logits_TV.split(POSITIONS_PER_BLOCK), q_logits_TV.split(POSITIONS_PER_BLOCK), strict=True)
        for p_block_TV, q_block_TV in blocks:
            # float64: the divergence is about 1e-6, a difference of terms near 1 that float32 cannot resolve.
            log_p, log_q = (torch.log_softmax(block.double(), dim=-1) for block in (p_block_TV, q_block_TV))
            total += float((log_p.exp() * (log_p - log_q)).sum())
            positions += len(p_block_TV)
    # Rounding can make the sum slightly negative; `max` alone would turn NaN into 0.
    return max(0.0, total / positions) if total == total else float("nan")
