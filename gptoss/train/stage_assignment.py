"""Which layers each stage of the pipeline holds, and which rank holds each stage.

Stages are numbered through the model. With several stages a rank, stage `s` is on pipeline rank `s mod pp`, as
interleaved schedules want it (Narayanan et al. 2021, section 2.2).
"""

from __future__ import annotations

import itertools

from gptoss.config.cluster import ClusterConfig
from gptoss.config.model import ModelConfig
from gptoss.models.decoder import matrix_elements


def split_layers(shape: ModelConfig, vocab_size: int, stages: int) -> list[range]:
    """Contiguous layers of each pipeline stage, so that the slowest stage is as fast as can be.

    Costs are multiply-adds a token: of a layer, its matrices and its attention over half the context; of the output
    head, its matrix, which the last stage carries on top of its layers.
    """
    if stages == 1:
        return [range(shape.layers)]
    layer = matrix_elements(shape) + shape.context * shape.hidden_size
    head = vocab_size * shape.hidden_size

    def slowest(last: int) -> int:
        return max(-(-(shape.layers - last) // (stages - 1)) * layer, last * layer + head)

    last = min(range(shape.layers - stages + 1, 0, -1), key=slowest)
    each, more = divmod(shape.layers - last, stages - 1)
    counts = [each + (number < more) for number in range(stages - 1)] + [last]
    edges = [sum(counts[:number]) for number in range(stages + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(edges)]


def stage_count(cluster: ClusterConfig) -> int:
    """Stages in the whole pipeline."""
    return cluster.mesh.pp * cluster.pipeline.stages_per_rank


def stages_of(pp_rank: int, cluster: ClusterConfig) -> range:
    """Numbers of the stages on one pipeline rank."""
    return range(pp_rank, stage_count(cluster), cluster.mesh.pp)
