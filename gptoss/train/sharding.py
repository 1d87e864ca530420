"""This rank's part of the model: the layers of its pipeline stages, sharded over the other mesh axes by FSDP2.

Gradients are sums, never means (see `loss_scaling.py`): the loss is normalised by the tokens of the *global* batch, the
pipeline schedule does not rescale, and FSDP sums with a divide factor of 1. So a half-precision gradient has the same
magnitude on every mesh, and overflow does not depend on the layout.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from gptoss.config.cluster import ClusterConfig
from gptoss.models.decoder import Decoder, initial_value
from gptoss.models.precision import DTYPES, master_dtype
from gptoss.train.activation_checkpointing import apply_activation_checkpointing
from gptoss.train.parallel_context import ParallelContext
from gptoss.train.run_config import RunConfig
from gptoss.train.stage_assignment import split_layers, stage_count, stages_of_rank
from gptoss.train.tensor_parallel import apply_tensor_parallel


def build_model_parts(run_config: RunConfig, parallel: ParallelContext) -> list[Decoder]:
    """One initialised decoder part per pipeline stage of this rank, with sharded master weights (at least float32)."""
    settings, cluster = run_config.settings, run_config.cluster
    layers = split_layers(settings.model, run_config.vocab_size, stage_count(cluster))
    parts = [_build_part(run_config, parallel, layers[stage]) for stage in stages_of_rank(parallel.pp_rank, cluster)]
    with torch.no_grad():
        for name, parameter in named_parameters(parts):
            # Every rank makes the whole tensor and keeps its shard: values depend on (seed, name), not on the mesh.
            value = initial_value(name, parameter.shape, settings.model, settings.seed)
            value = value.to(parallel.device, parameter.dtype)
            if isinstance(parameter, DTensor):
                value = distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
            parameter.copy_(value)
    return parts


def _build_part(run_config: RunConfig, parallel: ParallelContext, layers: range) -> Decoder:
    """One uninitialised part. The order is required: tensor parallelism, activation checkpointing, compile, FSDP."""
    compute = DTYPES[run_config.precision]
    master = master_dtype(compute)
    # FSDP on a single rank still provides mixed precision. A rank that needs neither keeps plain parameters, which
    # saves the copies of all-gather and reduce-scatter.
    needs_fsdp = parallel.dp_mesh.size() > 1 or parallel.tp > 1 or compute != master
    # Meta first: the whole part may not fit on one device before it is sharded.
    with torch.device("meta" if needs_fsdp else parallel.device):
        part = Decoder(run_config.settings.model, run_config.vocab_size, layers)
        if master != torch.get_default_dtype():
            part.to(master)
    if parallel.tp > 1:
        apply_tensor_parallel(part, parallel.mesh["tp"])
    for layer in part.layers:
        apply_activation_checkpointing(layer, run_config.cluster.activation_checkpointing)
        if run_config.cluster.compile:
            layer.compile()
    if needs_fsdp:
        policy = MixedPrecisionPolicy(param_dtype=None if compute == master else compute, reduce_dtype=master)
        reshard = reshards_after_forward(run_config.cluster)
        for module in (*part.layers, part):
            fully_shard(module, mesh=parallel.dp_mesh, mp_policy=policy, reshard_after_forward=reshard)
            module.set_gradient_divide_factor(1.0)
            # A divide factor may otherwise be applied by NCCL's PreMulSum reduction, which gloo does not have.
            module.set_force_sum_reduction_for_comms(True)
        part.to_empty(device=parallel.device)
        part.tie_weights()  # to_empty replaces parameters, which silently unties them (pytorch/torchtitan#2252)
    return part


def reshards_after_forward(cluster: ClusterConfig) -> bool:
    """Whether FSDP frees gathered weights after each use. Not in a pipeline, where gathering them again for every
    micro-batch costs more than the memory is worth; nor where one rank has them all anyway."""
    return cluster.mesh.pp == 1 and cluster.mesh.dp_shard > 1


def named_parameters(parts: Iterable[nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    """Global name and parameter over all parts of a rank; sharded parameters are `DTensor`s."""
    for part in parts:
        yield from part.named_parameters()


def local_tensor(tensor: Tensor) -> Tensor:
    """This rank's shard."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def replica_count(tensor: Tensor) -> int:
    """Number of ranks, within the tensor's mesh, that hold the same values as this rank's shard."""
    if not isinstance(tensor, DTensor):
        return 1
    mesh = tensor.device_mesh
    return math.prod(mesh.size(axis) for axis, placement in enumerate(tensor.placements) if placement.is_replicate())
