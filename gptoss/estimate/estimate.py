"""From raw files to estimated documents, text, tokens and time per data stage, with the arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from gptoss.config.cluster import ClusterConfig
from gptoss.config.source import SourceConfig
from gptoss.core.formatting import count, duration, size
from gptoss.estimate.rates import PARALLEL_STAGES, Rate, Rates
from gptoss.estimate.raw_file_sizes import RawFiles

# What every stage takes besides its work: starting an interpreter, DVC's hashes, MLflow. Without it the estimate of a
# tiny corpus would be milliseconds.
STARTUP_SECONDS = 5.0
# As `ingest.documents_per_file`: one part is the work of one task.
DOCUMENTS_PER_PART = 50_000
# Bytes that the tokenizer reads at most, where no configuration says it.
TOKENIZER_SAMPLE = 10_000_000


@dataclass
class Row:
    """One stage: its input, its output and its time."""

    stage: str
    runs: bool
    """Whether DVC would run it."""
    input_bytes: float
    output: float
    """Bytes of text; for `shards`, tokens."""
    seconds: float
    arithmetic: str
    rate: Rate
    documents: float = 0.0
    """Documents of the output."""


@dataclass
class Estimate:
    """The rows of all data stages, and the sources without a file of a known size."""

    rows: list[Row] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Time of the stages that would run, one after the other: an upper bound, as sources can run in parallel."""
        return sum(row.seconds for row in self.rows if row.runs)


def estimate(
    sources: Mapping[str, SourceConfig],
    files: Mapping[str, RawFiles],
    rates: Rates,
    cluster: ClusterConfig,
    runs: set[str] | None = None,
    tokenizer_sample: int = TOKENIZER_SAMPLE,
    documents_per_part: int = DOCUMENTS_PER_PART,
) -> Estimate:
    """The rows of the data stages. `runs` are the stages that DVC would run; None means all."""
    result = Estimate()
    text = documents = 0.0
    parts = 0

    def add(name: str, format_: str, input_bytes: float, tasks: int) -> Row:
        rate = rates.of(name.partition("@")[0], format_, input_bytes)
        seconds, arithmetic = _time(rate, input_bytes, cluster, tasks)
        row = Row(
            name, runs is None or name in runs, input_bytes, input_bytes * rate.output_ratio, seconds, arithmetic, rate
        )
        result.rows.append(row)
        return row

    for source, config in sorted(sources.items()):
        raw = files[source].bytes
        if raw is None or not files[source].chosen:
            result.unknown.append(source)
            continue
        ingested = add(f"ingest@{source}", config.format, raw, files[source].chosen)
        if ingested.rate.document_bytes:
            ingested.documents = ingested.output / ingested.rate.document_bytes
        source_parts = max(1, math.ceil(ingested.documents / documents_per_part))
        curated = add(f"curate@{source}", config.format, ingested.output, source_parts)
        # Where the table gives no size of curated documents, curation keeps the same share of documents as of bytes.
        per_document = curated.rate.document_bytes
        curated.documents = (
            curated.output / per_document if per_document else ingested.documents * curated.rate.output_ratio
        )
        text, documents, parts = text + curated.output, documents + curated.documents, parts + source_parts
    if not result.rows:
        return result
    for name in ("dedup", "decontaminate"):
        row = add(name, "", text, parts)
        row.documents = documents = documents * row.rate.output_ratio
        text = row.output
    add("tokenizer", "", min(tokenizer_sample, text), 1)
    add("shards", "", text, 1).documents = documents
    return result


def _time(rate: Rate, input_bytes: float, cluster: ClusterConfig, tasks: int) -> tuple[float, str]:
    """Seconds of a stage, and the arithmetic behind them."""
    parallel = rate.stage in PARALLEL_STAGES
    # Never more workers than tasks: one large file is read by one task, however many workers the cluster has.
    workers = max(1, min(cluster.data_workers, tasks)) if parallel else 1
    seconds = input_bytes / (rate.bytes_per_second * workers) + STARTUP_SECONDS
    factor = f" × {workers}" if workers > 1 else ""
    remark = ""
    if parallel and workers < cluster.data_workers:
        busy = f"{workers} of {cluster.data_workers} busy"
        remark = f" ({count(tasks)} {'task keeps' if tasks == 1 else 'tasks keep'} {busy})"
    speed = f"{size(rate.bytes_per_second)}/s{factor}"
    arithmetic = f"{size(input_bytes)} / ({speed}) + {STARTUP_SECONDS:.0f} s = {duration(seconds)}{remark}"
    return seconds, arithmetic
