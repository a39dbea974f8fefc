"""Processes whose wall clock the test moves while they run, by a library of our own that is loaded before libc."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

_TESTS = Path(__file__).parents[1]
_SOURCE = Path(__file__).with_name("moved_clock.c")

needs_gcc = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="moving a clock needs Linux and gcc")


class MovedClock:
    """A wall clock of the processes started with it, and of nobody else."""

    def __init__(self, directory: Path) -> None:
        self._library, self._file = directory / "moved_clock.so", directory / "moved_s"
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE)], check=True)
        self.move(0)

    def move(self, seconds: int) -> None:
        """Set how far the clock is off; whoever runs by it sees that at once."""
        with open(self._file, "r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("=q", seconds))

    def start(self, module: str, function: str, *arguments: str) -> subprocess.Popen[str]:
        """Start `module.function(*arguments)` in a Python of its own, with pipes to it."""
        script = f"import sys\nfrom {module} import {function}\n{function}(*sys.argv[1:])"
        environment = {
            **os.environ, "LD_PRELOAD": str(self._library), "MOVED_CLOCK": str(self._file),
            "PYTHONPATH": os.pathsep.join([str(_TESTS), *filter(None, sys.path)]),
        }
        return subprocess.Popen([sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True, env=environment)
