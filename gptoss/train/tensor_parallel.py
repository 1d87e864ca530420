"""Tensor parallelism: every matrix divided over ranks, and between the matrices the sequence (Korthikanti et al. 2022).

Attention and feed-forward divide over heads and hidden columns; each gathers the positions of its input from all
ranks and leaves its output as a sum over ranks, of which every rank keeps its own positions. Outside of them (norms,
residual stream, output head, loss) a rank computes its positions alone, with whole weights whose gradients are summed
over the ranks: with no module left out of this, every parameter lives on one mesh and one gradient norm covers all.

The output head is whole on every rank rather than divided over the vocabulary: the loss then needs no exchange, and
its gradient is summed once a step instead of its input being exchanged in every micro-batch.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ParallelStyle, parallelize_module

from gptoss.models.decoder import Decoder

SEQUENCE, WIDTH = 1, 2
"""Dimensions of activations `(B, T, D)`."""


class Weights(ParallelStyle):  # type: ignore[misc]
    """Places every parameter of a module."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        for name, parameter in list(module.named_parameters(recurse=False)):
            whole = distribute_tensor(parameter.detach(), device_mesh, [self.placement], src_data_rank=None)
            module.register_parameter(name, nn.Parameter(whole))
        return module


class Gathered(ParallelStyle):  # type: ignore[misc]
    """A module that takes all positions and gives an addend of its output: gathers the sequence before it, and sums
    over ranks after it, keeping this rank's positions."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def gather(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            part = DTensor.from_local(inputs[0], device_mesh, [Shard(SEQUENCE)], run_check=False)
            whole = part.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
            return whole, *inputs[1:]

        def scatter(_: nn.Module, inputs: Any, addend: Tensor) -> Tensor:
            total = DTensor.from_local(addend, device_mesh, [Partial()], run_check=False)
            return total.redistribute(placements=[Shard(SEQUENCE)]).to_local()

        module.register_forward_pre_hook(gather)
        module.register_forward_hook(scatter)
        return module


class WidthToSequence(Weights):
    """An embedding divided over its columns: exchanges columns of all positions for all columns of this rank's."""

    def __init__(self) -> None:
        super().__init__(Shard(1))

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def exchange(_: nn.Module, inputs: Any, columns: Tensor) -> Tensor:
            output = DTensor.from_local(columns, device_mesh, [Shard(WIDTH)], run_check=False)
            return output.redistribute(placements=[Shard(SEQUENCE)]).to_local()

        module.register_forward_hook(exchange)
        return super()._apply(module, device_mesh)


def parallelize(part: Decoder, tp_mesh: DeviceMesh) -> None:
    """Divide a part of the decoder over the ranks of `tp_mesh`, in place."""
    rows, columns, whole = Weights(Shard(0)), Weights(Shard(1)), Weights(Replicate())
    layer = "model.layers.*."
    styles: dict[str, ParallelStyle] = {
        f"{layer}input_layernorm": whole,
        f"{layer}self_attn": Gathered(),
        **{f"{layer}self_attn.{name}": rows for name in ("q_proj", "k_proj", "v_proj")},
        f"{layer}self_attn.o_proj": columns,
        f"{layer}post_attention_layernorm": whole,
        f"{layer}mlp": Gathered(),
        **{f"{layer}mlp.{name}": rows for name in ("gate_proj", "up_proj")},
        f"{layer}mlp.down_proj": columns,
    }
    if part.first:
        styles["model.embed_tokens"] = WidthToSequence()
    if part.last:
        styles |= {"model.norm": whole, "lm_head": whole}
    parallelize_module(part, tp_mesh, styles)
    part.sequence_shards = tp_mesh.size()
