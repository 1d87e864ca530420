"""The contestants of the deduplication benchmark, and how one of them is run in a separate process on given cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from duplicates.corpus import Corpus

SCRIPTS = Path(__file__).resolve().parents[1] / "peers"
ROOT = SCRIPTS.parents[1]
SECONDS_BETWEEN_SAMPLES = 0.1
# Libraries that read NAME_NUM_THREADS and would otherwise start a thread per core.
THREADS = ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA")


@dataclass(frozen=True)
class Contestant:
    """A script of `peers/` with its corpus, environment and options."""

    name: str
    script: str
    size: str
    """Size of its corpus: slow contestants get a fraction, because MB/s are compared."""
    requirements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """True if it runs in the environment of this process."""
        return not self.requirements

    @property
    def environment(self) -> str:
        """Name of its environment; contestants with the same script share one."""
        return self.script.removesuffix(".py")


# Dependencies that affect the speed are pinned too: otherwise pip chooses newer ones in later runs.
_DATATROVE = (
    "datatrove==0.10.1",
    "spacy==3.8.18",
    "tokenizers==0.23.3",
    "orjson==3.13.0",
    "xxhash==3.8.2",
    "regex==2026.11.15",
    "numpy==2.4.6",
)
_DATASKETCH = ("datasketch==2.0.0", "orjson==3.13.0", "numpy==2.4.6", "scipy==1.17.1")
_RENSA = ("rensa==0.5.0", "orjson==3.13.0")

# `TENTH` shows how memory grows with the corpus, `TWO_WORKERS` how time falls with a second core.
OURS = Contestant("ours", "dedup_ours.py", "all")
TWO_WORKERS = Contestant("ours, 2 cores", "dedup_ours.py", "all", options=("--workers", "2"))
TENTH = Contestant("ours, a tenth", "dedup_ours.py", "tenth")
PEERS = (
    Contestant("rensa", "dedup_rensa.py", "all", _RENSA),
    Contestant("datasketch", "dedup_datasketch.py", "all", _DATASKETCH),
    Contestant("datatrove_split", "dedup_datatrove.py", "tenth", _DATATROVE, ("--split",)),
    Contestant("datatrove", "dedup_datatrove.py", "thirtieth", _DATATROVE),
)


@dataclass(frozen=True)
class RunResult:
    """One run. `peak_rss_mb`: of the main process; `peak_pss_mb`: of all its processes, 0 unless sampled.

    `labels`: for each document, the position of the document kept in its place.
    """

    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    peak_pss_mb: float
    labels: list[int]


def run(
    contestant: Contestant, python: Path, corpus: Corpus, cores: Sequence[int], *, sample_memory: bool = False
) -> RunResult | None:
    """Run a contestant once. Returns None, with the reason on stderr, when it fails."""
    documents = corpus.folder if contestant.ours else corpus.lines
    # Beside the corpus: /tmp may be a small tmpfs.
    with tempfile.TemporaryDirectory(dir=corpus.folder.parent) as scratch:
        target = Path(scratch) / "labels"
        command = ["taskset", "-c", ",".join(map(str, cores)), str(python), str(SCRIPTS / contestant.script)]
        command += [str(documents), str(target), *contestant.options]
        with (Path(scratch) / "messages").open("w+") as messages:
            process = subprocess.Popen(
                command, env=_variables(contestant.ours), cwd=ROOT, stdout=subprocess.PIPE, stderr=messages, text=True
            )
            # From outside the process: sampling inside it would count as its own time.
            with MemorySampler(process.pid, sample_memory) as memory:
                stdout, _ = process.communicate()
            if process.returncode:
                messages.seek(0)
                tail = "".join(messages.readlines()[-5:])
                print(f"{contestant.name} failed (exit {process.returncode}):\n{tail}", file=sys.stderr)
                return None
        measured = json.loads(stdout.splitlines()[-1])
        labels = array("q", target.read_bytes()).tolist()
        return RunResult(**measured, peak_pss_mb=memory.peak / 1e6, labels=labels)


def _variables(ours: bool) -> dict[str, str]:
    # Not this environment's packages for a peer: its own Python finds its own.
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {f"{library}_NUM_THREADS": "1" for library in THREADS} | {"POLARS_MAX_THREADS": "1"}
    # No network and no telemetry while measuring.
    variables |= {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "DAFT_ANALYTICS_ENABLED": "0"}
    return variables | ({"PYTHONPATH": str(ROOT)} if ours else {})


class MemorySampler:
    """Samples the proportional set size, in bytes, of a process and its descendants; shared pages count once."""

    def __init__(self, pid: int, enabled: bool) -> None:
        self._process = psutil.Process(pid) if enabled else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.peak = 0

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while self._process and not self._stop.wait(SECONDS_BETWEEN_SAMPLES):
            self.peak = max(self.peak, sum(map(_pss, _process_tree(self._process))))


def _process_tree(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:  # it ended between two samples
        return []


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it ended while it was being read
        return 0
