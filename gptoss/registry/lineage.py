"""From a registry version back to the raw bytes: `gptoss lineage gpt-oss-tiny@champion [--verify]`.

In: the registry version and the `dvc.lock` that `register` sealed with it. Out: a tree of stages with the hash of
every input, the MLflow run that made them, and the raw files at the leaves. `--verify` recomputes every hash from
the bytes (DVC's cache, the workspace or the git commit, the raw files), checks the maker's signature, and fails when
one does not match.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptoss.code_identity.stages import FOLDER
from gptoss.core.errors import DataError, UserError
from gptoss.core.process import exit_code_of, set_quiet_env


@dataclass(frozen=True)
class Sealed:
    """What `register` sealed with a version: the stages of its `dvc.lock` and the MLflow run of each."""

    name: str
    version: str
    folder: str
    source: str
    """URI of the version's files in MLflow."""
    signing_key: str
    """Fingerprint of the key it was signed with when it was registered; empty for a version that was not."""
    md5: str
    stages: dict[str, Any]
    runs: dict[str, Any]

    def producers(self, path: str) -> list[str]:
        """The stages whose outputs are `path` or lie below it."""
        return [
            stage
            for stage, entry in self.stages.items()
            if any(out["path"] == path or out["path"].startswith(path + "/") for out in entry.get("outs", []))
        ]


def code_digests(entry: dict[str, Any]) -> dict[str, str]:
    """The modules of a stage and their digests, from its entry in `dvc.lock`."""
    folder = FOLDER.as_posix() + "/"
    files = [values for path, values in entry.get("params", {}).items() if path.startswith(folder)]
    return {module: digest for values in files for module, digest in values.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tree; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="gptoss lineage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", help="NAME@ALIAS or NAME/VERSION, such as gpt-oss-tiny@champion")
    parser.add_argument("--verify", action="store_true", help="recompute every hash from the bytes")
    options = parser.parse_args(arguments)
    set_quiet_env()
    return exit_code_of(lambda: show(options.model, verify=options.verify))


def show(model: str, *, verify: bool = False) -> None:
    """Print the lineage of a registry version. Raises `UserError` for an unknown one, `DataError` when `verify`
    finds a hash that does not match."""
    from gptoss.registry.verification import Verifier

    sealed = load(model)
    verifier = Verifier(sealed) if verify else None
    print(f"{sealed.name} version {sealed.version}")
    _print_output(sealed, sealed.folder, sealed.md5, "", set(), verifier)
    if verifier is not None:
        verifier.check_signature()
        print(f"\n{verifier.matched} hashes recomputed and equal, {len(verifier.wrong)} not")
        if verifier.wrong:
            raise DataError(
                "\n".join(verifier.wrong), "restore the bytes (`dvc pull`, `git checkout`) and verify again"
            )


def load(model: str) -> Sealed:
    """Find the version and what was sealed with it. Raises `UserError`; `ClusterError` when MLflow is away."""
    from gptoss.registry.versions import registry_errors
    from gptoss.tracking.mlflow_client import connect

    name, _, alias = model.partition("@")
    name, _, number = name.partition("/")
    if not alias and not number:
        raise UserError(f"{model!r} names no version", "write NAME@ALIAS or NAME/VERSION, e.g. gpt-oss-tiny@champion")
    with registry_errors():
        client, _ = connect("gpt-oss-" + name.removeprefix("gpt-oss-").removesuffix("-instruct"))
        return _sealed(client, name, _version(client, name, alias, number))


def _version(client: Any, name: str, alias: str, number: str) -> Any:
    from mlflow.exceptions import MlflowException

    from gptoss.registry.versions import NOT_FOUND_CODES

    try:
        return client.get_model_version_by_alias(name, alias) if alias else client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code not in NOT_FOUND_CODES:
            raise
        named = f"{name}@{alias}" if alias else f"{name}/{number}"
        raise UserError(f"the registry has no {named}: {error.message}", "run `make run`, which registers it") from None


def _sealed(client: Any, name: str, version: Any) -> Sealed:
    import yaml
    from mlflow.artifacts import download_artifacts

    from gptoss.tracking.mlflow_client import tracking_uri

    root = Path(download_artifacts(run_id=version.run_id, artifact_path="lineage", tracking_uri=tracking_uri()))
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    experiment = client.get_run(version.run_id).info.experiment_id
    return Sealed(
        name, version.version, version.tags["gptoss.folder"], version.source,
        version.tags.get("gptoss.signing_key", ""), version.tags["gptoss.md5"], stages,
        _runs(client, experiment, root / "dvc.lock", stages),
    )  # fmt: skip


def _runs(client: Any, experiment: str, lock: Path, stages: dict[str, Any]) -> dict[str, Any]:
    from gptoss.tracking.provenance import recorded

    by_fingerprint = {
        run.data.tags.get("gptoss.fingerprint"): run
        for run in reversed(client.search_runs([experiment], max_results=5000))
    }
    found = {
        stage: by_fingerprint.get(dependencies.fingerprint)
        for stage in stages
        if (dependencies := recorded(stage, lock))
    }
    return {stage: run for stage, run in found.items() if run is not None}


def _print_output(sealed: Sealed, path: str, md5: str, indent: str, seen: set[str], verifier: Any) -> None:
    """One output and, below it, the stage that made it with all its inputs; a stage is opened once."""
    producers = sealed.producers(path)
    mark = verifier.check(path, md5) if verifier else ""
    print(f"{indent}{path}  {md5}{mark}")
    for stage in producers:
        run = sealed.runs.get(stage)
        by = (
            f"MLflow run {run.info.run_id}, commit {run.data.tags.get('gptoss.git_commit', '?')[:12]}"
            if run
            else "no MLflow run"
        )
        if stage in seen:
            print(f"{indent}  made by {stage} (above)")
            continue
        seen.add(stage)
        print(f"{indent}  made by {stage} ({by})")
        if code := code_digests(sealed.stages[stage]):
            mark = verifier.check_code(stage, code, run) if verifier else ""
            print(f"{indent}    code of {len(code)} modules{mark}")
        for dependency in sealed.stages[stage].get("deps", []):
            _print_output(sealed, dependency["path"], dependency["md5"], indent + "    ", seen, verifier)
        if stage.startswith("ingest@"):
            _print_raw_files(sealed, stage, indent + "    ", verifier)


def _print_raw_files(sealed: Sealed, stage: str, indent: str, verifier: Any) -> None:
    from gptoss.registry.verification import raw_files

    files = raw_files(sealed, stage)
    if files is None:
        print(f"{indent}raw files not known: their list is gone{verifier.miss_raw(stage) if verifier else ''}")
    for file in files or []:
        mark = verifier.check_raw(stage, file) if verifier else ""
        print(f"{indent}raw {file['url']}  sha256 {file['sha256']} ({file['bytes']} bytes){mark}")


if __name__ == "__main__":
    sys.exit(main())
