"""One rank's part of the model: its pipeline stage, sharded by FSDP2, and the schedule that runs it.

Gradients are sums, never means: the loss is divided by the tokens of the *global* batch before backward, the pipeline
does not rescale (`scale_grads=False`), FSDP adds up (divide factor 1, sum reduction). So every gradient in half
precision has the same magnitude on every mesh, and overflow does not depend on the layout.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.tensor import DTensor, distribute_tensor

from stages.pretrain.loss import ScaledLoss
from stages.pretrain.mesh import Ranks
from stages.pretrain.model import Decoder, initial_value
from stages.pretrain.plan import Plan
from stages.pretrain.precision import DTYPES, master_dtype
from stages.settings import Model


def split_layers(shape: Model, vocab_size: int, stages: int) -> list[range]:
    """Contiguous layers of each pipeline stage, so that the slowest stage is as fast as can be.

    Costs are multiply-adds a token: of a layer, its matrices and its attention over half the context; of the output
    head, its matrix, which the last stage carries on top of its layers.
    """
    if stages == 1:
        return [range(shape.layers)]
    kv = shape.kv_heads * shape.head_dim
    matrices = shape.hidden_size * (2 * shape.hidden_size + 2 * kv + 3 * shape.ffn_size)
    layer, head = matrices + shape.context * shape.hidden_size, vocab_size * shape.hidden_size

    def slowest(last: int) -> int:
        return max(-(-(shape.layers - last) // (stages - 1)) * layer, last * layer + head)

    last = min(range(shape.layers - stages + 1, 0, -1), key=slowest)
    each, more = divmod(shape.layers - last, stages - 1)
    counts = [each + (number < more) for number in range(stages - 1)] + [last]
    edges = [sum(counts[:number]) for number in range(stages + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(edges)]


def sharded_stage(plan: Plan, ranks: Ranks) -> Decoder:
    """This rank's stage: master weights sharded over the data-parallel mesh, each initialised from (seed, name)."""
    settings = plan.settings
    layers = split_layers(settings.model, plan.vocab_size, ranks.stages)[ranks.stage]
    compute = DTYPES[plan.precision]
    master = master_dtype(compute)
    with torch.device("meta"):
        recompute = plan.cluster.activation_checkpointing
        module: Decoder = Decoder(settings.model, plan.vocab_size, layers, recompute=recompute).to(master)
    policy = MixedPrecisionPolicy(param_dtype=None if compute == master else compute, reduce_dtype=master)
    # In a pipeline, gathering the weights again for every micro-batch would cost more than keeping them.
    for part in (*module.model.layers.values(), module):
        fully_shard(part, mesh=ranks.dp_mesh, mp_policy=policy, reshard_after_forward=ranks.stages == 1)
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    module.to_empty(device=ranks.device)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            value = initial_value(name, parameter.shape, settings.model, settings.seed).to(ranks.device, master)
            parameter.copy_(distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None))
    return module


def local(tensor: Tensor) -> Tensor:
    """This rank's shard."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class Pipeline:
    """Runs this rank's stage over the micro-batches of its part of a global batch."""

    def __init__(self, module: Decoder, plan: Plan, ranks: Ranks) -> None:
        self.module, self.device = module, ranks.device
        self.loss = ScaledLoss()
        self.micro_batches = plan.layout.micro_batches
        self.schedule = self._schedule(plan, ranks) if ranks.stages > 1 else None

    def _schedule(self, plan: Plan, ranks: Ranks) -> Any:
        rows, model = plan.layout.micro_batch, plan.settings.model
        tokens = torch.empty(rows, model.context, dtype=torch.int64, device="meta")
        activations = torch.empty(rows, model.context, model.hidden_size, dtype=DTYPES[plan.precision], device="meta")
        logits = torch.empty(rows, model.context, plan.vocab_size, dtype=DTYPES[plan.precision], device="meta")
        stage = PipelineStage(
            self.module, ranks.stage, ranks.stages, ranks.device,
            # Shapes are stated: left to infer them, the schedule would run a forward and a backward pass.
            input_args=tokens if self.module.first else activations.clone().requires_grad_(),
            output_args=logits if self.module.last else activations.clone().requires_grad_(),
            group=ranks.mesh.get_group("pp"),
        )  # fmt: skip
        return Schedule1F1B(stage, self.micro_batches, loss_fn=self.loss, scale_grads=False)

    def train(self, inputs_BT: Tensor, targets_BT: Tensor, factor: float) -> Tensor:
        """Forward and backward; gradients of `factor` * loss stay on the parameters. Returns the summed loss times
        `factor`: this rank's part in the last stage, zero in the others."""
        self.loss.factor = factor
        if self.schedule is None:
            return self._accumulate(inputs_BT, targets_BT)
        return self._run(self.schedule.step, inputs_BT, targets_BT)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def evaluate(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """The summed loss in nats: this rank's part in the last stage, zero in the others."""
        self.loss.factor = 1.0
        if self.schedule is None:
            parts = zip(inputs_BT.chunk(self.micro_batches), targets_BT.chunk(self.micro_batches), strict=True)
            return torch.stack([self.loss(self.module(inputs), targets) for inputs, targets in parts]).double().sum()
        return self._run(self.schedule.eval, inputs_BT, targets_BT)

    def _run(self, call: Any, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        losses: list[Tensor] = []
        given = (inputs_BT,) if self.module.first else ()
        target = targets_BT if self.module.last else None
        call(*given, target=target, losses=losses, return_outputs=False)
        return torch.stack(losses).detach().double().sum() if losses else torch.zeros((), device=self.device)

    def _accumulate(self, inputs_BT: Tensor, targets_BT: Tensor) -> Tensor:
        sharded: FSDPModule = self.module
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        parts = zip(inputs_BT.chunk(self.micro_batches), targets_BT.chunk(self.micro_batches), strict=True)
        for number, (inputs, targets) in enumerate(parts, 1):
            last = number == self.micro_batches
            sharded.set_requires_gradient_sync(last)
            sharded.set_is_last_backward(last)
            loss = self.loss(self.module(inputs), targets)
            loss.backward()
            total += loss.detach().double()
        return total
