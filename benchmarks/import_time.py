"""
What does `import praison_store` cost a process that has nothing imported yet?

Fresh interpreters, one after the other in random order, compiled files in place. What counts is the time above that of
an interpreter that does nothing. None of them runs `site`, because what the packages of an environment let it import
at every start is no work of ours, and would hide some that is. Modules of the standard library are there to compare.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .harness import Contender, Nanoseconds, interleaved
from .report import Report, Row

BAR_MS = 40.0
NOTHING, OURS = "pass", "import praison_store"
THEIRS = "from praisonaiagents.session import DefaultSessionStore"
PROGRAMS = (NOTHING, OURS, "import sqlite3", "import asyncio", THEIRS)


def measure(report: Report) -> None:
    """Measure programs of one import."""
    run = _interpreter(Path(__file__).parent.parent)
    programs = [program for program in PROGRAMS if run(program) == 0]
    for program in set(PROGRAMS) - set(programs):
        report.note(f"{program}: missing (it cannot be imported)")
    timings = interleaved([Contender(program, _running(run, program)) for program in programs], report.rounds(20, 3))
    baseline_ns = timings[NOTHING].median_ns
    rows: list[Row] = [
        {"": program, **timing.cells(), "above nothing": Nanoseconds(max(timing.median_ns - baseline_ns, 0))}
        for program, timing in timings.items()
    ]
    report.table("python -S -c ...", rows)
    report.bar("import praison_store, ms", "<=", BAR_MS, (timings[OURS].median_ns - baseline_ns) / 1e6)


def _interpreter(directory: Path) -> Callable[[str], int]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)

    def run(program: str) -> int:
        command = [sys.executable, "-S", "-c", program]
        return subprocess.run(
            command, env=environment, cwd=directory, stderr=subprocess.DEVNULL, check=False
        ).returncode

    return run


def _running(run: Callable[[str], int], program: str) -> Callable[[], None]:
    def once() -> None:
        assert run(program) == 0

    return once
