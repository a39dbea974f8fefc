"""
Break the code on purpose, one node at a time, and see whether a test notices: what none does is a promise nobody keeps.
Run as `python tests/house/mutants.py [--sample N] [--seed S] [--thorough] [path[:line]...]`; ends with 1 if one survived.

Each mutant stands in a copy of package and tests, and the tests of its module run from there in forked children; the
first that fails kills it, or that does not end. Texts, types, docstrings and log records are left: no test pins them.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import os
import random
import select
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, cast

import hypothesis  # noqa: F401 - imported once here, not in every child
import orjson  # noqa: F401 - as hypothesis
import pytest

ROOT = Path(__file__).parents[2]
SILENCE_S = 45.0  # a test that takes longer hangs
SUBJECTS = ("disk/*", "codec/*", "engines/cache", "engines/json_*")
_UNIT = ("unit/test_adding unit/test_reading unit/test_changing unit/test_json_directory unit/test_json_window "
         "unit/test_check_and_vacuum")
_STATES = "faults/test_flush_order properties/test_unchanged_files unit/test_vanishing_files formats/test_praisonai_files"
_DAMAGED = "faults/test_hostile_files faults/test_damaged_archives faults/test_foreign_files"
# The tests of a module by the beginning of its path, the longest that fits: groups, each with a child of its own, so
# that slow files are not even collected where a fast one kills. Behind them all comes what takes minutes, if asked for.
TESTS: dict[str, tuple[str, ...]] = {
    "disk/": ("unit/test_disk", _UNIT, _STATES, _DAMAGED),
    "disk/lock": ("unit/test_disk unit/test_adding", "processes/test_lock_holders"),
    "disk/log": ("unit/test_disk", "faults/test_jsonl_crashes"),
    "disk/mounts": ("unit/test_file_systems", "unit/test_check_and_vacuum"),
    "disk/seam": ("unit/test_disk unit/test_file_systems", _UNIT, "faults/test_jsonl_crashes", _STATES),
    "codec/": ("unit/test_codec", _UNIT, _STATES, _DAMAGED),
    "engines/": (_UNIT, _STATES, _DAMAGED),
    "engines/cache": ("unit/test_many_sessions", _UNIT, _STATES),
    "engines/json_leases": ("unit/test_lease_rules unit/test_disk", "contract/test_leasing", _UNIT),
}
_THOROUGH = (
    "contract/test_importing contract/test_leasing properties/test_bytes_and_lines", "faults/test_readers_at_each_call",
    "faults/test_no_room processes/test_forks processes/test_taking_turns", "processes/test_jsonl_writers",
    "contract/test_every_engine faults/test_damaged_files", "faults/test_call_faults",
)


class Mutant(NamedTuple):
    """One change: where it is, its line before and after, and the module's text with it."""

    path: str
    line: int
    before: str
    after: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}\n    - {self.before.strip()}\n    + {self.after.strip()}"


COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}


def is_left(node: ast.AST) -> bool:
    """Tell whether a node is left as it is: a log record, a text, `__all__`."""
    return isinstance(node, ast.JoinedStr) or ast.unparse(node).startswith(("logger.", "__all__ ="))


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that may change; types stand in fields of their own."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in ("annotation", "returns") and not is_left(child):
                yield child
                yield from nodes(child)


def turned(operator: ast.operator) -> ast.operator:
    """Return minus for plus, and plus for minus."""
    return ast.Sub() if isinstance(operator, ast.Add) else ast.Add()


def expressions(node: ast.AST) -> Iterator[str]:
    """Yield what may stand in an expression's place."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            changed = [*node.ops[:index], COMPARED[type(operator)](), *node.ops[index + 1 :]]
            yield ast.unparse(ast.Compare(node.left, changed, node.comparators))
    elif isinstance(node, ast.BoolOp):
        yield ast.unparse(ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield ast.unparse(node.operand)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield ast.unparse(ast.BinOp(node.left, turned(node.op), node.right))
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield from (repr(node.value + 1), repr(node.value - 1))


def changes(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield what may become of a node: the part that is replaced, and by what."""
    if isinstance(node, ast.If | ast.IfExp):
        yield node.test, f"not ({ast.unparse(node.test)})"
    if isinstance(node, ast.expr):
        yield from ((node, text) for text in expressions(node))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and not is_left(node.value):
        yield node, "pass"
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) not in ("None", "False"):
        yield node.value, "None"
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
        yield node, ast.unparse(ast.AugAssign(node.target, turned(node.op), node.value))


def spliced(text: str, first: ast.AST, last: ast.AST, new: str) -> str:
    """Return a module with the nodes from `first` to `last` replaced; columns count bytes."""
    raw = text.encode()
    rows, (begin, finish) = raw.splitlines(keepends=True), cast(Any, (first, last))
    start = sum(map(len, rows[: begin.lineno - 1])) + begin.col_offset
    end = sum(map(len, rows[: finish.end_lineno - 1])) + finish.end_col_offset
    return (raw[:start] + new.encode() + raw[end:]).decode()


