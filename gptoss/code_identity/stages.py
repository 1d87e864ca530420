"""Code identity per stage: `data/code/STAGE.yaml`, for ingest one file per source format.

A stage's modules are those its file loads, directly or not, and the modules of the configuration sections that
`dvc.yaml` lists under its `params`. Modules that only execute, observe or compose (`NOT_HASHED`) are followed but not
hashed.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from gptoss.code_identity.imports import EXTENSIONS, ModuleGraph, replace_file
from gptoss.config.yaml_sections import load_yaml
from gptoss.core import paths
from gptoss.core.errors import UserError

FOLDER = Path("data/code")
CACHE = paths.RUNS / "code-syntax.json"
SETTINGS = "gptoss.config.settings"
# Modules whose edits rerun nothing. They are followed, because some of them start code that is hashed, but not hashed.
# In return they must not decide bytes of outputs: what does so is in a module of its own (`HASHED_ALL_THE_SAME`).
NOT_HASHED = (
    "gptoss.core.*",  # files, errors, progress, processes
    "gptoss.tracking.*",  # MLflow, provenance, the runner of stages
    "gptoss.executor.*",  # where tasks run; what they compute is in the functions they call
    "gptoss.launch.*",  # how ranks start and end
    "gptoss.simulate.*",  # memory estimates
    "gptoss.code_identity.*",
    "gptoss.config.cluster",  # where a run executes
    "gptoss.config.profiles",  # writes params.yaml, whose values are tracked themselves
    "gptoss.config.yaml_sections",  # reads configuration, and explains mistakes in it
    EXTENSIONS,  # tables of names; the module that is selected is hashed
    SETTINGS,  # composes the sections; a stage's sections are hashed by its `params`
)
HASHED_ALL_THE_SAME = ("gptoss.core.canonical_json", "gptoss.core.checksums")


def write_identities(root: Path = Path(), only: str | None = None) -> bool:
    """Bring `data/code` up to date, or the one file of it that is called `only`; returns whether anything changed.
    Several processes may do so at the same time. Raises `UserError` for code or configuration that cannot be parsed."""
    wanted = {f"{name}.yaml": _as_yaml(digests) for name, digests in identities(root).items()}
    folder = root / FOLDER
    stale = {path.name for path in folder.glob("[!.]*")} - wanted.keys()
    if only:
        wanted, stale = {name: text for name, text in wanted.items() if name == only}, set()
    # Files that are equal stay untouched: DVC compares time stamps before it hashes.
    changed = [name for name, text in wanted.items() if _read(folder / name) != text]
    for name in changed:
        replace_file(folder / name, wanted[name])
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    return bool(changed or stale)


@contextmanager
def fixed_identity(stage: str, root: Path = Path()) -> Iterator[None]:
    """While a stage such as `ingest@wikipedia` runs: DVC records the code with which the stage began.

    DVC reads parameter files again when the command has ended. Where the code was edited meanwhile and another stage
    or `gptoss plan` has refreshed `data/code`, the outputs of the old code would be recorded as those of the new one,
    and the edit would never run.
    """
    name = identity_file(stage, root)
    write_identities(root, only=name)
    path = root / FOLDER / name
    text = _read(path)  # None for a stage that `dvc.yaml` does not have, which DVC reports
    try:
        yield
    finally:
        if text is not None and _read(path) != text:
            replace_file(path, text)


def identity_file(stage: str, root: Path) -> str:
    """The name of the file of a stage in `data/code`."""
    name, _, key = stage.partition("@")
    if name != "ingest":
        return f"{name}.yaml"
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    return f"{name}-{params['sources'][key]['format']}.yaml"


def identities(root: Path) -> dict[str, dict[str, str]]:
    """For each stage of `dvc.yaml` (for ingest: each source format), the digest of every module that decides its
    bytes."""
    params = load_yaml(root / "params.yaml")
    pipeline = load_yaml(root / "dvc.yaml").get("stages")
    if not isinstance(pipeline, dict) or not all(isinstance(stage, dict) for stage in pipeline.values()):
        raise UserError("dvc.yaml has no mapping `stages`", "restore the file, as with `git checkout dvc.yaml`")
    graph = ModuleGraph(root_of_code(), root / CACHE)
    sections = section_modules(graph)
    found: dict[str, dict[str, str]] = {}
    for name, stage in pipeline.items():
        if name == "code":
            continue
        keys = [key for key in stage.get("do", stage).get("params") or () if isinstance(key, str)]
        start = {f"stages.{name}"} | {sections[key.split(".")[0]] for key in keys if _reads_code(graph, sections, key)}
        for variant, selected in _variants(name, graph, params):
            found[variant] = _digests(graph, start, selected)
    graph.save_cache()
    return found


def _reads_code(graph: ModuleGraph, sections: Mapping[str, str], key: str) -> bool:
    """Whether the value of a parameter depends on code: a section does, for its defaults and what it computes. A single
    value of a section, as in `model.context`, is written in `params.yaml` unless it has a default."""
    section, _, rest = key.partition(".")
    if section not in sections or not rest or "$" in rest:
        return section in sections
    fields = [node for node in ast.walk(_parse(graph, sections[section])) if isinstance(node, ast.AnnAssign)]
    declared = [field for field in fields if isinstance(field.target, ast.Name) and field.target.id == rest]
    return any(field.value or "Config" in ast.unparse(field.annotation) for field in declared)


def root_of_code() -> Path:
    """The folder that holds the packages: the checkout, or site-packages."""
    return Path(__file__).resolve().parents[2]


def section_modules(graph: ModuleGraph) -> dict[str, str]:
    """The module that defines each section of `params.yaml`, by its key: read from the fields of `Settings`."""
    tree = _parse(graph, SETTINGS)
    module_of = {a.name: n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    settings = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Settings")
    found = {}
    for field in settings.body:
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            names = [node.id for node in ast.walk(field.annotation) if isinstance(node, ast.Name)]
            modules = [module_of[name] for name in names if module_of.get(name, "").startswith("gptoss.config.")]
            if modules:
                found[field.target.id.rstrip("_")] = modules[0]
    return found


def _variants(stage: str, graph: ModuleGraph, params: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, set[str]]]]:
    """The files of a stage, and which modules each selects from the extension tables. `ingest` has one file per reader,
    so that a reader counts only for sources of its format."""
    tables, keys = extension_tables(graph)
    selected = {
        table: {entries[value] for value in _values(params, keys[table].split(".")) if value in entries}
        for table, entries in tables.items()
    }
    if stage != "ingest":
        yield stage, selected
        return
    for reader, module in tables["READERS"].items():
        yield f"{stage}-{reader}", selected | {"READERS": {module}}


def extension_tables(graph: ModuleGraph) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """The tables of `gptoss/config/extensions.py`, and for each the key of `params.yaml` that selects from it."""
    values: dict[str, dict[str, str]] = {}
    for node in _parse(graph, EXTENSIONS).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = ast.literal_eval(node.value)
    keys = values.pop("SELECTED_BY")
    return values, keys


def _values(params: Any, keys: list[str]) -> Iterator[str]:
    """The values at a dotted key; `*` stands for every key of a mapping."""
    if not keys:
        yield str(params)
    elif isinstance(params, Mapping):
        for key in params if keys[0] == "*" else [k for k in params if k == keys[0]]:
            yield from _values(params[key], keys[1:])


def _digests(graph: ModuleGraph, start: set[str], selected: Mapping[str, set[str]]) -> dict[str, str]:
    """Digests by module key of everything that is reachable from `start`."""
    reached: set[str] = set()
    waiting = start & graph.modules.keys()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        if name == SETTINGS:
            continue
        waiting |= graph.loads(name) - reached
        imported = graph.syntax(name).from_extensions
        for table in (selected if "*" in imported else imported) if "load" in imported else ():
            waiting |= selected.get(table, set()) - reached
    hashed = [name for name in reached if is_hashed(name) and graph.syntax(name).digest]
    digests = {graph.modules[name].key: graph.syntax(name).digest for name in hashed}
    files = {file for name in hashed for file in graph.files(name)}
    digests |= {file.relative_to(graph.root).as_posix(): _md5(file) for file in files}
    return dict(sorted(digests.items()))


def is_hashed(name: str) -> bool:
    """Whether a module is part of the identity of the stages that reach it."""
    excluded = any(fnmatchcase(name, pattern) or f"{name}.*" == pattern for pattern in NOT_HASHED)
    return name in HASHED_ALL_THE_SAME or not excluded


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _parse(graph: ModuleGraph, name: str) -> ast.Module:
    return ast.parse(graph.modules[name].path.read_text(encoding="utf-8"))


def _as_yaml(digests: Mapping[str, str]) -> str:
    return "".join(f"{key}: {json.dumps(digest)}\n" for key, digest in digests.items())


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
