"""torchrun, tied to the stage that started it, and able to say which rank failed first; or the torchrun of one node of
several, which nobody started but a person or a scheduler, and whose exit code must say what happened.

`python -m gptoss.launch.torchrun_agent` takes torchrun's own arguments. SIGTERM is passed on to the ranks, which stop in
good order by themselves; SIGQUIT ends them (torchrun itself would give ranks that save no more than its shutdown
timeout).
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

from gptoss.core import process
from gptoss.core.errors import DataError, Preempted, UserError
from gptoss.launch.failures import Failure, report
from gptoss.train.run_config import PLAN, STOPPED, RunConfig

END = signal.SIGQUIT
"""Ends this process and the ranks."""
SHUTDOWN_SECONDS = 5
"""What a rank gets to end in when another one has died, before it is killed."""


def main() -> int:
    """Run torchrun; a rank that dies without a word (a signal, memory) is reported in its place. On one node of several
    the exit code says what a scheduler has to know: see `exit_code`; 75 after a stop on request."""
    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the launcher and the ranks too
    plan = os.environ.get(PLAN)
    if plan:
        process.die_with_parent(END, int(os.environ[process.PARENT]))
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    # Ranks that start again meet in a store of their own: one that is shared by all starts still holds the addresses of
    # the dead, and a rank that reads one before it is overwritten cannot connect.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ[STOPPED] = str(Path(folder) / "stopped")
        try:
            torchrun([f"--signals-to-handle={END.name}", f"--shutdown-timeout={SHUTDOWN_SECONDS}", *sys.argv[1:]])
        except ChildFailedError as error:
            codes: dict[int, int] = {rank: failure.exitcode for rank, failure in error.failures.items()}
            if plan:
                report(RunConfig.read(Path(plan)).state, death(codes))
            return exit_code(codes)
        return Preempted.exit_code if Path(os.environ[STOPPED]).exists() else 0


def exit_code(codes: dict[int, int]) -> int:
    """Of this node, by those of its ranks that failed: the code of a mistake in the request or the data, which another
    start would meet again, whichever rank met it; else that of rank 0, which is the stage, or 1."""
    hopeless = [code for code in (UserError.exit_code, DataError.exit_code) if code in codes.values()]
    return hopeless[0] if hopeless else max(1, codes.get(0, 1))


def pass_on(number: int, frame: FrameType | None) -> None:
    """Signal the ranks."""
    import psutil

    for rank in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            rank.send_signal(number)


def death(exit_codes: dict[int, int]) -> Failure:
    """The rank that died first, as far as can be told: one ended by a signal rather than one that failed because
    another was gone, and rather than one that torchrun ended with SIGTERM."""
    order = {rank: (code == -signal.SIGTERM, code >= 0, rank) for rank, code in exit_codes.items()}
    rank = min(order, key=lambda rank: order[rank])
    code = exit_codes[rank]
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Failure(rank=rank, time=time.time(), kind="died", problem=how)


if __name__ == "__main__":
    sys.exit(main())
