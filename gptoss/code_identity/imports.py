"""The modules of this project that a module loads, found by parsing it.

Followed: `import` statements anywhere in a module, and string constants that name a module exactly (`-m` arguments of a
subprocess, `import_module`): a dynamic import is declared by spelling out the module where it happens. Not followed:
imports under `if TYPE_CHECKING:`, and imports that only annotations use.

Files beside a module that it names by a string constant are part of it: templates, shipped conversations, scripts.

Modules chosen by configuration are in the tables of `gptoss/config/extensions.py`: a module that imports such a table
and `load` loads the entries that the configuration selects, and no others.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gptoss.code_identity.digest import digest, normalised
from gptoss.core.errors import UserError

PACKAGES = ("gptoss", "stages")
EXTENSIONS = "gptoss.config.extensions"
# Modules whose strings name modules without loading them.
TABLES = (EXTENSIONS, "gptoss.code_identity.stages")
DOTTED_NAME = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[a-z_0-9]+)+")
FILE_NAME = re.compile(r"[\w-]+(?:[./][\w-]+)*\.(?:py|jinja|jsonl|json|yaml|css|txt|md)")


class Syntax(NamedTuple):
    """What the syntax of a module says."""

    digest: str
    """Hash of its normalised syntax; empty when it runs nothing."""
    names: list[str]
    """Dotted names that are modules it loads, where there are such modules."""
    from_extensions: list[str]
    """What it imports from `EXTENSIONS`."""
    files: list[str]
    """Strings that are names of files beside it, where there are such files."""


def parse_module(source: str | bytes, name: str = "", *, is_package: bool = False) -> Syntax:
    """Parse the module called `name`. Raises `SyntaxError`."""
    tree = normalised(ast.parse(source))
    package = name.split(".") if is_package else name.split(".")[:-1]
    names: set[str] = set()
    from_extensions: set[str] = set()
    strings: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from . import x` counts up from the package.
            relative = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*relative, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
            if module == EXTENSIONS:
                from_extensions |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)
    if EXTENSIONS in names and not from_extensions:  # the module itself, by which any of its tables may be read
        from_extensions = {"load", "*"}
    if name not in TABLES:
        names |= strings
    names = {found for found in names if DOTTED_NAME.fullmatch(found)}
    files = {found for found in strings if FILE_NAME.fullmatch(found)}
    return Syntax(digest(tree), sorted(names), sorted(from_extensions), sorted(files))


@dataclass(frozen=True)
class Module:
    """A module of the project."""

    name: str
    """Dotted."""
    path: Path
    key: str
    """Its name in `data/code`: the path without `.py`."""


class ModuleGraph:
    """All modules below `root`, a folder that holds the packages. Parsing them all takes a second; with `cache`, a
    file, only those that changed since are parsed."""

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        self.root = root
        self.modules = {module.name: module for module in _find_modules(root)}
        self._by_path = {module.path: module.name for module in self.modules.values()}
        self._cache_file = cache
        self._cached = _load_cache(cache) if cache else {}
        self._parsed: dict[str, Syntax] = {}
        self._syntax: dict[str, Syntax] = {}

    def syntax(self, name: str) -> Syntax:
        """The syntax of a module. Raises `UserError` that names the file and the line."""
        if name not in self._syntax:
            path = self.modules[name].path
            source = path.read_bytes()
            key = f"{name} {hashlib.md5(source, usedforsecurity=False).hexdigest()}"
            if key in self._cached:
                found = Syntax(*self._cached[key])
            else:
                try:
                    found = parse_module(source, name, is_package=path.name == "__init__.py")
                except (SyntaxError, ValueError) as error:  # ValueError: bytes that are not text
                    line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
                    raise UserError(f"{path}{line}: {getattr(error, 'msg', error)}", "correct the file") from None
            self._parsed[key] = self._syntax[name] = found
        return self._syntax[name]

    def loads(self, name: str) -> set[str]:
        """Names of the modules that a module loads, without those of extension tables."""
        found = self.modules.keys() & self.syntax(name).names
        found |= {self._by_path[path] for path in self._named_files(name) if path in self._by_path}
        # Importing a.b.c runs a/__init__.py and a/b/__init__.py as well.
        parents = {".".join(name.split(".")[:end]) for name in found for end in range(1, name.count(".") + 1)}
        return found | parents

    def files(self, name: str) -> list[Path]:
        """Data files of the library that are part of a module: beside it, or named by their path from `root`."""
        return [path for path in self._named_files(name) if path not in self._by_path and path.is_file()]

    def _named_files(self, name: str) -> list[Path]:
        """Where the files that a module of the library names by a string constant would be."""
        library = self.root / "gptoss"
        places = (self.modules[name].path.parent, self.root) if name.startswith("gptoss.") else ()
        found = {place / file for file in self.syntax(name).files for place in places}
        return sorted(path for path in found if path.is_relative_to(library))

    def save_cache(self) -> None:
        """Keep what was parsed, and forget what was not asked for."""
        if self._cache_file and self._parsed.keys() - self._cached.keys():
            with contextlib.suppress(OSError):  # without a cache the next run takes a second longer
                replace_file(self._cache_file, json.dumps({"version": _version(), "syntax": self._parsed}))


def _find_modules(root: Path) -> Iterator[Module]:
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            key = path.relative_to(root).with_suffix("").as_posix()
            yield Module(key.removesuffix("/__init__").replace("/", "."), path, key)


def _load_cache(path: Path) -> dict[str, Any]:
    """The cache, unless it is absent, damaged, or was written by another version of this package."""
    try:
        cache = json.loads(path.read_text(encoding="utf-8"))
        entries: dict[str, Any] = cache["syntax"] if cache["version"] == _version() else {}
        valid = all(
            isinstance(digest, str) and not set(map(type, lists)) - {list} for digest, *lists in entries.values()
        )
        return entries if valid and all(len(entry) == len(Syntax._fields) for entry in entries.values()) else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _version() -> str:
    """Changes when the code that computes the cached values does, or its Python."""
    here = Path(__file__)
    text = here.read_bytes() + here.with_name("digest.py").read_bytes() + sys.version.encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest()


def replace_file(path: Path, text: str) -> None:
    """Replace a file at once. Unlike with `atomic_files`, several processes may do so at the same time: DVC stages that
    start together all refresh the code identities."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(prefix=".", suffix=".partial", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(partial).chmod(0o644)  # mkstemp makes it private
        Path(partial).replace(path)
    finally:
        Path(partial).unlink(missing_ok=True)
