"""The exception tree. Each error says what is wrong, where, and how to fix it.

These errors are printed as two lines. A person sees a traceback only when it is our bug.
"""

from __future__ import annotations

import errno


class PipelineError(Exception):
    """An error that somebody can fix: `problem` says what is wrong and where, `fix` what to do about it."""

    exit_code = 1

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}\n  fix: {fix}")
        self.problem = problem
        self.fix = fix


class UserError(PipelineError):
    """The configuration or the request is wrong."""

    exit_code = 2  # argparse exits with 2 too: both mean that the request is wrong


class DataError(PipelineError):
    """The input is damaged beyond `ingest.max_reject_fraction`, or violates what a stage guarantees."""

    exit_code = 3


class ClusterError(PipelineError):
    """The machine, the network or a remote service failed; the same command may succeed later."""

    exit_code = 4


class Preempted(PipelineError):  # noqa: N818 - no error
    """The run was asked to stop, and saved its state before it did. Not a failure."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: "the user is invited to retry"; our Slurm and Kubernetes files requeue


def from_os_error(error: OSError) -> PipelineError | None:
    """Translate operating system errors that a person can fix; None for all others."""
    where = error.filename or "a file of this stage"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ClusterError(
            f"no space left on the device while writing {where}",
            "free some space (`dvc gc --workspace` drops unused cache) and run the same command again; "
            "finished stages are kept",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ClusterError(
            f"no permission to use {where}: {error.strerror}",
            f"check the owner and mode of {where} (`ls -ld`), then run the same command again",
        )
    return None
