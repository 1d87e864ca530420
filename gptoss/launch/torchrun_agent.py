"""torchrun as our launcher needs it: `python -m gptoss.launch.torchrun_agent`, with torchrun's own arguments.

What it adds: it ends with the stage that started it; it reports which rank died first; it forwards SIGTERM to the
ranks, which save and stop by themselves, and ends them on SIGQUIT (stock torchrun kills ranks that are still saving
when its shutdown timeout is over). As the torchrun of one of several nodes (`gptoss.launch.node`) its exit code tells
the scheduler whether to restart.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from gptoss.core.errors import DataError, Preempted, UserError
from gptoss.core.process import die_with_parent
from gptoss.launch.environment import LAUNCHER_PID_ENV, RUN_CONFIG_ENV, STOPPED_ENV
from gptoss.launch.failures import Failure, report
from gptoss.train.run_config import RunConfig

# Ends this process and its ranks. Not SIGTERM, which has the meaning "save, then stop" here.
END = signal.SIGQUIT
# Time for a rank to end after another one has died, before it is killed. It cannot save any more, so this is short.
SHUTDOWN_SECONDS = 5


def main() -> int:
    """Run torchrun; returns 0, 75 after a stop on request, or the code of `exit_code`. Writes the report of a rank that
    died without writing one (killed by a signal, out of memory)."""
    signal.signal(signal.SIGTERM, forward_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to the launcher and the ranks as well
    file = os.environ.get(RUN_CONFIG_ENV)
    if file:
        die_with_parent(END, int(os.environ[LAUNCHER_PID_ENV]))
    # After the signal handlers: importing torch takes seconds, in which a request to stop would kill this process.
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    # Restarted ranks must use a new store. A store that is shared by all restarts still holds the addresses of the dead
    # ranks, and a rank that reads one before it is overwritten cannot connect.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        stopped = Path(folder) / "stopped"
        os.environ[STOPPED_ENV] = str(stopped)
        try:
            # Only END: torchrun would otherwise also handle SIGTERM, by ending the ranks before they have saved.
            torchrun([f"--signals-to-handle={END.name}", f"--shutdown-timeout={SHUTDOWN_SECONDS}", *sys.argv[1:]])
        except ChildFailedError as error:
            codes: dict[int, int] = {rank: failure.exitcode for rank, failure in error.failures.items()}
            if file:
                report(RunConfig.read(Path(file)).state, first_death(codes))
            return exit_code(codes)
        return Preempted.exit_code if stopped.exists() else 0


def exit_code(codes: dict[int, int]) -> int:
    """Exit code of this node from those of its failed ranks, by rank.

    The code for a wrong configuration or damaged data wins, whichever rank has it: a restart would fail again, and
    schedulers give up on it. Otherwise the code of rank 0, which is the stage; without rank 0, or when a signal killed
    it (a negative code), 1.
    """
    permanent = [code for code in (UserError.exit_code, DataError.exit_code) if code in codes.values()]
    return permanent[0] if permanent else max(1, codes.get(0, 1))


def forward_signal(number: int, frame: FrameType | None) -> None:
    """Signal handler: send the signal to the ranks."""
    import psutil

    for rank in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            rank.send_signal(number)


def first_death(exit_codes: dict[int, int]) -> Failure:
    """Report about the rank that most likely died first, from the exit codes by rank (negative: the signal).

    A rank killed by a signal comes before one that failed, which it may have done because of the first; one killed by
    SIGTERM comes last, since that is how torchrun ends the ranks that are left.
    """
    order = {rank: (code == -signal.SIGTERM, code >= 0, rank) for rank, code in exit_codes.items()}
    rank = min(order, key=lambda rank: order[rank])
    code = exit_codes[rank]
    problem = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Failure(rank=rank, time=time.time(), kind="died", problem=problem)


if __name__ == "__main__":
    sys.exit(main())
