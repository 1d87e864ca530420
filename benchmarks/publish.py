"""Publishing compared with `cp`: float32 safetensors streamed to float16, on the disk that holds the cache folder.

    python benchmarks/publish.py [--megabytes 2000] [--shard-megabytes 250] [--cache FOLDER]

The source has random weights in files of twice the shard size. Ours reads 4 bytes per value, writes 2, hashes them, and
fsyncs every file. `cp` with fsync copies what ours wrote (reads 2, writes 2) and also the source (reads 4, writes 4).
They take turns with a warm page cache; figures are medians. Ours runs in a separate process; its peak memory is
reported with and without what the imports take.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ROUNDS = 5
COLUMNS = 4096
# Run by `python -c`: a new process has no memory of the other contestants in its peak.
OURS = """
import json, sys, time
from pathlib import Path
import torch
from gptoss.core.memory import peak_memory as peak
from gptoss.publish import weights
from gptoss.core.atomic_files import atomic_folder

torch.set_num_threads(1)
torch.zeros(8).half()  # loads the cast before the clock starts
base, started = peak(), time.perf_counter()
with atomic_folder(Path(sys.argv[2])) as folder:  # fsyncs every file, as the stage does
    converted = weights.convert(Path(sys.argv[1]), folder, int(sys.argv[3]))
print(json.dumps({"seconds": time.perf_counter() - started, "base": base, "peak": peak(), "files": converted.files}))
"""


def write_source(folder: Path, total: int, file_bytes: int) -> None:
    """Write random float32 safetensors of `total` bytes: files of `file_bytes` with two tensors each."""
    import torch

    from gptoss.core.atomic_files import atomic_folder, write_json
    from gptoss.tables.safetensors_files import SafetensorsWriter

    count = max(1, round(total / file_bytes))
    shape = (file_bytes // 2 // 4 // COLUMNS, COLUMNS)
    weight_map: dict[str, str] = {}
    generator = torch.Generator().manual_seed(0)
    with atomic_folder(folder) as partial:
        for number in range(1, count + 1):
            file = f"model-{number:05d}-of-{count:05d}.safetensors"
            names = [f"model.layers.{number}.{half}.weight" for half in ("a", "b")]
            with SafetensorsWriter(partial / file, dict.fromkeys(names, (torch.float32, shape))) as writer:
                # Row by row, so that memory stays small at any size.
                for name in names:
                    writer.write(name, (torch.randn(COLUMNS, generator=generator) for _ in range(shape[0])))
            weight_map |= dict.fromkeys(names, file)
        write_json(partial / "model.safetensors.index.json", {"weight_map": weight_map})


def ours(source: Path, target: Path, shard_bytes: int) -> dict[str, float]:
    """Seconds of a conversion in a new process, and its peak memory in bytes before (`base`) and after (`peak`)."""
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-c", OURS, str(source), str(target), str(shard_bytes)]
    completed = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, float] = json.loads(completed.stdout.splitlines()[-1])
    return result


def copy(source: Path, target: Path) -> float:
    """Seconds of `cp` and fsync of every file; without reflinks, which would copy nothing."""
    shutil.rmtree(target, ignore_errors=True)
    started = time.perf_counter()
    subprocess.run(["cp", "-r", "--reflink=never", source, target], check=True)
    for path in target.iterdir():
        with open(path, "rb") as stream:
            os.fsync(stream.fileno())
    return time.perf_counter() - started


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000, help="size of the source in 10^6 bytes of float32")
    parser.add_argument("--shard-megabytes", type=int, default=250)
    parser.add_argument("--cache", type=Path, default=ROOT / ".benchmarks")
    options = parser.parse_args()
    shard = options.shard_megabytes * 10**6
    source = options.cache / f"publish-{options.megabytes}-{options.shard_megabytes}"
    if not source.exists():
        write_source(source, options.megabytes * 10**6, 2 * shard)
    target, copied = options.cache / "publish-ours", options.cache / "publish-copy"
    runs, copies, source_copies = [], [], []
    # Ours first in each round: it brings the source into the page cache for `cp`.
    for _ in range(ROUNDS):
        runs.append(ours(source, target, shard))
        copies.append(copy(target, copied))
        source_copies.append(copy(source, copied))
    published = sum(path.stat().st_size for path in target.glob("*.safetensors"))
    for folder in (target, copied):
        shutil.rmtree(folder)
    seconds = statistics.median(run["seconds"] for run in runs)
    peak, base = (max(run[key] for run in runs) for key in ("peak", "base"))
    print(
        json.dumps(
            {
                "ratio_cp": round(statistics.median(copies) / seconds, 2),
                "ratio_cp_source": round(statistics.median(source_copies) / seconds, 2),
                "peak_rss_mb": round(peak / 1e6),
                "peak_over_import_mb": round((peak - base) / 1e6),
                "allowed_peak_rss_mb": 2 * options.shard_megabytes + 1000,  # two shards, and 1 GB for the imports
                "published_mb": round(published / 1e6),
                "published_mb_per_second": round(published / 1e6 / seconds, 1),
                "cp_mb_per_second": round(published / 1e6 / statistics.median(copies), 1),
                "shard_mb": options.shard_megabytes,
                "rounds": ROUNDS,
            }
        )
    )


if __name__ == "__main__":
    main()
