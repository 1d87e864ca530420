"""Quality rules compared with datatrove's filters: same documents, published bounds, one core each.

    python benchmarks/quality.py [--megabytes 1.5] [--rounds 3] [--folder .benchmarks] [--data ../shared/data]
    python benchmarks/quality.py --record    # writes tests/quality/datatrove.parquet

datatrove runs as shipped (spaCy's tokenizer) in a separate environment. The documents are those of
`filters/documents.py`: real text, synthetic text, and seeded changes to both. Both take turns, filter by filter. Ratios
are of median CPU seconds, because waiting for a busy machine is a property of neither. The last line of the output is
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from environments import environment
from filters.documents import digest, documents

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(__file__).resolve().parent / "peers"
# `processing` brings the tokenizers of the filters; spaCy and NLTK are pinned because their versions change decisions.
REQUIREMENTS = ("datatrove[processing]==0.10.1", "spacy==3.8.18", "nltk==3.10.4")
RECORD = ROOT / "tests" / "quality" / "datatrove.parquet"
# Names of datatrove's filters in the result, and of our families of rules.
NAMES = {
    "gopher_quality": "gopher", "gopher_repetition": "repetition", "c4": "c4", "fineweb": "fineweb", "chain": "chain",
}  # fmt: skip


def main() -> None:
    """Record datatrove's decisions, or compare speed and decisions."""
    sys.path.insert(0, str(ROOT))
    from filters.agreement import agreement, apply_all_rules

    arguments = _arguments()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    python = environment(arguments.folder.resolve() / "datatrove", REQUIREMENTS)
    if python is None:
        sys.exit("error: without datatrove there is nothing to compare with")
    data = arguments.data if arguments.data.is_dir() else None
    # Without repetitions: decisions are recorded by hash.
    texts = list(dict.fromkeys(documents(data)))
    if arguments.record:
        write_record(texts, datatrove_decisions(python, texts, arguments.folder))
        return
    texts = sample(texts, int(arguments.megabytes * 1e6))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    file = arguments.folder / "quality.jsonl"
    file.write_text("".join(json.dumps(text) + "\n" for text in texts))
    seconds = take_turns(python, file, arguments.rounds)
    result: dict[str, Any] = {"documents": len(texts), "megabytes": round(megabytes, 3), "rounds": arguments.rounds}
    for name, family in NAMES.items():
        ours, theirs = seconds["ours", family], seconds["datatrove", family]
        result[f"ratio_{name}"] = round(theirs / ours, 1)
        result[f"mb_per_s_{name}"] = round(megabytes / ours, 1)
        result[f"mb_per_s_datatrove_{name}"] = round(megabytes / theirs, 3)
    # After the timing, which runs the same filters as shipped and keeps no decisions.
    header, rows = datatrove_decisions(python, texts, arguments.folder)
    result["agreement"] = agreement(apply_all_rules(texts), header["rules"], [row[0] for row in rows])
    print(json.dumps(result))


def sample(texts: Sequence[str], max_bytes: int) -> list[str]:
    """Evenly spaced documents of about `max_bytes` bytes in total."""
    total = sum(len(text.encode()) for text in texts)
    step = max(1, round(total / max_bytes))
    return list(texts[::step])


def take_turns(python: Path, file: Path, rounds: int) -> dict[tuple[str, str], float]:
    """Median CPU seconds by contestant and family."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for family in NAMES.values():
            for contestant, interpreter in (("ours", sys.executable), ("datatrove", python)):
                stdout = _run([interpreter, PEERS / f"quality_{contestant}.py", "time", file, family])
                print(f"round {number + 1}: {family} {contestant} {stdout.strip()}", file=sys.stderr)
                seconds.setdefault((contestant, family), []).append(json.loads(stdout)["cpu_seconds"])
    return {key: median(values) for key, values in seconds.items()}


def datatrove_decisions(python: Path, texts: Sequence[str], folder: Path) -> tuple[dict[str, Any], list[list[str]]]:
    """datatrove's versions and rules, and for each document its decisions and the digests of resulting texts."""
    file, target = folder / "quality-decide.jsonl", folder / "quality-decisions.jsonl"
    file.write_text("".join(json.dumps(text) + "\n" for text in texts))
    _run([python, PEERS / "quality_datatrove.py", "decide", file, target])
    lines = target.read_text().splitlines()
    return json.loads(lines[0]), [json.loads(line) for line in lines[1:]]


def write_record(texts: Sequence[str], decided: tuple[dict[str, Any], list[list[str]]]) -> None:
    """Write the decisions by SHA-256 of the text; the metadata of the file describes how they were made."""
    header, rows = decided
    texts_after = {
        name: pa.array([bytes.fromhex(row[1 + number]) for row in rows], pa.binary(4))
        for number, name in enumerate(header["texts"])
    }
    # Truncated hashes keep the file small; 64 bits identify a few thousand documents.
    columns = {
        "sha256": pa.array([bytes.fromhex(digest(text)) for text in texts], pa.binary(8)),
        "decisions": pa.array([row[0] for row in rows]),
        **texts_after,
    }
    metadata = {
        "made_by": "benchmarks/quality.py --record",
        **{key: json.dumps(value) for key, value in header.items()},
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), RECORD, compression="zstd")
    print(f"{RECORD}: {len(texts)} documents", file=sys.stderr)


def _run(command: Sequence[object]) -> str:
    """Output of a command that runs on one core with one thread in every library."""
    # The same core for both: cores of one machine may run at different clock rates.
    core = str(sorted(os.sched_getaffinity(0))[0])
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA", "ARROW")}
    completed = subprocess.run(
        ["taskset", "-c", core, *map(str, command)], stdout=subprocess.PIPE, text=True, check=True,
        env={**os.environ, **threads, "PYTHONPATH": f"{ROOT}:{PEERS.parent}"},
    )  # fmt: skip
    return completed.stdout


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1.5, help="of documents to measure with")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / ".benchmarks", help="folder of environments and inputs")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="sample data; left out if missing"
    )
    parser.add_argument("--record", action="store_true", help="write datatrove's decisions for the tests")
    return parser.parse_args()


if __name__ == "__main__":
    main()
