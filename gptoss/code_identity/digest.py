"""Normalise the syntax of a module and hash it.

Two sources have equal digests exactly when their syntax trees are equal after dropping what cannot change a result:
comments and layout (not in the tree), docstrings, annotations, imports that only annotations use, `if TYPE_CHECKING:`.
"""

from __future__ import annotations

import ast
import hashlib

IGNORED_FIELDS = {"ctx", "kind", "type_comment", "type_ignores", "type_params", "returns"}
"""Fields of syntax nodes that say nothing about behaviour. `returns` is the annotation of a function's result."""


def module_digest(source: str) -> str:
    """MD5 (32 hex digits) of the normalised syntax of a module; empty if it runs nothing. Raises `SyntaxError`."""
    return digest(normalised(ast.parse(source)))


def digest(tree: ast.Module) -> str:
    """MD5 of a normalised tree; empty for one without statements."""
    if not tree.body:
        return ""
    # Written out by `_text` and not by `ast.dump`, whose text differs between Python versions.
    return hashlib.md5(_text(tree.body).encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def normalised(tree: ast.Module) -> ast.Module:
    """The tree without docstrings, annotations, type-checking blocks, and imports that nothing else uses."""
    tree = _Normaliser().visit(tree)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | _exported(tree)
    return _UnusedImports(used).visit(tree)  # type: ignore[no-any-return]


def _exported(tree: ast.Module) -> set[str]:
    """Names listed in `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return {str(item.value) for item in ast.walk(node.value) if isinstance(item, ast.Constant)}
    return set()


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


class _Normaliser(ast.NodeTransformer):
    """Drops docstrings, annotations and `if TYPE_CHECKING:`."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        # Docstrings of modules, classes, functions and attributes: a string alone has no effect.
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if _is_type_checking(node.test):
            return [self.visit(statement) for statement in node.orelse]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Outside of classes an annotation has no effect: `x: int = 1` is `x = 1`, and `x: int` is nothing."""
        if node.value is None:
            return None
        return ast.Assign([node.target], self.visit(node.value))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Annotations declare the fields of a class. With base classes they stay: pydantic validates and converts by
        them. Without (dataclasses) only the names, the order and the defaults of the fields count."""
        body: list[ast.stmt] = []
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                if not node.bases:
                    statement.annotation = ast.Constant(None)
                body.append(statement)
            elif (kept := self.visit(statement)) is not None:
                body += kept if isinstance(kept, list) else [kept]
        node.body = body
        node.decorator_list = [self.visit(decorator) for decorator in node.decorator_list]
        return node


class _UnusedImports(ast.NodeTransformer):
    """Drops imported names that are not used, and writes the others one per statement, in runs sorted by name."""

    def __init__(self, used: set[str]) -> None:
        self._used = used

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        kept = [a for a in node.names if (a.asname or a.name.partition(".")[0]) in self._used]
        return [ast.Import([alias]) for alias in kept]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        kept = [a for a in node.names if node.module != "__future__" and (a.asname or a.name) in self._used]
        return [ast.ImportFrom(node.module, [alias], node.level) for alias in kept]

    def visit_Module(self, node: ast.Module) -> ast.AST:
        self.generic_visit(node)
        # The order in which a formatter sorts imports is layout.
        imports = [s for s in node.body if isinstance(s, ast.Import | ast.ImportFrom)]
        others = [s for s in node.body if not isinstance(s, ast.Import | ast.ImportFrom)]
        node.body = [*sorted(imports, key=_text), *others]
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
    return repr(node)
