"""Runs a rank's parts of the model over the micro-batches of a global batch, by the cluster file's schedule.

1F1B and interleaved 1F1B: Narayanan et al. 2021. Zero bubble: Qi et al. 2023, whose backward pass computes the
gradients of a stage's input first, which the stage before is waiting for, and those of its weights when there is
time. All leave the same gradients up to rounding: FSDP moves sums over micro-batches to the master precision in the
pass that computes input gradients, so zero bubble adds some of them in the compute precision before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from gptoss.config.tokenizer import SEPARATOR
from gptoss.models.attention import document_positions
from gptoss.models.decoder import Decoder
from gptoss.models.precision import DTYPES
from gptoss.train.loss import ScaledLoss
from gptoss.train.parallel_context import ParallelContext
from gptoss.train.run_config import RunConfig
from gptoss.train.sharding import reshards
from gptoss.train.stage_assignment import stage_count, stages_of

SCHEDULES = {
    "1f1b": "Schedule1F1B",
    "interleaved_1f1b": "ScheduleInterleaved1F1B",
    "zero_bubble": "ScheduleInterleavedZeroBubble",
}
"""Classes of `torch.distributed.pipelining`, which is loaded by those that need it: it takes most of a second."""


class Pipeline:
    """Forward and backward passes of this rank over its part of a global batch."""

    def __init__(self, parts: list[Decoder], plan: RunConfig, ranks: ParallelContext) -> None:
        self.parts, self.device = parts, ranks.device
        pretrain = plan.settings.pretrain
        self.loss = ScaledLoss(pretrain.z_loss, pretrain.logit_soft_cap)
        self.separator = plan.settings.tokenizer.special_ids[SEPARATOR] if pretrain.document_mask else None
        self.micro_batches = plan.layout.micro_batches
        self.reshards = reshards(plan.cluster)
        positions = plan.settings.model.context // ranks.tp
        self.positions = slice(ranks.tp_rank * positions, (ranks.tp_rank + 1) * positions)
        self.schedule = self._schedule(plan, ranks) if ranks.pp > 1 else None

    def _schedule(self, plan: RunConfig, ranks: ParallelContext) -> Any:
        from torch.distributed import pipelining

        rows, model, dtype = plan.layout.micro_batch, plan.settings.model, DTYPES[plan.precision]
        positions = model.context // ranks.tp
        tokens = torch.empty(rows, model.context, dtype=torch.int64, device="meta")
        activations = torch.empty(rows, positions, model.hidden_size, dtype=dtype, device="meta")
        logits = torch.empty(rows, positions, plan.vocab_size, dtype=dtype, device="meta")
        stages = [
            pipelining.PipelineStage(
                part, number, stage_count(plan.cluster), ranks.device,
                # Shapes are stated: left to infer them, the schedule would run a forward and a backward pass.
                input_args=tokens if part.first else activations.clone().requires_grad_(),
                output_args=logits if part.last else activations.clone().requires_grad_(),
                group=ranks.mesh.get_group("pp"),
            )
            for part, number in zip(self.parts, stages_of(ranks.pp_rank, plan.cluster), strict=True)
        ]  # fmt: skip
        schedule = plan.cluster.pipeline.schedule
        held = stages[0] if schedule == "1f1b" else stages
        return getattr(pipelining, SCHEDULES[schedule])(held, self.micro_batches, loss_fn=self.loss, scale_grads=False)

    def train(self, inputs_BT: Tensor, targets_BT: Tensor, factor: float) -> Tensor:
        """Forward and backward; gradients of `factor` * loss stay on the parameters. Returns the summed loss times
        `factor`: this rank's part where the last stage is, zero elsewhere."""
        self.loss.factor = factor
        if self.schedule is None:
            return self._accumulate(inputs_BT, targets_BT[:, self.positions])
        return self._run(self.schedule.step, inputs_BT, targets_BT[:, self.positions])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def evaluate(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """The summed loss in nats: this rank's part where the last stage is, zero elsewhere."""
        self.loss.factor = 1.0
        targets_BT = targets_BT[:, self.positions]
        if self.schedule is None:
            (part,) = self.parts
            batches = self._micro_batches(inputs_BT, targets_BT)
            losses = [self.loss(part(inputs, **documents), targets) for inputs, targets, documents in batches]
            return torch.stack(losses).double().sum()
        return self._run(self.schedule.eval, inputs_BT, targets_BT)

    def _run(self, call: Any, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        losses: list[Tensor] = []
        given = (inputs_BT,) if self.parts[0].first else ()
        target = targets_BT if self.parts[-1].last else None
        call(*given, target=target, losses=losses, return_outputs=False, **self._documents(inputs_BT))
        return torch.stack(losses).detach().double().sum() if losses else torch.zeros((), device=self.device)

    def _documents(self, inputs_BT: Tensor) -> dict[str, Tensor]:
        """What every stage must know of the documents; the tokens themselves reach the first one only."""
        return {} if self.separator is None else {"positions": document_positions(inputs_BT, self.separator)}

    def _micro_batches(
        self, inputs_BT: Tensor, targets_BT: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """Inputs, targets and documents of one micro-batch after the other."""
        pairs = zip(inputs_BT.chunk(self.micro_batches), targets_BT.chunk(self.micro_batches), strict=True)
        return ((inputs, targets, self._documents(inputs)) for inputs, targets in pairs)

    def _accumulate(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        (part,) = self.parts
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        batches = self._micro_batches(inputs_BT, targets_BT)
        for number, (inputs, targets, documents) in enumerate(batches, 1):
            if isinstance(part, FSDPModule):
                last = number == self.micro_batches
                part.set_requires_gradient_sync(last)
                part.set_is_last_backward(last)
                part.set_reshard_after_backward(last or self.reshards)
            loss = self.loss(part(inputs, **documents), targets)
            loss.backward()
            total += loss.detach().double()
        return total
