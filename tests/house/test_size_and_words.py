"""What a stranger meets: modules and functions of a readable size, and a docstring on everything with a name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import source

TESTS = source.ROOT / "tests"
MODULES = list(source.modules())


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_at_most_400_lines(name: str) -> None:
    """Goal: a module is read in one sitting. Method: count."""
    assert 400 >= len((source.PACKAGE / name).read_text(encoding="utf-8").splitlines())


def test_a_function_has_at_most_60_lines() -> None:
    """Goal: a function is seen whole. Method: count, the docstring left out."""
    long = {f"{name}:{function.name}": source.own_lines(function)
            for name, tree in source.modules().items() for function in source.functions(tree)}
    assert {} == {where: lines for where, lines in long.items() if lines > 60}


def test_a_class_has_at_most_20_public_methods() -> None:
    """Goal: a class does one thing. Method: count; the door has more, each of them short."""
    counts = {f"{name}:{kind.name}": len(source.public_methods(kind))
              for name, tree in source.modules().items() if name != "store.py"
              for kind in source.classes(tree)}
    assert {} == {where: count for where, count in counts.items() if count > 20}


def test_a_method_of_the_door_has_a_body_of_under_8_lines() -> None:
    """Goal: the door checks and hands on. Method: count body lines, the docstring left out."""
    [door] = [kind for kind in source.classes(source.modules()["store.py"]) if kind.name == "DefaultSessionStore"]
    bodies = {method.name: source.body_lines(method) for method in source.public_methods(door)}
    assert 20 < len(bodies)
    assert {} == {name: lines for name, lines in bodies.items() if lines >= 8}


def documented(node: ast.AST, where: str) -> list[str]:
    """Return what is wrong with the docstring of a module, class or function."""
    assert isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    text = ast.get_docstring(node)
    if not text:
        return [f"{where}: no docstring"]
    # Where the first sentence is longer than a line, its period ends the first paragraph.
    first = text.split("\n\n")[0].strip()
    ends = first.endswith((".", ":")) or first.split("\n")[0].endswith((".", ":"))
    return [] if ends else [f"{where}: {first[:60]!r}"]


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring_whose_first_sentence_ends(name: str) -> None:
    """Goal: a stranger is told the promise first. Method: modules, public classes, functions and methods."""
    tree = source.modules()[name]
    wrong = documented(tree, name) if ast.unparse(tree) else []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            wrong += documented(node, node.name)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            wrong += documented(node, node.name)
            for method in source.public_methods(node):
                wrong += documented(method, f"{node.name}.{method.name}")
    assert [] == wrong


@pytest.mark.parametrize("invariant", [f"D{number}" for number in range(1, 11)])
def test_every_invariant_is_in_the_name_of_a_test(invariant: str) -> None:
    """Goal: no promise goes unproven. Method: look for `def test_D1_...` below tests/."""
    named = [path.name for path in TESTS.rglob("test_*.py")
             if re.search(rf"def test_{invariant}_", path.read_text(encoding="utf-8"))]
    assert [] != named


def test_a_layer_names_its_invariants_in_its_docstring() -> None:
    """Goal: a layer's first lines say what must hold. Method: the id in the design note of its keeper."""
    keepers = {"disk/__init__.py": ("D1", "D2", "D3", "D7", "D8"), "engines/__init__.py": ("D5", "D10"),
               "retention/__init__.py": ("D9",), "codec/__init__.py": ("D5", "D6"), "model/__init__.py": ("D4", "D6")}
    for name, invariants in keepers.items():
        note = ast.get_docstring(source.modules()[name]) or ""
        assert [] == [invariant for invariant in invariants if not re.search(rf"\b{invariant} ", note)], name
        assert "Considered and not taken" in note, name


SILENCED = re.compile(r"#\s*(?:noqa|type: ignore|pragma: no cover|nosec)")


@pytest.mark.parametrize("name", MODULES)
def test_every_silenced_warning_says_why(name: str) -> None:
    """Goal: an exception to a rule is an argument. Method: a reason behind each noqa, type: ignore, no cover and nosec."""
    wrong = []
    for number, line in enumerate((source.PACKAGE / name).read_text(encoding="utf-8").splitlines(), start=1):
        found = SILENCED.search(line)
        if found and not re.search(r"(?:\s-\s|#)\s*\w+", line[found.end() :]):
            wrong.append(f"{name}:{number}: {line.strip()}")
    assert [] == wrong


def test_no_comment_is_a_label_and_no_work_is_left_undone() -> None:
    """Goal: no TODO outlives its commit. Method: words that promise later work."""
    wrong = [f"{name}: {line.strip()}" for name in MODULES
             for line in (source.PACKAGE / name).read_text(encoding="utf-8").splitlines()
             if re.search(r"\b(?:TODO|FIXME|XXX|HACK)\b", line)]
    assert [] == wrong


def test_no_test_sleeps_patches_os_or_is_skipped() -> None:
    """Goal: results do not depend on luck. Method: words in the tests' own source."""
    wrong = []
    for path in TESTS.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found = re.search(r"mock|setattr\(os\b|pytest\.mark\.(?:skip\b|xfail)", text)
        if path.name != "test_size_and_words.py" and found:
            wrong.append(path.name)
    assert [] == wrong


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.name)
def test_every_test_says_what_it_is_for(path: Path) -> None:
    """Goal: a failing test explains itself. Method: a docstring on each test and each module of tests."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = [function.name for function in source.functions(tree)
             if function.name.startswith("test_") and not ast.get_docstring(function)]
    assert [] == wrong
    assert ast.get_docstring(tree)
