"""Tensor parallelism with sequence parallelism between the matrices (Korthikanti et al. 2022).

    residual stream (T / tp positions per rank)
      -> all-gather positions -> attention or feed-forward, heads or columns divided over ranks
      -> reduce-scatter: sum over ranks, keep own positions

Outside of these blocks (norms, residual stream, output head, loss) each rank computes its own positions with whole
weights, whose gradients are summed over the ranks. No module is left out: then every parameter is a DTensor on the same
mesh, and one gradient norm covers all of them (clipping fails on mixed meshes: "All operands in aten.stack.default must
have the same mesh").

The output head is whole on every rank rather than divided over the vocabulary. The loss then needs no communication,
and the head's gradient is reduced once per step instead of its input being gathered in every micro-batch.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ParallelStyle, parallelize_module

from gptoss.models.decoder import Decoder

# Dimensions of activations (B, T, D).
SEQUENCE_DIM, HIDDEN_DIM = 1, 2


class DistributeWeights(ParallelStyle):  # type: ignore[misc]
    """Gives every direct parameter of a module one placement on the tensor-parallel mesh."""

    def __init__(self, placement: Placement) -> None:
        self.placement = placement

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        for name, parameter in list(module.named_parameters(recurse=False)):
            # src_data_rank=None: parameters are on the meta device here, there is nothing to broadcast.
            weight = distribute_tensor(parameter.detach(), device_mesh, [self.placement], src_data_rank=None)
            module.register_parameter(name, nn.Parameter(weight))
        return module


def _to_sequence_shard(local: Tensor, device_mesh: DeviceMesh, placement: Placement) -> Tensor:
    """This rank's positions of a tensor that is distributed as `placement`."""
    whole = DTensor.from_local(local, device_mesh, [placement], run_check=False)
    return whole.redistribute(placements=[Shard(SEQUENCE_DIM)]).to_local()


class GatherScatterSequence(ParallelStyle):  # type: ignore[misc]
    """All-gathers the positions of a module's first input and reduce-scatters its output over them."""

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def gather(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            part = DTensor.from_local(inputs[0], device_mesh, [Shard(SEQUENCE_DIM)], run_check=False)
            # Each rank's gradient of the whole input covers only its own heads or columns: a partial sum.
            whole = part.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
            return whole, *inputs[1:]

        def scatter(_: nn.Module, inputs: Any, partial_sum: Tensor) -> Tensor:
            return _to_sequence_shard(partial_sum, device_mesh, Partial())

        # Not torch's own styles: they run the module on DTensors, which our autograd functions do not take.
        module.register_forward_pre_hook(gather)
        module.register_forward_hook(scatter)
        return module


class ColumnShardedEmbedding(DistributeWeights):
    """An embedding divided over its columns; an all-to-all exchanges this rank's columns of all positions for all
    columns of its own positions."""

    def __init__(self) -> None:
        super().__init__(Shard(1))

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        def exchange(_: nn.Module, inputs: Any, columns: Tensor) -> Tensor:
            return _to_sequence_shard(columns, device_mesh, Shard(HIDDEN_DIM))

        module.register_forward_hook(exchange)
        return super()._apply(module, device_mesh)


def apply_tensor_parallel(part: Decoder, tp_mesh: DeviceMesh) -> None:
    """Divide a part of a Llama decoder over the ranks of `tp_mesh`, in place."""
    rows, columns, whole = (DistributeWeights(placement) for placement in (Shard(0), Shard(1), Replicate()))
    layer = "model.layers.*."
    styles: dict[str, ParallelStyle] = {
        f"{layer}input_layernorm": whole,
        f"{layer}self_attn": GatherScatterSequence(),
        **{f"{layer}self_attn.{name}": rows for name in ("q_proj", "k_proj", "v_proj")},
        f"{layer}self_attn.o_proj": columns,
        f"{layer}post_attention_layernorm": whole,
        f"{layer}mlp": GatherScatterSequence(),
        **{f"{layer}mlp.{name}": rows for name in ("gate_proj", "up_proj")},
        f"{layer}mlp.down_proj": columns,
    }
    if part.is_first:
        styles["model.embed_tokens"] = ColumnShardedEmbedding()
    if part.is_last:
        styles |= {"model.norm": whole, "lm_head": whole}
    parallelize_module(part, tp_mesh, styles)
    part.sequence_shards = tp_mesh.size()
