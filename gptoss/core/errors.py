"""The one exception tree. Each error says what is wrong, where, and how to fix it.

A traceback reaches a person only when it is our bug; everything below is printed as two lines.
"""

from __future__ import annotations

import errno


class PipelineError(Exception):
    """An error with a known owner: `problem` says what and where, `fix` says what to do about it."""

    exit_code = 1

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}\n  fix: {fix}")
        self.problem = problem
        self.fix = fix


class UserError(PipelineError):
    """The configuration or the request is wrong."""

    exit_code = 2


class DataError(PipelineError):
    """The input is damaged beyond `ingest.max_reject_fraction`, or breaks what a stage promises."""

    exit_code = 3


class ClusterError(PipelineError):
    """The machine, the network or a remote service is at fault; the same command may succeed later."""

    exit_code = 4


class Preempted(PipelineError):  # noqa: N818 - no error
    """The run was asked to stop, saved its state and did: no failure. 75 is EX_TEMPFAIL of sysexits.h, at which a
    scheduler puts the job into its queue again."""

    exit_code = 75


def from_os_error(error: OSError) -> PipelineError | None:
    """Translate the operating system errors a person can act on; None for the others."""
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
