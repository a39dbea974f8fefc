"""
Every file and clock call of `disk/`, in one place, so that tests can fail, kill at, or record each of them.

Shape: plain names bound to the system's functions; a call costs what the function itself costs. `intercept` puts a
wrapper around all of them at once and gives them back at the end.
"""

from __future__ import annotations

import os
import time as time_module
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

open = os.open
close = os.close
read = os.read
write = os.write
writev: Any = getattr(os, "writev", None)
lseek = os.lseek
ftruncate = os.ftruncate
fstat = os.fstat
stat = os.stat
lstat = os.lstat
fchmod: Any = getattr(os, "fchmod", None)
fsync = os.fsync
replace = os.replace
unlink = os.unlink
mkdir = os.mkdir
link = os.link
chmod = os.chmod
scandir = os.scandir
time = time_module.time
monotonic = time_module.monotonic
sleep = time_module.sleep


def lock(descriptor: int) -> bool:
    """Try once to lock a descriptor for this process alone; False while another has it. Raises OSError."""
    return bool(_filelock().lock_descriptor(descriptor, blocking=False))


def unlock(descriptor: int) -> None:
    """Unlock a descriptor. Raises OSError."""
    _filelock().unlock_descriptor(descriptor)


def prepare() -> None:
    """Import what the first lock needs: a fork during that import by another thread would hang the child."""
    _filelock()


def take(descriptor: int, shared: bool) -> bool:
    """Try once to lock a log itself, for readers together or one writer; False while others have it. Raises OSError."""
    portalocker = _portalocker()
    kind = portalocker.LockFlags.SHARED if shared else portalocker.LockFlags.EXCLUSIVE
    try:
        portalocker.lock(descriptor, kind | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        return False
    except portalocker.LockException as error:
        raise error.__cause__ if isinstance(error.__cause__, OSError) else OSError(*error.args) from error
    return True


def give(descriptor: int) -> None:
    """Unlock a log. Raises OSError."""
    portalocker = _portalocker()
    try:
        portalocker.unlock(descriptor)
    except portalocker.LockException as error:
        raise error.__cause__ if isinstance(error.__cause__, OSError) else OSError(*error.args) from error


def pid_lock(path: str) -> Any:
    """Return a lock whose file names the process that has it; entered, it gives that process, or None for ours."""
    return _portalocker().PidFileLock(path)


def pid_lock_errors() -> type[Exception]:
    """Return what such a lock raises where it can neither be taken nor its holder be told."""
    error: type[Exception] = _portalocker().LockException
    return error


@cache
def _portalocker() -> Any:
    # Imported at use: only logs are locked by it.
    import portalocker

    return portalocker


@cache
def _filelock() -> Any:
    # Imported at use: filelock takes 35 ms to import, as much as a whole `import praison_store` may take.
    import filelock

    return filelock


CALLS = (
    "open", "close", "read", "write", "writev", "lseek", "ftruncate", "fstat", "stat", "lstat", "fchmod", "fsync",
    "replace", "unlink", "link", "mkdir", "chmod", "scandir", "time", "monotonic", "sleep", "lock", "unlock",
    "take", "give",
)


@contextmanager
def intercept(around: Callable[..., Any]) -> Iterator[None]:
    """
    Send every call of the seam through `around(name, call, *args)` until the block ends; for tests.

    Args:
        around: calls `call(*args)` itself and returns what it returns, or raises, records, or ends the process.
    """

    def wrapped(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **named: around(name, call, *args, **named)

    originals = {name: globals()[name] for name in CALLS if globals()[name] is not None}
    globals().update({name: wrapped(name, call) for name, call in originals.items()})
    try:
        yield
    finally:
        globals().update(originals)
