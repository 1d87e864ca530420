"""Paths that stages read and write, relative to the root of the checkout. `dvc.yaml` declares the same paths."""

from __future__ import annotations

from pathlib import Path

BENCHMARKS = Path("data/benchmarks")
DEDUPED = Path("data/deduped")
CLEAN = Path("data/clean")
TOKENIZER = Path("data/tokenizer")
SHARDS = Path("data/shards")
PRETRAINED = Path("models/base")
INSTRUCT = Path("models/instruct")
REPORTS = Path("reports")
METRICS = Path("metrics")
# Resume state of unfinished stages and downloaded archives. Never a DVC output: DVC deletes outputs before a run.
RUNS = Path(".runs")

VARIANTS = ("base", "instruct")
"""The published models: as pretrained, and fine-tuned to chat."""


def documents(source: str) -> Path:
    """Output of `ingest@source`."""
    return Path("data/documents") / source


def curated(source: str) -> Path:
    """Output of `curate@source`."""
    return Path("data/curated") / source


def published(name: str, variant: str) -> Path:
    """Output of `publish@variant`: the folder that `AutoModelForCausalLM.from_pretrained` loads."""
    return Path("gpt-oss") / (name if variant == "base" else f"{name}-{variant}")


def evaluation(variant: str) -> Path:
    """Output of `evaluate@variant`."""
    return Path("data/evaluations") / variant


def metrics(stage: str) -> Path:
    """Metrics of a stage such as `ingest@wikipedia`, read by `dvc metrics show`."""
    return METRICS / f"{stage.replace('@', '-')}.json"
