"""The inputs of a stage as DVC hashes them: the identity of a stage run.

DVC's own graph and hashes are used, so the fingerprint that a running stage computes equals the one computed from
`dvc.lock` afterwards. It names the folder for resume state (a changed input can never resume a stale state) and links
an entry of `dvc.lock` to the MLflow run that produced it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.core.errors import UserError

LOCK = Path("dvc.lock")


@dataclass(frozen=True)
class Dependencies:
    """The inputs of one stage: MD5 of every dependency by path, and the values of its parameters."""

    stage: str
    hashes: dict[str, str]
    params: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """MD5 (32 hex digits) of dependencies and parameters."""
        # The stage's name is part of it: two stages may have the same inputs.
        identity = json.dumps([self.stage, self.hashes, self.params], sort_keys=True)
        return hashlib.md5(identity.encode(), usedforsecurity=False).hexdigest()


def current(stage: str) -> Dependencies:
    """Hash the dependencies of `stage` in the workspace. Raises `UserError` for an unknown stage or a missing
    dependency."""
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    hashes: dict[str, str] = {}
    params: dict[str, Any] = {}
    try:
        with Repo(".") as repo:
            for dependency in repo.stage.load_one(name=stage).deps:
                if isinstance(dependency, ParamsDependency):
                    params |= dependency.read_params()
                else:
                    # DVC caches hashes by inode and modification time, so large inputs are not read again.
                    hashes[dependency.def_path] = str(dependency.get_hash().value)
    except DvcException as error:
        raise UserError(f"stage {stage}: {error}", f"run `dvc repro {stage}`, which makes what is missing") from error
    return Dependencies(stage, hashes, _plain(params))


def recorded(stage: str, lock: Path = LOCK) -> Dependencies | None:
    """The dependencies that `dvc.lock` records for `stage`; None when it was never run."""
    entry = lock_entries(lock).get(stage)
    if entry is None:
        return None
    hashes = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    params = {key: value for values in entry.get("params", {}).values() for key, value in values.items()}
    return Dependencies(stage, hashes, _plain(params))


def output_hash(path: str) -> str:
    """The MD5 that `dvc.lock` records for an output (it ends in `.dir` for a folder). Raises `UserError`."""
    for entry in lock_entries().values():
        for output in entry.get("outs", []):
            if output["path"] == path:
                return str(output["md5"])
    raise UserError(f"{LOCK} holds no output {path}", "run the pipeline with `dvc repro` or `make run`")


def lock_entries(lock: Path = LOCK) -> dict[str, Any]:
    """The stages of `dvc.lock`, or of a copy such as that of a registered version; empty before the first run."""
    if not lock.exists():
        return {}
    # DVC's own parser, for YAML 1.2 like its writer: PyYAML follows YAML 1.1 and reads 1e-05 as a string.
    from dvc.utils.serialize import parse_yaml

    return dict((parse_yaml(lock.read_text(), str(lock)) or {}).get("stages", {}))


def git_state() -> tuple[str, bool]:
    """The commit of the checkout, and whether tracked files differ from it."""
    # Without dvc.lock, which the run itself writes: every run after the first stage would count as dirty.
    status = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", f":!{LOCK}"]
    try:
        commit, changed = (
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["git", "rev-parse", "HEAD"], status)
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True
    return commit, bool(changed)


def _plain(value: Any) -> Any:
    """Convert the types of DVC's YAML round trip to plain ones, so that equal values have equal JSON."""
    return json.loads(json.dumps(value, sort_keys=True, default=str))
