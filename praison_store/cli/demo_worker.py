"""One worker process of `praison-store demo`. Imports no more than the store, as an agent would."""

from __future__ import annotations

from multiprocessing.sharedctypes import Synchronized

from ..store import DefaultSessionStore

# Sixteen processes wait well under a second for their turn; a minute only bounds a machine that stands still.
_LOCK_TIMEOUT_S = 60.0


def append_messages(directory: str, session_id: str, worker: int, messages: int, done: Synchronized[int]) -> None:
    """Append numbered messages to a session, one by one, each acknowledged before the next."""
    with DefaultSessionStore(directory, lock_timeout=_LOCK_TIMEOUT_S) as store:
        for number in range(1, messages + 1):
            role, metadata = ("user", "assistant")[number % 2 == 0], {"worker": worker, "number": number}
            store.add_message(session_id, role, f"Message {number} of worker {worker}", metadata)
            with done.get_lock():
                done.value += 1
