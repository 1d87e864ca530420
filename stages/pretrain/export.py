"""Write the trained weights as a stock Hugging Face checkpoint, from whatever mesh holds them.

One tensor at a time is gathered and one file at a time is filled, so memory is bounded by a file, not by the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from stages.pretrain.mesh import Ranks
from stages.pretrain.model import Decoder, hugging_face_config
from stages.pretrain.plan import Plan
from stages.pretrain.split import pp_rank_of, split_layers, stage_count
from stages.storage import atomic_folder, write_json

MAX_FILE_BYTES = 5_000_000_000


def parameter_sizes(plan: Plan) -> dict[str, torch.Size]:
    """Every parameter of the whole model with its shape, in the order of the published files."""
    with torch.device("meta"):
        whole = Decoder(plan.settings.model, plan.vocab_size, range(plan.settings.model.layers))
    return {name: parameter.shape for name, parameter in whole.named_parameters()}


def owners(plan: Plan) -> dict[str, int]:
    """The pipeline rank that holds each parameter."""
    owners: dict[str, int] = {}
    for stage, layers in enumerate(split_layers(plan.settings.model, plan.vocab_size, stage_count(plan.cluster))):
        with torch.device("meta"):
            part = Decoder(plan.settings.model, plan.vocab_size, layers)
        owners |= {name: pp_rank_of(stage, plan.cluster) for name, _ in part.named_parameters()}
    return owners


def gathered(own: dict[str, nn.Parameter], plan: Plan, ranks: Ranks) -> Iterator[tuple[str, Tensor | None]]:
    """Each parameter, float32 on the CPU of rank 0 and None on the other ranks, in the order of `parameter_sizes`.
    Collective: every rank must run through it."""
    held_by = owners(plan)
    by_pp_rank = ranks.mesh.mesh.flatten(1)
    for name, size in parameter_sizes(plan).items():
        sender = int(by_pp_rank[held_by[name]][0])
        value = _whole(own[name]) if name in own else None
        if sender == 0:
            yield name, value if ranks.rank == 0 else None
        elif ranks.rank == sender:
            dist.send(value, dst=0, group=ranks.checkpoint_group)
            yield name, None
        elif ranks.rank == 0:
            received = torch.empty(size, dtype=torch.float32)
            dist.recv(received, src=sender, group=ranks.checkpoint_group)
            yield name, received
        else:
            yield name, None


def _whole(parameter: Tensor) -> Tensor:
    with torch.no_grad():
        full = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        return full.detach().to("cpu", torch.float32).contiguous()


def plan_files(sizes: dict[str, torch.Size], max_bytes: int) -> list[list[str]]:
    """Parameter names of each file, in order, a file holding at most `max_bytes` (or one parameter)."""
    files: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        need = 4 * size.numel()
        if files[-1] and filled + need > max_bytes:
            files.append([])
            filled = 0
        files[-1].append(name)
        filled += need
    return files


def export(
    own: dict[str, nn.Parameter], plan: Plan, ranks: Ranks, folder: Path, max_bytes: int = MAX_FILE_BYTES
) -> None:
    """Write float32 safetensors, their index when there are several, and `config.json`. Collective; rank 0 writes.
    `own` are the parameters that this rank holds (shards of) under their global names."""
    values = gathered(own, plan, ranks)
    if ranks.rank != 0:
        for _ in values:
            pass
        ranks.barrier()
        return
    sizes = parameter_sizes(plan)
    files = plan_files(sizes, max_bytes)
    with atomic_folder(folder) as partial:
        names: dict[str, str] = {}
        for number, wanted in enumerate(files, 1):
            single = len(files) == 1
            file = "model.safetensors" if single else f"model-{number:05d}-of-{len(files):05d}.safetensors"
            held: dict[str, Any] = {name: next(values)[1] for name in wanted}
            save_file(held, partial / file, metadata={"format": "pt"})
            (partial / file).chmod(0o644)  # safetensors makes files that only their owner may read
            names |= dict.fromkeys(wanted, file)
        if len(files) > 1:
            total = 4 * sum(size.numel() for size in sizes.values())
            write_json(
                partial / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": names}
            )
        write_json(partial / "config.json", hugging_face_config(plan.settings.model, plan.vocab_size))
    ranks.barrier()
