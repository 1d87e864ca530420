"""One rank's parts of the model: the layers of its pipeline stages, divided over the other axes of the mesh.

Gradients are sums, never means: the loss is divided by the tokens of the *global* batch before backward, the pipeline
does not rescale, FSDP adds up (divide factor 1, sum reduction). So every gradient in half precision has the same
magnitude on every mesh, and overflow does not depend on the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from gptoss.config.cluster import ClusterConfig
from gptoss.models.decoder import Decoder, initial_value
from gptoss.models.precision import DTYPES, master_dtype
from gptoss.train.activation_checkpointing import checkpointed
from gptoss.train.parallel_context import ParallelContext
from gptoss.train.run_config import RunConfig
from gptoss.train.stage_assignment import split_layers, stage_count, stages_of
from gptoss.train.tensor_parallel import parallelize


def sharded_parts(plan: RunConfig, ranks: ParallelContext) -> list[Decoder]:
    """This rank's parts, one for each of its pipeline stages: master weights sharded over the data-parallel and
    tensor-parallel meshes, each initialised from (seed, name)."""
    layers = split_layers(plan.settings.model, plan.vocab_size, stage_count(plan.cluster))
    parts = [_part(plan, ranks, layers[stage]) for stage in stages_of(ranks.pp_rank, plan.cluster)]
    with torch.no_grad():
        for name, parameter in named_parameters(parts):
            value = initial_value(name, parameter.shape, plan.settings.model, plan.settings.seed)
            whole = value.to(ranks.device, parameter.dtype)
            if isinstance(parameter, DTensor):
                whole = distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)
            parameter.copy_(whole)
    return parts


def _part(plan: RunConfig, ranks: ParallelContext, layers: range) -> Decoder:
    """One part without values: divided by tensor parallelism first, then by FSDP, as their composition demands."""
    compute = DTYPES[plan.precision]
    master = master_dtype(compute)
    divided = ranks.dp_mesh.size() > 1 or ranks.tp > 1 or compute != master
    with torch.device("meta" if divided else ranks.device):
        part = Decoder(plan.settings.model, plan.vocab_size, layers)
        if master != torch.get_default_dtype():
            part.to(master)
    if ranks.tp > 1:
        parallelize(part, ranks.mesh["tp"])
    for layer in part.layers:
        checkpointed(layer, plan.cluster.activation_checkpointing)
        if plan.cluster.compile:
            layer.compile()
    if divided:
        _shard(part, plan, ranks)
        part.to_empty(device=ranks.device)
        part.tie()
    return part


def _shard(part: Decoder, plan: RunConfig, ranks: ParallelContext) -> None:
    """Let FSDP divide the parameters, round them for computing and add up gradients; a rank that has none of that to
    do keeps plain parameters, which saves some copies a step."""
    compute = DTYPES[plan.precision]
    master = master_dtype(compute)
    policy = MixedPrecisionPolicy(param_dtype=None if compute == master else compute, reduce_dtype=master)
    for module in (*part.layers, part):
        fully_shard(module, mesh=ranks.dp_mesh, mp_policy=policy, reshard_after_forward=reshards(plan.cluster))
        module.set_gradient_divide_factor(1.0)
        module.set_force_sum_reduction_for_comms(True)


def reshards(cluster: ClusterConfig) -> bool:
    """Whether gathered weights are let go after each use. Not in a pipeline, where gathering them again for every
    micro-batch would cost more than keeping them; nor where one rank has all of them anyway."""
    return cluster.mesh.pp == 1 and cluster.mesh.dp_shard > 1


def named_parameters(parts: Iterable[nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    """Global name and parameter (where it is divided a `DTensor`, this rank's shard) over all parts of a rank."""
    for part in parts:
        yield from part.named_parameters()


def local(tensor: Tensor) -> Tensor:
    """This rank's shard."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def copies(tensor: Tensor) -> int:
    """Ranks that hold the same values as this rank's shard: sums over all ranks count them once each."""
    if not isinstance(tensor, DTensor):
        return 1
    mesh = tensor.device_mesh
    count = 1
    for axis, placement in enumerate(tensor.placements):
        count *= mesh.size(axis) if placement.is_replicate() else 1
    return count
