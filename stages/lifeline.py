"""A process that ends when the one that started it does, even by `kill -9`: no stage outlives DVC, no rank its
launcher."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT = "GPTOSS_PRETRAIN_PARENT"
"""Environment: process id of the launcher, to notice that it was gone before the lifeline was tied."""

PR_SET_PDEATHSIG = 1


def tie(sign: signal.Signals, parent: int | None = None) -> None:
    """Ask the kernel to send `sign` to this process when its parent dies (Linux; elsewhere nothing happens)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sign), 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), sign)
