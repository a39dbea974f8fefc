"""One service for a directory: a second one is told which process the first is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import StoreWriteError
from . import files, seam

NAME = ".service.pid"


@contextmanager
def only_service(directory: str | None) -> Iterator[None]:
    """
    Be the only service that sweeps a directory, for the length of a block; None is no directory, and no lock.

    Raises:
        StoreWriteError: Another is; its process is named. Or the lock's file cannot be made.
    """
    if directory is None:
        yield
        return
    files.make_directory(directory)
    path = os.path.join(directory, NAME)
    lock = seam.pid_lock(path)
    try:
        holder = lock.__enter__()
    except seam.pid_lock_errors() as error:
        raise StoreWriteError(
            f"{path} cannot be locked: another service may be starting there. Try again.", path=path) from error
    except OSError as error:
        raise StoreWriteError(f"{path} cannot be made: {error.strerror}.", path=path, cause=error) from error
    if holder is not None:
        raise StoreWriteError(
            f"The process {holder} is a service that removes sessions past their time in {directory} already: stop it, "
            f"or serve with cleanup_interval_minutes 0, which removes none.", path=path)
    try:
        yield
    finally:
        lock.__exit__(None, None, None)
