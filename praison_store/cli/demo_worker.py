"""One worker process of `praison-store demo`. Imports no more than the store, as an agent would."""

from __future__ import annotations

import sys
import threading
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier

from ..errors import SessionStoreError
from ..store import DefaultSessionStore

# Sixteen processes wait well under a second for their turn; a minute only bounds a machine that stands still.
_PATIENCE_S = 60.0


def append_messages(
    directory: str, session_id: str, worker: int, messages: int, start: Barrier, done: Synchronized[int]
) -> None:
    """
    Append numbered messages to a session, one by one, each acknowledged before the next.

    Args:
        start: all workers wait there for the last of them, so that they do write at once.
        done: grows by one with every message that was acknowledged.
    Raises:
        SystemExit: With the code 1, after a line on stderr: this worker, or one the others wait for, failed.
    """
    try:
        with DefaultSessionStore(directory, lock_timeout=_PATIENCE_S) as store:
            start.wait(_PATIENCE_S)
            for number in range(1, messages + 1):
                role, metadata = ("user", "assistant")[number % 2 == 0], {"worker": worker, "number": number}
                store.add_message(session_id, role, f"Message {number} of worker {worker}", metadata)
                with done.get_lock():
                    done.value += 1
    except (SessionStoreError, threading.BrokenBarrierError) as error:
        start.abort()
        sys.exit(f"Worker {worker} failed: {error or 'another worker did not begin'}")
