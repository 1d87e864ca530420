"""From raw files to estimated documents, text, tokens and time, stage by stage, with the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gptoss.config.cluster import ClusterConfig
from gptoss.config.source import SourceConfig
from gptoss.core.formatting import count, duration, size
from gptoss.estimate.rates import SCALED, Rate, Rates
from gptoss.estimate.raw_file_sizes import RawFiles

START = 5.0
"""Seconds every stage takes besides its work: an interpreter, DVC's hashes, MLflow."""
DOCUMENTS_PER_PART = 50_000
"""As `ingest.documents_per_file`: a part is the work of one task."""
TOKENIZER_SAMPLE = 10_000_000
"""Bytes the tokenizer reads at most, where no configuration says it."""


@dataclass(frozen=True)
class Row:
    """One stage: what it reads, what it makes, how long it takes."""

    stage: str
    runs: bool
    """Whether DVC would run it."""
    reads: float
    makes: float
    """Bytes of text; of `shards` tokens."""
    documents: float
    seconds: float
    arithmetic: str
    rate: Rate


@dataclass
class Estimate:
    """All rows, and the sources of which nothing can be said."""

    rows: list[Row] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Of the stages that would run, one after the other."""
        return sum(row.seconds for row in self.rows if row.runs)


def estimate(
    sources: Mapping[str, SourceConfig],
    files: Mapping[str, RawFiles],
    rates: Rates,
    cluster: ClusterConfig,
    runs: set[str] | None = None,
    sample: int = TOKENIZER_SAMPLE,
    documents_per_part: int = DOCUMENTS_PER_PART,
) -> Estimate:
    """The rows of the data stages. `runs` are the stages DVC would run (None: all); `sample` is what the tokenizer
    reads."""
    plan = Estimate()
    text = documents = 0.0
    parts = 0

    def stage(name: str, format_: str, reads: float, tasks: int) -> Row:
        rate = rates.of(name.partition("@")[0], format_, reads)
        seconds, arithmetic = _time(rate, reads, cluster, tasks)
        makes = reads * rate.out
        row = Row(name, runs is None or name in runs, reads, makes, 0.0, seconds, arithmetic, rate)
        plan.rows.append(row)
        return row

    for source, settings in sorted(sources.items()):
        raw = files[source].bytes
        if raw is None or not files[source].chosen:
            plan.unknown.append(source)
            continue
        ingested = stage(f"ingest@{source}", settings.format, raw, files[source].chosen)
        made = ingested.makes / ingested.rate.document if ingested.rate.document else 0.0
        of_source = max(1, math.ceil(made / documents_per_part))
        curated = stage(f"curate@{source}", settings.format, ingested.makes, of_source)
        _replace(plan, ingested, made)
        kept = curated.makes / curated.rate.document if curated.rate.document else made * curated.rate.out
        _replace(plan, curated, kept)
        text, documents, parts = text + curated.makes, documents + kept, parts + of_source
    if not plan.rows:
        return plan
    for name in ("dedup", "decontaminate"):
        row = stage(name, "", text, parts)
        documents *= row.rate.out
        _replace(plan, row, documents)
        text = row.makes
    stage("tokenizer", "", min(sample, text), 1)
    _replace(plan, stage("shards", "", text, 1), documents)
    return plan


def _replace(plan: Estimate, row: Row, documents: float) -> None:
    """Tell how many documents a row makes."""
    values = vars(row) | {"documents": documents}
    plan.rows[plan.rows.index(row)] = Row(**values)


def _time(rate: Rate, reads: float, cluster: ClusterConfig, tasks: int) -> tuple[float, str]:
    """Seconds of a stage, and how they come about."""
    spread = rate.stage in SCALED
    workers = max(1, min(cluster.data_workers, tasks)) if spread else 1
    seconds = reads / (rate.bytes_per_second * workers) + START
    by = f" × {workers}" if workers > 1 else ""
    why = ""
    if spread and workers < cluster.data_workers:
        busy = f"{workers} of {cluster.data_workers} busy"
        why = f" ({count(tasks)} {'task keeps' if tasks == 1 else 'tasks keep'} {busy})"
    arithmetic = f"{size(reads)} / ({size(rate.bytes_per_second)}/s{by}) + {START:.0f} s = {duration(seconds)}{why}"
    return seconds, arithmetic
