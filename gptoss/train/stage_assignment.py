"""Which layers each pipeline stage holds, and which rank holds each of them.

Pipeline stages are numbered from the embedding to the head. With several stages per rank, stage `s` is on pipeline rank
`s mod pp`, as interleaved schedules need it (Narayanan et al. 2021, section 2.2).
"""

from __future__ import annotations

import itertools

from gptoss.config.cluster import ClusterConfig
from gptoss.config.model import ModelConfig
from gptoss.models.decoder import matrix_elements


def split_layers(config: ModelConfig, vocab_size: int, stages: int) -> list[range]:
    """Contiguous layers per pipeline stage that minimise the cost of the slowest stage.

    Costs are multiply-adds per token: of a layer, its matrices and its attention over half the context; of the output
    head, its matrix. All stages but the last differ by at most one layer, so only the size of the last one is searched.
    """
    if stages == 1:
        return [range(config.layers)]
    # Causal attention: scores and values are D multiply-adds each per visible position, on average context / 2 of them.
    layer_cost = matrix_elements(config) + config.context * config.hidden_size
    head_cost = vocab_size * config.hidden_size

    def slowest(last: int) -> int:
        return max(-(-(config.layers - last) // (stages - 1)) * layer_cost, last * layer_cost + head_cost)

    # Ties go to the larger last stage, since `range` counts down: the earlier stages hold more activations in 1F1B.
    last = min(range(config.layers - stages + 1, 0, -1), key=slowest)
    per_stage, remainder = divmod(config.layers - last, stages - 1)
    # The earlier stages get the remainder; any choice among them has the same cost.
    counts = [per_stage + (stage < remainder) for stage in range(stages - 1)] + [last]
    boundaries = [0, *itertools.accumulate(counts)]
    return [range(start, stop) for start, stop in itertools.pairwise(boundaries)]


def stage_count(cluster: ClusterConfig) -> int:
    """Stages of the whole pipeline."""
    return cluster.mesh.pp * cluster.pipeline.stages_per_rank


def stages_of_rank(pp_rank: int, cluster: ClusterConfig) -> range:
    """Stage numbers on one pipeline rank."""
    return range(pp_rank, stage_count(cluster), cluster.mesh.pp)
