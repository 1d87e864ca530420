"""Normalise the syntax of a module and hash it.

Two sources have equal digests exactly when their syntax trees are equal after dropping what cannot change a result:
comments and layout (not in the tree), docstrings, annotations, imports that only annotations use, `if TYPE_CHECKING:`.
Where an annotation may be read at run time it stays: fields of classes that pydantic reads, functions that are
dispatched or validated by their types.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator

# Fields of syntax nodes that say nothing about behaviour.
IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_ignores", "type_params"}
# Decorators that read the annotations of a function.
READ_ANNOTATIONS = {"register", "computed_field", "validate_call"}
# Annotations by which `dataclass` tells fields from other names.
FIELD_MARKERS = {"ClassVar", "InitVar", "KW_ONLY"}


def module_digest(source: str | bytes) -> str:
    """MD5 (32 hex digits) of the normalised syntax of a module; empty if it runs nothing. Raises `SyntaxError`."""
    return digest(normalised(ast.parse(source)))


def digest(tree: ast.Module) -> str:
    """MD5 of a normalised tree; empty for one without statements."""
    if not tree.body:
        return ""
    # Written out by `_text` and not by `ast.dump`, whose text differs between Python versions.
    return hashlib.md5(_text(tree.body).encode(), usedforsecurity=False).hexdigest()


def normalised(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, annotations, type-checking blocks, and imports that only annotations use."""
    normaliser = _Normaliser()
    tree = normaliser.visit(tree)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | _exported(tree)
    return _Imports(used, normaliser.in_annotations).visit(tree)  # type: ignore[no-any-return]


def _exported(tree: ast.Module) -> set[str]:
    """Names listed in `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return {str(item.value) for item in ast.walk(node.value) if isinstance(item, ast.Constant)}
    return set()


def _names(node: ast.AST | None) -> Iterator[str]:
    """Names in an annotation; those of a quoted one too."""
    for inner in ast.walk(node) if node else ():
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            try:
                yield from _names(ast.parse(inner.value, mode="eval"))
            except SyntaxError:  # a string of `Literal`
                continue
        elif isinstance(inner, ast.Name | ast.Attribute):
            yield inner.id if isinstance(inner, ast.Name) else inner.attr


class _Normaliser(ast.NodeTransformer):
    """Drops docstrings, annotations and `if TYPE_CHECKING:`; `in_annotations` collects the names in what it dropped."""

    def __init__(self) -> None:
        self.in_annotations: set[str] = set()

    def _drop(self, annotation: ast.expr | None) -> None:
        self.in_annotations |= set(_names(annotation))

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        # Docstrings of modules, classes, functions and attributes: a string alone has no effect.
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if "TYPE_CHECKING" in _names(node.test) and isinstance(node.test, ast.Name | ast.Attribute):
            self._drop(node.test)
            return [self.visit(statement) for statement in node.orelse]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self._drop(node.annotation)
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Outside of classes an annotation has no effect: `x: int = 1` is `x = 1`, and `x: int` is nothing."""
        self._drop(node.annotation)
        return ast.Assign([node.target], self.visit(node.value)) if node.value else None

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Annotations declare the fields of a class. With base classes, keywords or decorators they stay, for pydantic
        validates and converts by them. In plain classes and dataclasses, names, order and defaults are what counts."""
        decorators = {name for decorator in node.decorator_list for name in _names(decorator)}
        plain = not node.bases and not node.keywords and decorators <= {"dataclass", "dataclasses"}
        body: list[ast.stmt] = []
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                if plain and not FIELD_MARKERS & set(_names(statement.annotation)):
                    self._drop(statement.annotation)
                    statement.annotation = ast.Constant(None)
                body.append(statement)
            elif (kept := self.visit(statement)) is not None:
                body += kept if isinstance(kept, list) else [kept]
        node.body = body
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if not READ_ANNOTATIONS & {name for decorator in node.decorator_list for name in _names(decorator)}:
            self._drop(node.returns)
            node.returns = None
            return self.generic_visit(node)
        node.body = [kept for statement in node.body if (kept := self.visit(statement)) is not None]
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self._drop(node.returns)
        node.returns = None
        return self.generic_visit(node)


class _Imports(ast.NodeTransformer):
    """Drops imports that have no effect without the annotations, and writes the others as one statement per name,
    sorted within each run of import statements: the order in which a formatter sorts imports is layout.

    `import x` that nothing uses stays unless an annotation used it: it may be there for its effect, or to see whether
    it can be imported. `from x import y` that nothing uses goes: the linter refuses it, except where it is meant to be
    imported from here, which is written as `y as y` or in `__all__`.
    """

    def __init__(self, used: set[str], in_annotations: set[str]) -> None:
        self._used, self._in_annotations = used, in_annotations

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        bound = {alias: alias.asname or alias.name.partition(".")[0] for alias in node.names}
        return [ast.Import([a]) for a in node.names if bound[a] not in self._in_annotations - self._used]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        kept = [a for a in node.names if (a.asname or a.name) in self._used or a.name in ("*", a.asname)]
        return [ast.ImportFrom(node.module, [alias], node.level) for alias in kept]

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        body: list[ast.stmt] = []
        run: list[ast.stmt] = []
        for statement in node.body:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                run.append(statement)
            else:
                body += [*sorted(run, key=_text), statement]
                run = []
        node.body = [*body, *sorted(run, key=_text)]
        return node


def _text(node: object) -> str:
    """A syntax tree as text that names every node, field and constant; empty fields are left out."""
    if isinstance(node, ast.AST):
        # The type of a constant is written too: 1 == 1.0 == True, but they are different code.
        kind = type(node.value).__name__ if isinstance(node, ast.Constant) else ""
        fields = [
            f"{field}={_text(value)}"
            for field in node._fields
            if field not in IGNORED_FIELDS and (value := getattr(node, field, None)) is not None and value != []
        ]
        return f"{type(node).__name__}{kind}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    return ascii(node)  # not `repr`, which knows the printable characters of its Python's Unicode version
