"""The shape of the tree: sizes of files, imports inside functions, comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from functools import cache

import pytest

from tests.conftest import ROOT

PACKAGES = ("gptoss", "stages", "flows")
MODULES = {
    path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__").replace("/", "."): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
HEAVY = {
    "accelerate", "daft", "datasets", "dvc", "fastwarc", "gguf", "huggingface_hub", "jinja2", "lm_eval",
    "matplotlib", "mlflow", "model_signing", "numba", "numpy", "pandas", "peft", "phonenumbers", "prefect",
    "pyarrow", "pydantic", "pypi_simple", "ray", "requests", "resiliparse", "safetensors", "scipy", "sentencepiece",
    "tokenizers", "torch", "transformers", "trl",
}  # fmt: skip
"""Libraries that take more than a tenth of a second to import."""
MAX_LINES, MAX_STAGE_LINES = 300, 80
MIN_COMMENT_SHARE = 0.05
TABLES = {"tokenizer_exceptions.py", "symbols.py"}
"""Modules that are mostly tables of constants."""


def test_no_file_is_long() -> None:
    python = [path for folder in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    long = {str(path): lines for path in python if (lines := len(path.read_text().splitlines())) > MAX_LINES}
    assert not long
    stages = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "stages").glob("*.py")}
    assert not {name: lines for name, lines in stages.items() if lines > MAX_STAGE_LINES}


def test_folders_do_not_have_names_that_say_nothing() -> None:
    assert not {"utils", "helpers", "common", "misc", "manager"} & {
        part for name in MODULES for part in name.split(".")
    }


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def imported(nodes: list[ast.stmt]) -> set[str]:
    """Dotted names that statements import, blocks for type checking apart."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Try):
            found |= imported(node.body)
    return found


@cache
def heavy_libraries(module: str) -> frozenset[str]:
    """Heavy libraries that importing a module loads."""
    waiting, reached, libraries = {module}, set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        names = imported(tree(name).body)
        libraries |= {found.partition(".")[0] for found in names} & HEAVY
        waiting |= (names & MODULES.keys()) - reached
    return frozenset(libraries)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_in_functions_keep_a_heavy_library_out(module: str) -> None:
    """An import of our own inside a function is there to start fast, never to hide a cycle."""
    needless = set()
    for function in ast.walk(tree(module)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    ours = imported([node]) & MODULES.keys()
                    loads = frozenset().union(*(heavy_libraries(name) for name in ours))
                    if ours and loads <= heavy_libraries(module):
                        needless |= ours
    assert not needless


def test_comments_say_why() -> None:
    comments = total = 0
    for path in (ROOT / "gptoss").rglob("*.py"):
        if path.name not in TABLES:
            text = path.read_text()
            tokens = tokenize.generate_tokens(io.StringIO(text).readline)
            comments += len({token.start[0] for token in tokens if token.type == tokenize.COMMENT})
            total += len(text.splitlines())
    assert comments / total >= MIN_COMMENT_SHARE, f"{comments} of {total} lines"


def test_every_package_says_what_it_is() -> None:
    assert not [
        name for name, path in MODULES.items() if path.name == "__init__.py" and not ast.get_docstring(tree(name))
    ]


def test_modules_have_a_docstring() -> None:
    assert not [name for name in MODULES if not ast.get_docstring(tree(name))]


def test_every_path_in_the_documentation_exists() -> None:
    """Paths in backquotes and in links, of files of the project."""
    missing = set()
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]:
        text = page.read_text()
        quoted = re.findall(r"`((?:gptoss|stages|flows|evals|infra|tests|benchmarks|profiles|docs)/[\w./-]+\w)`", text)
        linked = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
        missing |= {f"{page.name}: {path}" for path in quoted if "NAME" not in path and not (ROOT / path).exists()}
        missing |= {f"{page.name}: {link}" for link in linked if not (page.parent / link).exists()}
    assert not missing
