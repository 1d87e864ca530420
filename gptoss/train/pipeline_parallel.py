"""Forward and backward passes of a rank's model parts over the micro-batches of a global batch.

1F1B and interleaved 1F1B: Narayanan et al. 2021. Zero bubble (Qi et al. 2023) splits the backward pass: gradients of a
stage's input first, which the previous stage waits for, gradients of its weights when there is time. All schedules
produce the same gradients up to rounding. FSDP accumulates gradients in the master precision in the pass that computes
input gradients, so with zero bubble some of them are accumulated in the compute precision before.

Shape suffixes: B sequences, T positions; targets and logits hold this rank's T / tp positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from gptoss.config.tokenizer import END_OF_TEXT
from gptoss.models.attention import document_position_ids
from gptoss.models.decoder import Decoder
from gptoss.models.precision import DTYPES
from gptoss.train.loss import ScaledLoss
from gptoss.train.parallel_context import ParallelContext
from gptoss.train.run_config import RunConfig
from gptoss.train.sharding import reshards_after_forward
from gptoss.train.stage_assignment import stage_count, stages_of_rank

SCHEDULES = {
    "1f1b": "Schedule1F1B",
    "interleaved_1f1b": "ScheduleInterleaved1F1B",
    "zero_bubble": "ScheduleInterleavedZeroBubble",
}
"""Class names in `torch.distributed.pipelining`, imported only where mesh.pp > 1: it takes most of a second."""


class Pipeline:
    """Runs this rank's share of a global batch; without a pipeline (pp 1) a plain gradient accumulation loop."""

    def __init__(self, model_parts: list[Decoder], run_config: RunConfig, parallel: ParallelContext) -> None:
        self.model_parts, self.device = model_parts, parallel.device
        settings = run_config.settings
        self.loss = ScaledLoss(settings.pretrain.z_loss, settings.pretrain.logit_soft_cap)
        self.separator = settings.tokenizer.special_ids[END_OF_TEXT] if settings.pretrain.document_mask else None
        self.micro_batches = run_config.layout.micro_batches
        self.reshards = reshards_after_forward(run_config.cluster)
        positions = settings.model.context // parallel.tp
        self.positions = slice(parallel.tp_rank * positions, (parallel.tp_rank + 1) * positions)
        self.schedule = self._build_schedule(run_config, parallel) if parallel.pp > 1 else None

    def _build_schedule(self, run_config: RunConfig, parallel: ParallelContext) -> Any:
        from torch.distributed import pipelining

        sequences, model, dtype = run_config.layout.micro_batch, run_config.settings.model, DTYPES[run_config.precision]
        positions = model.context // parallel.tp
        tokens = torch.empty(sequences, model.context, dtype=torch.int64, device="meta")
        activations = torch.empty(sequences, positions, model.hidden_size, dtype=dtype, device="meta")
        logits = torch.empty(sequences, positions, run_config.vocab_size, dtype=dtype, device="meta")
        stages = [
            pipelining.PipelineStage(
                part, stage, stage_count(run_config.cluster), parallel.device,
                # Static shapes: to infer them the schedule would run a real forward and backward pass, with the loss.
                input_args=tokens if part.is_first else activations.clone().requires_grad_(),
                output_args=logits if part.is_last else activations.clone().requires_grad_(),
                group=parallel.mesh.get_group("pp"),
            )
            for part, stage in zip(self.model_parts, stages_of_rank(parallel.pp_rank, run_config.cluster), strict=True)
        ]  # fmt: skip
        name = run_config.cluster.pipeline.schedule
        # scale_grads divides gradients by the number of micro-batches; the loss is normalised already.
        return getattr(pipelining, SCHEDULES[name])(
            stages[0] if name == "1f1b" else stages, self.micro_batches, loss_fn=self.loss, scale_grads=False
        )

    def forward_backward(self, inputs_BT: Tensor, targets_BT: Tensor, factor: float) -> Tensor:
        """Accumulate the gradients of `factor` * summed loss. Returns that loss, a float64 scalar: this rank's share
        where it holds the last pipeline stage, zero elsewhere."""
        self.loss.factor = factor
        if self.schedule is None:
            return self._accumulate(inputs_BT, targets_BT[:, self.positions])
        return self._run_schedule(self.schedule.step, inputs_BT, targets_BT[:, self.positions])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def evaluate(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Summed cross-entropy in nats: this rank's share where it holds the last pipeline stage, zero elsewhere."""
        self.loss.factor = 1.0
        # The output head computes only this rank's positions, see `tensor_parallel.py`.
        targets_BT = targets_BT[:, self.positions]
        if self.schedule is not None:
            return self._run_schedule(self.schedule.eval, inputs_BT, targets_BT)
        (part,) = self.model_parts
        batches = self._split(inputs_BT, targets_BT)
        losses = [self.loss(part(inputs, **position_ids), targets) for inputs, targets, position_ids in batches]
        return torch.stack(losses).double().sum()

    def _run_schedule(self, call: Any, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        losses: list[Tensor] = []
        args = (inputs_BT,) if self.model_parts[0].is_first else ()
        target = targets_BT if self.model_parts[-1].is_last else None
        # Returning outputs would keep the logits of all micro-batches alive to the end of the step.
        call(*args, target=target, losses=losses, return_outputs=False, **self._position_ids(inputs_BT))
        return torch.stack(losses).detach().double().sum() if losses else torch.zeros((), device=self.device)

    def _position_ids(self, inputs_BT: Tensor) -> dict[str, Tensor]:
        """Keyword argument that tells every stage of the pipeline where documents start; only the first sees tokens."""
        return {} if self.separator is None else {"position_ids": document_position_ids(inputs_BT, self.separator)}

    def _split(self, inputs_BT: Tensor, targets_BT: Tensor) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """Inputs, targets and position ids per micro-batch."""
        # Equal consecutive parts, as the schedules split it: every layout has the same micro-batches.
        pairs = zip(inputs_BT.chunk(self.micro_batches), targets_BT.chunk(self.micro_batches), strict=True)
        return ((inputs, targets, self._position_ids(inputs)) for inputs, targets in pairs)

    def _accumulate(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        (part,) = self.model_parts
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for number, (inputs, targets, position_ids) in enumerate(self._split(inputs_BT, targets_BT), 1):
            if isinstance(part, FSDPModule):
                # Gradients are reduced once per step, not per micro-batch.
                last = number == self.micro_batches
                part.set_requires_gradient_sync(last)
                part.set_is_last_backward(last)
                part.set_reshard_after_backward(last or self.reshards)
            loss = self.loss(part(inputs, **position_ids), targets)
            loss.backward()
            total += loss.detach().double()
        return total
