"""torchrun, tied to the process that started it, and able to say which rank failed first.

`python -m stages.pretrain.agent` takes torchrun's own arguments.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from stages import lifeline
from stages.pretrain.failures import Failure, report
from stages.pretrain.plan import PLAN, Plan


def main() -> int:
    """Run torchrun; a rank that dies without a word (a signal, memory) is reported in its place."""
    lifeline.tie(signal.SIGTERM, int(os.environ[lifeline.PARENT]))
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    state = Plan.read(Path(os.environ[PLAN])).state
    try:
        torchrun(sys.argv[1:])
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        died = signal.Signals(-failure.exitcode).name if failure.exitcode < 0 else f"exit code {failure.exitcode}"
        report(state, Failure(rank=rank, time=time.time(), kind="died", problem=died))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
