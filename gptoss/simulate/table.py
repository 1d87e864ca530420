"""The table of simulated peaks, for the terminal and for `docs/memory.md`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gptoss.train.run_config import RunConfig

if TYPE_CHECKING:
    from gptoss.simulate.simulated_rank import PeakMemory

HEADER = (
    "profile", "cluster", "ranks", "mesh (pp x replicate x shard x tp)", "micro-batches", "recomputed", "position",
    "parameters", "gradients", "optimizer", "activations", "peak GB",
)  # fmt: skip

PAGE = """# Memory of a rank

Peak of live tensor storage in one training step, in GB (10⁹ bytes), of the first rank at a pipeline position.
Made by simulation on one machine without a GPU:

```bash
{command}
```

{table}

The simulated step is the one that trains: the same sharding, pipeline schedule, loss and optimizer, run with fake
tensors (shapes and storages, no values) in a fake process group of the cluster's size.
*Parameters*: shards of float32 master weights and gathered float16 weights. *Gradients*: float32 sums over
micro-batches, unsharded until they are reduced once per step, and the reduced shards. *Activations*: what the backward
pass needs, one receive buffer per micro-batch and direction, and temporaries of running operations.

Not counted: rounding and fragmentation of the CUDA allocator, blocks that wait for another stream, NCCL's buffers, the
workspaces of cuBLAS and attention kernels, the CUDA context. Leave 10 to 15 % of a GPU for them. On small meshes the
same count in real processes agrees with the simulation (tests/simulate/test_simulated_rank.py); on GPUs it has not been
compared. The resident size of a process is larger by its code and by memory that the allocator keeps: `tiny` in one CPU
process has 105 MiB alive at its peak and 522 MiB resident, 360 MiB of which before its first step.
"""


@dataclass(frozen=True)
class Row:
    """One simulated rank."""

    profile: str
    cluster: str
    run_config: RunConfig
    peak: PeakMemory

    def cells(self) -> tuple[str, ...]:
        """The row as text, in the order of `HEADER`."""
        mesh, peak = self.run_config.cluster.mesh, self.peak
        sizes = (peak.parameters, peak.gradients, peak.optimizer, peak.activations, peak.total)
        return (
            self.profile, self.cluster, str(mesh.size),
            f"{mesh.pp} x {mesh.dp_replicate} x {mesh.dp_shard} x {mesh.tp}", str(self.run_config.layout.micro_batches),
            self.run_config.cluster.activation_checkpointing, f"{peak.pp_rank + 1} of {mesh.pp}",
            # Three significant digits below 0.1 GB, where one decimal would print 0.0.
            *(f"{size / 1e9:.3g}" if size < 1e8 else f"{size / 1e9:.1f}" for size in sizes),
        )  # fmt: skip


def as_text(rows: list[Row]) -> str:
    """Aligned columns."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def as_markdown(rows: list[Row]) -> str:
    """The page `docs/memory.md`."""
    # In order and once each: a run has a row per position.
    runs = list(dict.fromkeys((row.profile, row.cluster) for row in rows))
    profiles, clusters = (" ".join(names) for names in zip(*runs, strict=True))
    command = f"gptoss simulate --profile {profiles} --cluster {clusters} --markdown docs/memory.md"
    lines = [HEADER, ("---",) * len(HEADER), *(row.cells() for row in rows)]
    return PAGE.format(command=command, table="\n".join(f"| {' | '.join(line)} |" for line in lines))
