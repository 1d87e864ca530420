"""What a stage depends on, as DVC hashes it: the identity of a stage run.

DVC's own graph and hashes are used, so the fingerprint computed inside a running stage equals the one
computed from `dvc.lock` after it. It names the resume folder (a changed input can never resume a stale
state) and links a `dvc.lock` entry to the MLflow run that made it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.core.errors import UserError


@dataclass(frozen=True)
class Dependencies:
    """MD5 of every dependency by path, and the values of the parameters, of one stage."""

    stage: str
    hashes: dict[str, str]
    params: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """32 hex digits over the dependencies and the parameters."""
        identity = json.dumps([self.stage, self.hashes, self.params], sort_keys=True)
        return hashlib.md5(identity.encode(), usedforsecurity=False).hexdigest()


def current(stage: str) -> Dependencies:
    """Hash the dependencies of `stage` as they stand in the workspace. Raises `UserError` for an unknown stage
    or a missing dependency."""
    from dvc.dependency import ParamsDependency
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            loaded = repo.stage.load_one(name=stage)
            hashes: dict[str, str] = {}
            params: dict[str, Any] = {}
            for dependency in loaded.deps:
                if isinstance(dependency, ParamsDependency):
                    params |= dependency.read_params()
                else:
                    hashes[dependency.def_path] = str(dependency.get_hash().value)
    except DvcException as error:
        raise UserError(f"stage {stage}: {error}", f"run `dvc repro {stage}`, which makes what is missing") from error
    return Dependencies(stage, hashes, _plain(params))


def recorded(stage: str, lock: Path = Path("dvc.lock")) -> Dependencies | None:
    """The dependencies `dvc.lock` holds for `stage`; None when it was never run."""
    entry = lock_entries(lock).get(stage)
    if entry is None:
        return None
    hashes = {dep["path"]: dep["md5"] for dep in entry.get("deps", [])}
    params = {key: value for values in entry.get("params", {}).values() for key, value in values.items()}
    return Dependencies(stage, hashes, _plain(params))


def output_hash(path: str, lock: Path = Path("dvc.lock")) -> str:
    """The MD5 that `dvc.lock` records for an output (`….dir` for a folder). Raises `UserError`."""
    for entry in lock_entries(lock).values():
        for output in entry.get("outs", []):
            if output["path"] == path:
                return str(output["md5"])
    raise UserError(f"{lock} holds no output {path}", "run the pipeline with `dvc repro` or `make run`")


def lock_entries(lock: Path = Path("dvc.lock")) -> dict[str, Any]:
    """The stages of `dvc.lock`; empty before the first run."""
    if not lock.exists():
        return {}
    from dvc.utils.serialize import parse_yaml  # YAML 1.2 like the writer: PyYAML reads 1e-05 as a string

    return dict((parse_yaml(lock.read_text(), str(lock)) or {}).get("stages", {}))


def _plain(value: Any) -> Any:
    """YAML round trip types to plain ones, so that equal values have equal JSON."""
    return json.loads(json.dumps(value, sort_keys=True, default=str))
