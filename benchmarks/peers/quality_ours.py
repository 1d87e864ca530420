"""Ours: `time DOCUMENTS FAMILY` prints the seconds for all documents with the published bounds of one family of rules,
or of all families (`chain`), without compiling kernels and building tables."""

from __future__ import annotations

import json
import sys
import time

import pyarrow as pa
from filters.agreement import PUBLISHED

from gptoss.quality.rule_families import apply_rules
from gptoss.tables.batches import BATCH_BYTES

MIN_SECONDS = 1.0  # passes are repeated for this long, because one takes a few hundredths of a second


def measure(documents: str, name: str) -> None:
    """Print the seconds of one pass over the documents, in batches of the stage's size, and the number kept."""
    with open(documents) as lines:
        batches = _batches([json.loads(line) for line in lines])
    quality = PUBLISHED[name]
    apply_rules(*batches[0], quality)  # compiles the kernels
    start, cpu, passes = time.perf_counter(), time.process_time(), 0
    while passes == 0 or time.perf_counter() - start < MIN_SECONDS:
        kept = sum(apply_rules(texts, languages, quality).reason.null_count for texts, languages in batches)
        passes += 1
    seconds = {
        "seconds": (time.perf_counter() - start) / passes,
        "cpu_seconds": (time.process_time() - cpu) / passes,
    }
    print(json.dumps({**seconds, "kept": kept}))


def _batches(documents: list[str]) -> list[tuple[pa.Array, pa.Array]]:
    # As `gptoss.tables.batches` cuts them: the cost per batch is part of the measurement.
    batches, start, size = [], 0, 0
    for number, text in enumerate(documents, 1):
        size += len(text.encode())
        if size >= BATCH_BYTES or number == len(documents):
            texts = documents[start:number]
            batches.append((pa.array(texts, pa.large_string()), pa.array(["en"] * len(texts))))
            start, size = number, 0
    return batches


if __name__ == "__main__":
    {"time": measure}[sys.argv[1]](*sys.argv[2:])
