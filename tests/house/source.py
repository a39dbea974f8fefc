"""The package's source as the house tests look at it: its modules, parsed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "praison_store"


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module, parsed, by its path below the package."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def imports(name: str) -> Iterator[str]:
    """Yield the full dotted name of everything a module imports, wherever in it: `a.b` for `from .b import c` too."""
    package = ["praison_store", *name.split("/")[:-1]]
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}"


def own_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has without its docstring."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines of code a function's body has, with signature, docstring and blank lines left out."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return len({line for part in body for inner in ast.walk(part) if hasattr(inner, "lineno")
                for line in (inner.lineno, getattr(inner, "end_lineno", None))})


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Yield every function and method in a tree, inner ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def classes(tree: ast.AST) -> Iterator[ast.ClassDef]:
    """Yield every class in a tree."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node


def public_methods(node: ast.ClassDef) -> list[Function]:
    """Return a class's own public methods."""
    return [item for item in node.body
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_")]


def names_used(tree: ast.AST) -> Iterator[str]:
    """Yield `a.b` for every attribute of a plain name, such as `os.replace`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"