def mutants_of(path: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for node in nodes(ast.parse(text)):
        found = [(part, part, f"({new})" if isinstance(part, ast.expr) else new) for part, new in changes(node)]
        if isinstance(node, ast.ExceptHandler):
            is_silent = isinstance(node.body[-1], ast.Pass | ast.Return | ast.Continue)
            found = [(node.body[0], node.body[-1], "raise" if is_silent else "pass")]
        for first, last, new in found:
            changed = spliced(text, first, last, new)
            line: int = first.lineno  # type: ignore[attr-defined] # only nodes with a place change
            yield Mutant(path, line, text.splitlines()[line - 1], changed.splitlines()[line - 1], changed)


def sampled(paths: list[str], size: int | None, seed: int) -> list[Mutant]:
    """Return a sample spread evenly over the modules: from each in turn, until it is full or nothing is left."""
    chance = random.Random(seed)
    piles = [chance.sample(pile, len(pile)) for pile in (list(mutants_of(path)) for path in paths)]
    turns = (pile[turn] for turn in range(max(map(len, piles))) for pile in piles if turn < len(pile))
    return [mutant for mutant, _ in zip(turns, range(size or sum(map(len, piles))), strict=False)]


def tests_of(path: str, thorough: bool) -> list[list[str]]:
    """Return the groups of files of a module's tests, in order."""
    known = max((begin for begin in TESTS if path.startswith(f"praison_store/{begin}")), key=len, default="engines/")
    groups = TESTS[known] + (_THOROUGH if thorough else ())
    return [[f"tests/{name}.py" for name in group.split()] for group in groups]


class Beat(NamedTuple):
    """Tell the parent of every step of a test, so that it knows a slow run from one that hangs."""

    pipe: int

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Send the name of a test that failed, or a mere beat."""
        os.write(self.pipe, f"{report.nodeid}\n".encode() if report.failed else b"\n")


def in_child(copy: Path, tests: list[str], pipe: int) -> None:
    """Run tests from a copy and end the process by their outcome."""
    os.setsid()
    for standard in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC), standard)
    os.chdir(copy)
    sys.path[:] = [str(copy), *(place for place in sys.path if Path(place or ".").resolve() not in (ROOT, Path(__file__).parent))]
    tempfile.tempdir = str(copy.parent)
    os.environ.update(PYTHONPATH=str(copy), TMPDIR=str(copy.parent), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[Beat(pipe)]))


def failed_in(copy: Path, tests: list[str]) -> str:
    """Return the test of one group that fails in a copy, or how else its run ends; "" where all pass."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        in_child(copy, tests, theirs)
    os.close(theirs)
    told, beat = b"", b"?"
    while beat and select.select([ours], [], [], SILENCE_S)[0]:
        beat = os.read(ours, 4096)
        told += beat
    with suppress(ProcessLookupError):  # what a child's tests began ends with it
        os.killpg(child, signal.SIGKILL if beat else signal.SIGTERM)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(ours)
    return "a test that does not end" if beat else "" if code == 0 else told.decode().strip() or f"a run that ended with {code}"


def put(path: Path, text: str) -> None:
    """Write a module; the compiled form of what stood there, of the same size and second, would pass for it."""
    path.write_text(text, encoding="utf-8")
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def main() -> int:
    """Run a sample and tell of those that survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, help="so many mutants, spread evenly; all without it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--thorough", action="store_true", help="run the tests that take minutes too")
    parser.add_argument("paths", nargs="*", metavar="path[:line]", help="modules, below the root")
    given = parser.parse_args()
    default = [path.relative_to(ROOT).as_posix() for subject in SUBJECTS
               for path in (ROOT / "praison_store").glob(f"{subject}.py") if path.name != "__init__.py"]
    asked = {tuple(path.split(":")) for path in given.paths or default}
    chosen = [mutant for mutant in sampled(sorted({path for path, *_ in asked}), given.sample, given.seed)
              if {(mutant.path,), (mutant.path, str(mutant.line))} & asked]
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    with tempfile.TemporaryDirectory(prefix="mutants-") as place:
        copy = Path(place) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", "__pycache__", "results"))
        needed = {tuple(tests) for mutant in chosen for tests in tests_of(mutant.path, given.thorough)}
        for tests in sorted(needed):
            if failed := failed_in(copy, list(tests)):
                parser.error(f"without any mutant there is a failure already: {failed}")
        for number, mutant in enumerate(chosen, start=1):
            put(copy / mutant.path, mutant.text)
            killed_by = next(filter(None, (failed_in(copy, tests) for tests in tests_of(mutant.path, given.thorough))), "")
            put(copy / mutant.path, (ROOT / mutant.path).read_text(encoding="utf-8"))
            sums[mutant.path][bool(killed_by)] += 1
            outcome = f"killed by {killed_by.splitlines()[-1]}" if killed_by else "SURVIVED"
            print(f"{number}/{len(chosen)} {mutant}\n    {outcome}", flush=True)
    for path, (survived, killed) in sorted(sums.items()):
        print(f"{path}: {killed} killed, {survived} survived")
    survivors = sum(survived for survived, _killed in sums.values())
    print(f"{len(chosen)} mutants, {len(chosen) - survivors} killed, {survivors} survived")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main())
