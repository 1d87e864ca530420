"""The table of simulated peaks, for a terminal and for the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptoss.train.run_config import RunConfig

if TYPE_CHECKING:
    from gptoss.simulate.simulated_rank import Peak

HEADER = (
    "profile", "cluster", "ranks", "mesh (pp x replicate x shard x tp)", "micro-batches", "recomputed", "place",
    "parameters", "gradients", "optimizer", "activations", "peak GB",
)  # fmt: skip

PAGE = """# Memory of a rank

Peak of live tensor storage in one training step, in GB (10⁹ bytes), of the first rank at a place in the pipeline.
Made by simulation on one machine without a GPU:

```bash
{command}
```

{table}

The step that is simulated is the one that trains: the same sharding, pipeline schedule, loss and optimizer, run with
fake tensors (shapes and storages, no numbers) in a fake process group of the cluster's size.
*Parameters*: shards of float32 master weights and gathered float16 weights. *Gradients*: float32 sums over
micro-batches, whole until they are reduced once a step, and the reduced shards. *Activations*: what the backward pass
needs, one receive buffer for each micro-batch in each direction, and what operations hold while they run.

Not counted: rounding and fragmentation of the CUDA allocator, blocks that wait for another stream, NCCL's buffers, the
workspaces of cuBLAS and attention kernels, the CUDA context. Leave 10 to 15 % of a GPU for them. On small meshes the
same count in real processes agrees with the simulation (tests/train/test_simulate.py); on GPUs it has not been
compared. A process's resident size is larger by its code and by what the allocator keeps: `tiny` in one CPU process
has 105 MiB alive at its peak and 522 MiB resident, 360 MiB of which before its first step.
"""


@dataclass(frozen=True)
class Row:
    """One simulated rank."""

    profile: str
    cluster: str
    plan: RunConfig
    peak: Peak

    def cells(self) -> tuple[str, ...]:
        """As text, in the order of `HEADER`."""
        mesh, peak = self.plan.cluster.mesh, self.peak
        sizes = (peak.parameters, peak.gradients, peak.optimizer, peak.activations, peak.total)
        return (
            self.profile, self.cluster, str(mesh.size),
            f"{mesh.pp} x {mesh.dp_replicate} x {mesh.dp_shard} x {mesh.tp}", str(self.plan.layout.micro_batches),
            self.plan.cluster.activation_checkpointing, f"{peak.pp_rank + 1} of {mesh.pp}",
            *(f"{size / 1e9:.3g}" if size < 1e8 else f"{size / 1e9:.1f}" for size in sizes),
        )  # fmt: skip


def as_text(rows: list[Row]) -> str:
    """Aligned columns."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def as_markdown(rows: list[Row]) -> str:
    """The page `docs/memory.md`."""
    runs = list(dict.fromkeys((row.profile, row.cluster) for row in rows))
    profiles, clusters = (" ".join(names) for names in zip(*runs, strict=True))
    command = f"python -m stages.pretrain.simulate --profile {profiles} --cluster {clusters} --markdown docs/memory.md"
    lines = [HEADER, ("---",) * len(HEADER), *(row.cells() for row in rows)]
    return PAGE.format(command=command, table="\n".join(f"| {' | '.join(line)} |" for line in lines))
