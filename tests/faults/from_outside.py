"""
The call faults from outside: `fault_shim.c` stands between this process and its C library, where the seam ends.

A process of its own is started with the shim in front (LD_PRELOAD); in it the harness of call faults runs as it is.
Each interruption arms the shim instead of the seam.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINTR, EIO, errorcode
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from faults.call_faults import MakeFault, each_point, rehearse
from faults.interruptions import ERRNOS, Interruption
from faults.operations import ALL_OPERATIONS

_FAIL, _SHORT, _KILL = range(3)
_FOR_GOOD = 1 << 30
_TESTS = Path(__file__).parent.parent
_DEADLINE_S = 3000.0


@cache
def _shim() -> Any:
    library = ctypes.CDLL(None)  # the shim is in front of everything else this process has loaded
    library.fault_shim_disarm.restype = ctypes.c_char_p
    return library


class FromOutside(Interruption):
    """Interrupt the call of one index to the C library, on a file below the directory the shim watches."""

    def __init__(self, index: int, kind: int, number: int = EIO, *, times: int = 1) -> None:
        super().__init__(index)
        self.kind, self.number, self.times, self.kills = kind, number, times, kind == _KILL

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Return the block in which it happens."""
        _shim().fault_shim_arm(ctypes.c_long(self.index), self.kind, self.number, self.times)
        try:
            yield
        finally:
            self.name = _shim().fault_shim_disarm().decode()


def _failing(number: int, times: int = 1) -> MakeFault:
    return lambda index: FromOutside(index, _FAIL, number, times=times)


# EINTR once only: Python itself calls again, and would do so for good. Twice, because who looks twice to be sure may
# be told the same wrong thing twice.
FAULTS: dict[str, MakeFault] = {
    **{f"{errorcode[number]} once": _failing(number) for number in ERRNOS},
    "EIO twice": _failing(EIO, 2),
    **{f"{errorcode[number]} for good": _failing(number, _FOR_GOOD) for number in ERRNOS if number != EINTR},
    "short write once": lambda index: FromOutside(index, _SHORT),
    "short writes for good": lambda index: FromOutside(index, _SHORT, times=_FOR_GOOD),
    "killed": lambda index: FromOutside(index, _KILL),
}


def run_faults(root: str, title: str, faults: list[str]) -> dict[str, int]:
    """Interrupt each call of an operation with each fault; return how many calls it has, runs there were, and raised."""
    logging.disable(logging.CRITICAL)
    (operation,) = (operation for operation in ALL_OPERATIONS if operation.title == title)
    _shim().fault_shim_watch(root.encode())
    rehearsed = rehearse(operation, Path(root))
    raised = {fault: list(each_point(rehearsed, Path(root) / "run", FAULTS[fault], fault)) for fault in faults}
    everything = [error for errors in raised.values() for error in errors]
    points = max(map(len, raised.values()))
    return {"points": points, "faults": len(everything), "raised": len([error for error in everything if error])}


@cache
def shim_of(directory: Path) -> Path:
    """Return the compiled shim. Skips the test where it cannot be compiled."""
    compiler = shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("the shim needs Linux and gcc")
    shim = directory / "fault_shim.so"
    source = Path(__file__).parent / "fault_shim.c"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(shim), str(source), "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == built.returncode, built.stderr
    return shim


def run_behind_the_shim(shim: Path, root: Path, title: str, faults: list[str]) -> dict[str, int]:
    """Run `run_faults` in a process whose calls to the C library go through the shim."""
    script = (
        "import json, sys\nfrom faults.from_outside import run_faults\n"
        "print(json.dumps(run_faults(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))"
    )
    environment = {
        **os.environ, "LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join([str(_TESTS), *filter(None, sys.path)]),
    }
    command = [sys.executable, "-c", script, str(root), title, json.dumps(faults)]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False, env=environment, cwd=root)
    assert 0 == ended.returncode, ended.stderr[-3000:]
    counts: dict[str, int] = json.loads(ended.stdout.splitlines()[-1])
    return counts
