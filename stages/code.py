"""Write the identity of every stage's code, as parameters that the other stages depend on.

In: the source of `gptoss/` and `stages/`, `dvc.yaml` (which sections of `params.yaml` a stage reads), `params.yaml`
(which reader, objective and architecture are used).
Out: `data/code/STAGE.yaml`, for ingest one file per source format: the hash of each module that decides the stage's
bytes.
Errors: `UserError` for source that cannot be parsed, and for every mistake in `params.yaml`.
References: `gptoss/code_identity`, `docs/decisions/code-identity.md`.

DVC runs this stage every time (`always_changed`); what did not change keeps its hash, and nothing else runs. It has no
MLflow run: it records nothing that the runs of the other stages do not record.
"""

from __future__ import annotations

import sys

from gptoss.code_identity.stages import write_identities
from gptoss.config.settings import load_settings
from gptoss.core.process import exit_code_of


def code() -> None:
    """Write `data/code`."""
    load_settings()  # runs first, so that a mistake in params.yaml is reported before any other stage starts
    write_identities()


if __name__ == "__main__":
    sys.exit(exit_code_of(code))
