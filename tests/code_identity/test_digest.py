"""What the digest of a module ignores, and that it ignores nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptoss.code_identity.digest import module_digest
from gptoss.code_identity.imports import parse_module
from tests.conftest import ROOT

SOURCE = '''"""Docstring."""
from __future__ import annotations
import os
from typing import TYPE_CHECKING
from pydantic import BaseModel
if TYPE_CHECKING:
    from gptoss.train.step import Trainer

LIMIT = 3
"""What LIMIT is."""

class Options(BaseModel):
    size: int = 4

class Point:
    x: int

def run(count: int, name: str = "a") -> list[int]:
    """Run."""
    # why
    found: list[int] = [1, 2.0, True]
    return found * count if os.name == name else [LIMIT]
'''
SAME = {
    "comment": ("# why", "# because"),
    "no comment": ("    # why\n", ""),
    "docstring of a function": ('"""Run."""', '"""Something else,\n    on two lines."""'),
    "docstring of a module": ('"""Docstring."""\n', ""),
    "docstring of a constant": ('"""What LIMIT is."""\n', ""),
    "annotation of an argument": ("count: int", "count: float | None"),
    "annotation of a result": (" -> list[int]", ""),
    "annotation of a variable": ("found: list[int] = ", "found = "),
    "annotation of a field of a plain class": ("x: int", "x: float"),
    "layout": ("[1, 2.0, True]", "[\n        1,\n        2.0, True,\n    ]"),
    "quotes": ('"a"', "'a'"),
    "order of imports": (
        "import os\nfrom typing import TYPE_CHECKING\n",
        "from typing import TYPE_CHECKING\nimport os\n",
    ),
    "import for an annotation": ("import os\n", "import os\nfrom collections.abc import Sequence\n"),
    "import for type checking": ("gptoss.train.step import Trainer", "gptoss.train.loop import Loop"),
}
DIFFERENT = {
    "constant": ("LIMIT = 3", "LIMIT = 4"),
    "type of a constant": ("[1, 2.0, True]", "[1, 2, True]"),
    "equal constant of another type": ("[1, 2.0, True]", "[1, 2.0, 1]"),
    "default": ('"a"', '"b"'),
    "operator": ("found * count", "found + count"),
    "name": ("os.name", "os.curdir"),
    "annotation of a field that pydantic reads": ("size: int", "size: float"),
    "base class": ("Options(BaseModel)", "Options(object)"),
    "name of an argument": ("count", "number"),
    "imported module": ("import os\n", "import posix as os\n"),
    "import for its effect": ("import os\n", "import os\nimport readline\n"),
    "re-exported name": ("import os\n", "import os\nfrom gptoss.core.paths import RUNS as RUNS\n"),
    "order in which a name is bound": ("import os\n", "from posix import name\nLATER = 1\nimport os\n"),
    "annotation that makes a class variable": ("x: int", "x: ClassVar[int]"),
    "keyword of a class": ("class Point:", "class Point(metaclass=Meta):"),
}


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_what_changes_no_result_keeps_the_digest(change: tuple[str, str]) -> None:
    assert SOURCE.count(change[0]) == 1
    assert module_digest(SOURCE.replace(*change)) == module_digest(SOURCE)


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT)
def test_what_may_change_a_result_changes_the_digest(change: tuple[str, str]) -> None:
    assert module_digest(SOURCE.replace(*change)) != module_digest(SOURCE)


def test_a_module_that_runs_nothing_has_no_digest() -> None:
    assert module_digest('"""Only a docstring."""\n\nfrom __future__ import annotations\n') == ""


def test_imports_for_type_checking_and_annotations_are_not_followed() -> None:
    assert parse_module(SOURCE).names == []
    source = "from gptoss.train.step import Trainer\nfrom gptoss.core import paths\ndef f(x: Trainer): paths.RUNS"
    assert "gptoss.core.paths" in parse_module(source).names
    assert "gptoss.train.step" not in parse_module(source).names


def test_imports_in_functions_and_names_of_modules_in_strings_are_followed() -> None:
    source = 'def f():\n    from gptoss.train import loop\n    run(["-m", "gptoss.launch.worker"], loop)\n'
    assert {"gptoss.train.loop", "gptoss.launch.worker"} <= set(parse_module(source).names)


def test_functions_dispatched_by_their_types_keep_annotations() -> None:
    source = "@f.register\ndef g(x: int): pass\n"
    assert module_digest(source) != module_digest(source.replace("int", "float"))


def test_facades_relative_and_star_imports_and_the_tables_themselves_are_followed() -> None:
    assert "gptoss.text.mixing" in parse_module("from gptoss.text.mixing import mix as mix\n").names
    assert "gptoss.text.mixing" in parse_module("from gptoss.text.mixing import mix\n__all__ = ['mix']").names
    assert "gptoss.text.mixing" in parse_module("from gptoss.text.mixing import *\n").names
    assert "gptoss.train.facade" in parse_module("from .facade import mix\nmix()", "gptoss.train.step").names
    assert "gptoss.text.mixing" in parse_module("from ..text import mixing\nmixing.mix()", "gptoss.train.step").names
    assert "gptoss.train.facade" in parse_module("from .facade import x\nx()", "gptoss.train", is_package=True).names
    assert parse_module("from gptoss.config import extensions\nextensions.load()").from_extensions == ["*", "load"]


MODULES = sorted((ROOT / "gptoss").rglob("*.py"))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(MODULES), st.randoms(use_true_random=False))
def test_changing_one_constant_or_operator_of_any_module_changes_its_digest(path: Path, random: object) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    annotations = {
        id(inner)
        for node in ast.walk(tree)
        for name in ("annotation", "returns")
        if isinstance(outer := getattr(node, name, None), ast.AST)
        for inner in ast.walk(outer)
    }
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    numbers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and type(node.value) is int and id(node) not in annotations | texts
    ]
    if numbers:
        random.choice(numbers).value += 1  # type: ignore[attr-defined]
        assert module_digest(ast.unparse(tree)) != module_digest(source)
        return
    assert module_digest(ast.unparse(tree)) == module_digest(source)
