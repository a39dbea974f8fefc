"""Run a test's function in a process with a file system of its own: a tiny one, or a directory that is read-only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_TESTS = Path(__file__).parent.parent
_DEADLINE_S = 120.0


def run_mounted(
    mount: str, module: str, function: str, directory: Path, *, deadline_s: float = _DEADLINE_S, **arguments: Any
) -> Any:
    """
    Run `module.function(directory, **arguments)` in a process of its own, behind mounts; return its result.

    Args:
        mount: a shell line that mounts what the test needs on "$1"; nobody else sees it.
        arguments: whatever JSON holds.
    """
    _skip_where_nobody_may_mount()
    script = (
        f"import json, sys\nfrom {module} import {function}\n"
        f"print(json.dumps({function}(sys.argv[1], **json.loads(sys.argv[2]))))"
    )
    command = [
        "unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{mount}\nexec "$2" -c "$3" "$1" "$4"',
        "sh", str(directory), sys.executable, script, json.dumps(arguments),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS), *filter(None, sys.path)])}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=deadline_s, check=False, env=environment)
    assert 0 == ended.returncode, f"ended with {ended.returncode}: {ended.stderr}"
    return json.loads(ended.stdout.splitlines()[-1])


def skip_without(*, programs: tuple[str, ...] = (), file_system: str = "", devices: tuple[str, ...] = ()) -> None:
    """Skip a test where a program, a device or a file system it needs is not here; the reason is printed."""
    missing = [f"there is no {program} here" for program in programs if shutil.which(program) is None]
    missing += [f"there is no {device} here" for device in devices if not Path(device).exists()]
    if "losetup" in programs and not Path("/dev/loop-control").exists():
        missing.append("there are no loop devices here")
    known = Path("/proc/filesystems")
    if file_system and (not known.exists() or file_system not in known.read_text().split()):
        missing.append(f"this system has no {file_system}")
    if missing:
        _skip(missing[0])


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
        _skip(reason)


def _skip(reason: str) -> None:
    print(reason)
    pytest.skip(reason)
