"""The contestants, and one run of one of them in a process of its own on cores of its own."""

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

PEERS = Path(__file__).resolve().parents[1] / "peers"
ROOT = PEERS.parents[1]
SECONDS_BETWEEN_SAMPLES = 0.1
THREADS = ("OMP", "OPENBLAS", "MKL", "RAYON", "NUMBA")


@dataclass(frozen=True)
class Contestant:
    """A script of `peers/`, what it runs on and with."""

    name: str
    script: str
    size: str
    """Of the corpus: slow ones get less, as MB/s are compared."""
    requirements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it runs in this environment."""
        return not self.requirements

    @property
    def environment(self) -> str:
        """Name of its environment; the same script shares one."""
        return self.script.removesuffix(".py")


_TROVE = (
    "datatrove==0.10.1",
    "spacy==3.8.18",
    "tokenizers==0.23.3",
    "orjson==3.13.0",
    "xxhash==3.8.2",
    "regex==2026.11.15",
    "numpy==2.4.6",
)
_SKETCH = ("datasketch==2.0.0", "orjson==3.13.0", "numpy==2.4.6", "scipy==1.17.1")
_RENSA = ("rensa==0.5.0", "orjson==3.13.0")

OURS = Contestant("ours", "dedup_ours.py", "all")
TWO_WORKERS = Contestant("ours, 2 cores", "dedup_ours.py", "all", options=("--workers", "2"))
TENTH = Contestant("ours, a tenth", "dedup_ours.py", "tenth")
RIVALS = (
    Contestant("rensa", "dedup_rensa.py", "all", _RENSA),
    Contestant("datasketch", "dedup_datasketch.py", "all", _SKETCH),
    Contestant("datatrove_split", "dedup_datatrove.py", "tenth", _TROVE, ("--split",)),
    Contestant("datatrove", "dedup_datatrove.py", "thirtieth", _TROVE),
)


@dataclass(frozen=True)
class Outcome:
    """One run. `peak_rss_mb` is of its one process; `peak_pss_mb` of all its processes, where that was asked for."""

    seconds: float
    cpu_seconds: float
    peak_rss_mb: float
    peak_pss_mb: float
    labels: list[int]


def run(
    contestant: Contestant, python: Path, corpus: Corpus, cores: Sequence[int], *, sample_memory: bool = False
) -> Outcome | None:
    """Run it once; None, with the reason on stderr, when it fails."""
    documents = corpus.folder if contestant.ours else corpus.lines
    with tempfile.TemporaryDirectory(dir=corpus.folder.parent) as scratch:
        target = Path(scratch) / "labels"
        command = ["taskset", "-c", ",".join(map(str, cores)), str(python), str(PEERS / contestant.script)]
        command += [str(documents), str(target), *contestant.options]
        with (Path(scratch) / "messages").open("w+") as messages:
            process = subprocess.Popen(
                command, env=_variables(contestant.ours), cwd=ROOT, stdout=subprocess.PIPE, stderr=messages, text=True
            )
            with Memory(process.pid, sample_memory) as memory:
                said, _ = process.communicate()
            if process.returncode:
                messages.seek(0)
                tail = "".join(messages.readlines()[-5:])
                print(f"{contestant.name} failed (exit {process.returncode}):\n{tail}", file=sys.stderr)
                return None
        measured = json.loads(said.splitlines()[-1])
        labels = array("q", target.read_bytes()).tolist()
        return Outcome(**measured, peak_pss_mb=memory.peak / 1e6, labels=labels)


def _variables(ours: bool) -> dict[str, str]:
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {f"{library}_NUM_THREADS": "1" for library in THREADS} | {"POLARS_MAX_THREADS": "1"}
    variables |= {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "DAFT_ANALYTICS_ENABLED": "0"}
    return variables | ({"PYTHONPATH": str(ROOT)} if ours else {})


class Memory:
    """Watches the proportional set size of a process and its children, bytes: shared pages count once."""

    def __init__(self, pid: int, wanted: bool) -> None:
        self._process = psutil.Process(pid) if wanted else None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak = 0

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while self._process and not self._over.wait(SECONDS_BETWEEN_SAMPLES):
            self.peak = max(self.peak, sum(map(_pss, _family(self._process))))


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
