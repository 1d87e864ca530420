"""Print the lineage of a registry version: a tree from the published folder to the raw files.

Each output is followed by the stage that made it, with its MLflow run, its code and, indented, its inputs. With
`verify`, every hash is computed again from the bytes, and the maker's signature is checked.
"""

from __future__ import annotations

from gptoss.core.errors import DataError
from gptoss.registry.sealing import SealedVersion, load_sealed
from gptoss.registry.verification import Verifier, raw_files


def show(model: str, *, verify: bool = False) -> None:
    """Print the lineage of `NAME@ALIAS` or `NAME/VERSION`.

    Errors: `UserError` for an unknown version, `DataError` when `verify` finds a hash that does not match.
    """
    sealed = load_sealed(model)
    verifier = Verifier(sealed) if verify else None
    # Printed while it is verified: reading every byte takes minutes for a large model.
    print(f"{sealed.name} version {sealed.version}")
    _print_output(sealed, sealed.folder, sealed.md5, "", set(), verifier)
    if verifier is not None:
        verifier.check_signature()
        print(f"\n{verifier.matched} hashes recomputed and equal, {len(verifier.mismatches)} not")
        if verifier.mismatches:
            raise DataError(
                "\n".join(verifier.mismatches), "restore the bytes (`dvc pull`, `git checkout`) and verify again"
            )


def _print_output(
    sealed: SealedVersion, path: str, md5: str, indent: str, expanded: set[str], verifier: Verifier | None
) -> None:
    """Print an output and, below it, the stages that made it with all their inputs."""
    print(f"{indent}{path}  {md5}{verifier.check(path, md5) if verifier else ''}")
    for stage in sealed.producers(path):
        # A stage is expanded once: several outputs lead to the same inputs, and the tree would grow exponentially.
        if stage in expanded:
            print(f"{indent}  made by {stage} (above)")
            continue
        expanded.add(stage)
        run = sealed.runs.get(stage)
        commit = run.data.tags.get("gptoss.git_commit", "?")[:12] if run else ""
        made_by = f"MLflow run {run.info.run_id}, commit {commit}" if run else "no MLflow run"
        print(f"{indent}  made by {stage} ({made_by})")
        if code := sealed.code_digests(stage):
            print(f"{indent}    code of {len(code)} modules{verifier.check_code(stage, code, run) if verifier else ''}")
        for dependency in sealed.stages[stage].get("deps", []):
            _print_output(sealed, dependency["path"], dependency["md5"], indent + "    ", expanded, verifier)
        if stage.startswith("ingest@"):
            _print_raw_files(sealed, stage, indent + "    ", verifier)


def _print_raw_files(sealed: SealedVersion, stage: str, indent: str, verifier: Verifier | None) -> None:
    # Raw files are not DVC dependencies: `ingest` reads them by URL and records them in its output.
    files = raw_files(sealed, stage)
    if files is None:
        missing = verifier.count_missing_list(stage) if verifier else ""
        print(f"{indent}raw files not known: their list is missing{missing}")
    for file in files or []:
        mark = verifier.check_raw(file) if verifier else ""
        print(f"{indent}raw {file['url']}  sha256 {file['sha256']} ({file['bytes']} bytes){mark}")
