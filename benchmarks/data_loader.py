"""Throughput of the data loader, and how long the training step of `params.yaml` waits for batches.

    python benchmarks/data_loader.py [--tokens 50000000] [--seconds 15]

Reads shards of random tokens from four sources at three context lengths, in proportion to tokens and by a mixture, with
one thread and files in the page cache. Then runs the real step (`gptoss.train.step`) in one process and measures the
wait for each batch, with prefetching and with batches read on demand. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Fraction of the tokens per source. The mixture differs from it, so that sources are read at different rates.
SHARES = {"books": 0.05, "code": 0.1, "papers": 0.15, "web": 0.7}
MIXTURE = {"books": 0.3, "code": 0.1, "papers": 0.2, "web": 0.4}
CONTEXTS = (256, 2_048, 8_192)
BATCH_TOKENS = 2**19
# Steps before the measurement starts.
WARM_UP = 5


def write_shards(folder: Path, tokens: int, vocab_size: int) -> None:
    """Write a training and a validation split of random tokens, four files each."""
    from gptoss.tables.token_files import INDEX, token_dtype

    folder.mkdir(parents=True)
    splits: dict[str, Any] = {}
    for split, size in (("train", tokens), ("validation", 100_000)):
        parts = np.array_split(
            np.random.default_rng(size).integers(0, vocab_size, size).astype(token_dtype(vocab_size)), 4
        )
        shards = []
        for number, part in enumerate(parts):
            name = f"{split}-{number:05d}.bin"
            part.tofile(folder / name)
            digest = hashlib.sha256(part.tobytes()).hexdigest()
            shards.append({"file": name, "tokens": len(part), "sha256": digest})
        # Sources are contiguous ranges of a split, in alphabetical order, as the stage `shards` writes them.
        ends = np.round(np.cumsum([0, *SHARES.values()]) * size).astype(int).tolist()
        sources = {
            name: {"start": start, "tokens": stop - start}
            for name, start, stop in zip(SHARES, ends[:-1], ends[1:], strict=True)
        }
        splits[split] = {"shards": shards, "tokens": size, "documents": 1, "bytes": 4 * size, "sources": sources}
    index = {"dtype": token_dtype(vocab_size).name, "vocab_size": vocab_size, "tokenizer_sha256": "", "splits": splits}
    (folder / INDEX).write_text(json.dumps(index))


def settings(**changes: Any) -> Any:
    """`params.yaml` with the sources of this benchmark; `section__key=value` overrides a value."""
    from gptoss.config.settings import Settings
    from gptoss.config.yaml_sections import check, load_yaml

    values = load_yaml(ROOT / "params.yaml")
    source = next(iter(values["sources"].values()))
    values["sources"] = dict.fromkeys(SHARES, source)
    for key, value in changes.items():
        section, name = key.split("__")  # keyword arguments cannot contain a dot
        values[section][name] = value
    return check(Settings, values, origin="params.yaml")


def read_rate(context: int, mixture: dict[str, float] | None, seconds: float) -> float:
    """Tokens per second of one thread that only reads batches."""
    from gptoss.core import paths
    from gptoss.tables.token_files import TokenSplit
    from gptoss.train.batches import read_windows
    from gptoss.train.mixture import SampleOrder

    split = TokenSplit.open(paths.SHARDS, "train")
    # `steps` is only an upper bound: the loop below stops by time.
    config = settings(
        model__context=context, pretrain__batch_tokens=BATCH_TOKENS, pretrain__steps=10**6, pretrain__mixture=mixture,
        instruct__max_length=256,
    )  # fmt: skip
    # Starts of windows are a pure function of the sample number, so computing them is part of the measured work.
    order, sequences = SampleOrder(split, config), config.pretrain.sequences_per_step(context)
    start, batches = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        read_windows(split, order.starts(batches * sequences, sequences), context)
        batches += 1
    return batches * BATCH_TOKENS / (time.perf_counter() - start)


def wait_times(folder: Path, seconds: float) -> dict[str, float]:
    """Median seconds of a step and of its wait for the batch, prefetched and read on demand."""
    from gptoss.config.cluster import load_cluster
    from gptoss.train.parallel_context import init_parallel_context
    from gptoss.train.run_config import RunConfig
    from gptoss.train.step import Trainer

    # One rank without torchrun: the process group still needs its variables.
    os.environ |= {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29431",
    }
    cluster = load_cluster()
    config = settings(pretrain__steps=10**6, pretrain__mixture=MIXTURE)
    run_config = RunConfig(
        settings=config, cluster=cluster, precision=config.pretrain.precision, state=folder, attempt="benchmark"
    )
    measured: dict[str, list[float]] = {"step": [], "wait": [], "wait_without_thread": []}
    with init_parallel_context(cluster) as parallel:
        trainer = Trainer(run_config, parallel)
        began, step = time.monotonic(), 0
        # At least WARM_UP measured steps, however slow the machine is.
        while step < 2 * WARM_UP or time.monotonic() - began < seconds:
            step += 1
            start = time.perf_counter()
            trainer.step(step)
            if step > WARM_UP:
                measured["step"].append(time.perf_counter() - start)
                measured["wait"].append(trainer.data_seconds)
        trainer.batches.close()  # stops the prefetching thread, which would otherwise share the core
        # Enough reads for a stable median of a few hundred microseconds each.
        for number in range(1, 201):
            start = time.perf_counter()
            trainer.batches.read(number)
            measured["wait_without_thread"].append(time.perf_counter() - start)
    return {key: statistics.median(values) for key, values in measured.items()}


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=50_000_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.environ["GPTOSS_CLUSTER"] = "single"
    from gptoss.config.settings import load_settings
    from gptoss.core import paths

    vocab_size = load_settings(ROOT / "params.yaml").tokenizer.padded_vocab_size
    result: dict[str, Any] = {"tokens_per_second": {}}
    with tempfile.TemporaryDirectory() as folder:
        # Paths are relative to the working directory: a scratch folder keeps the checkout's `data` untouched.
        (Path(folder) / "infra").symlink_to(ROOT / "infra")
        os.chdir(folder)
        write_shards(paths.SHARDS, arguments.tokens, vocab_size)
        for context in CONTEXTS:
            for name, mixture in (("proportional", None), ("mixture", MIXTURE)):
                rate = read_rate(context, mixture, arguments.seconds / 6)
                result["tokens_per_second"][f"{name}-{context}"] = round(rate)
                print(f"{name}, context {context}: {rate:,.0f} tokens/s", file=sys.stderr, flush=True)
        seconds = wait_times(Path(folder), arguments.seconds)
        os.chdir(ROOT)  # the temporary folder cannot be removed while it is the working directory
    result["seconds"] = {key: round(value, 6) for key, value in seconds.items()}
    result["waited_share_of_a_step"] = round(seconds["wait"] / seconds["step"], 5)
    result["share_without_thread"] = round(seconds["wait_without_thread"] / seconds["step"], 5)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
