"""Run a test's function in a process with a file system of its own: a tiny one, or a directory that is read-only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).parent.parent
_DEADLINE_S = 120.0


def run_mounted(mount: str, module: str, function: str, directory: Path) -> Any:
    """
    Run `module.function(directory)` in a process of its own, behind the mounts of a shell line; return its result.

    Args:
        mount: a shell line that mounts what the test needs on "$1"; nobody else sees it.
    """
    _skip_where_nobody_may_mount()
    script = f"import json, sys\nfrom {module} import {function}\nprint(json.dumps({function}(sys.argv[1])))"
    command = [
        "unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{mount}\nexec "$2" -c "$3" "$1"',
        "sh", str(directory), sys.executable, script,
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), *filter(None, sys.path)])}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False, env=environment)
    assert 0 == ended.returncode, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@cache
def _reason_not_to_mount() -> str:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "mounting needs Linux and root"
    command = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=False)
    except FileNotFoundError:
        return "there is no unshare here"
    return "" if ended.returncode == 0 else f"mounting is not allowed here: {ended.stderr.strip()}"


def _skip_where_nobody_may_mount() -> None:
    reason = _reason_not_to_mount()
    if reason:
        print(reason)
        pytest.skip(reason)
