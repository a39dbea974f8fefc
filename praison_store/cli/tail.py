"""`praison-store tail`: follow a session while others write it."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from ..disk import files, seam
from ..errors import SessionNotFoundError
from ..model.message import Record
from ..model.session_id import file_stem, key_of
from ..store import DefaultSessionStore
from .messages import print_message, transcript
from .options import AsJson, Directory, SessionId, open_existing, where
from .printing import print_json, tell

_POLL_S = 0.1
_REST = 3


def tail(
    session_id: SessionId,
    last: Annotated[int, typer.Option(min=0, metavar="N", help="Begin with the N newest messages.")] = 10,
    for_s: Annotated[
        float | None, typer.Option("--for", min=0, metavar="SECONDS", help="Stop after so long; else Ctrl-C stops.")
    ] = None,
    directory: Directory = None,
    as_json: AsJson = False,
) -> None:
    """
    Show the newest messages of a session, then each new one as it arrives.

    A session that is not there yet is waited for. With --json, each message is one line.
    """
    with open_existing(directory) as store:
        follower = Follower(store, session_id, last)
        stop_s = math.inf if for_s is None else seam.monotonic() + for_s
        if not follower.is_there():
            tell(f"There is no session {session_id!r} in {where(store)} yet. Waiting for it; Ctrl-C stops.")
        while True:
            began_s = seam.monotonic()
            for message in follower.new_messages():
                if as_json:
                    print_json(message, indent=None)
                else:
                    print_message(message)
            now_s = seam.monotonic()
            # A session with a huge archive takes long to read; following it must not keep a processor busy.
            pause_s = min(max(_POLL_S, _REST * (now_s - began_s)), stop_s - now_s)
            if pause_s <= 0:
                break
            seam.sleep(pause_s)
    if not follower.ever_there:
        raise SessionNotFoundError(f"The session {session_id!r} did not appear.", session_id=session_id)


class Follower:
    """
    The messages of a session somebody else writes, each once and in order.

    Promise: counts the messages of archive and window together, from one snapshot, so that none is lost or repeated
    when the window moves. One look at the file, or one message read, where it is unchanged; else it is read whole.
    """

    def __init__(self, store: DefaultSessionStore, session_id: str, last: int) -> None:
        self._store, self._session_id, self._last = store, session_id, last
        self._path = store.session_dir and f"{store.session_dir}/{file_stem(session_id)}.json"
        # None: show the newest of what is there. A session that comes later is shown from its first message.
        self._seen_messages = None if self.is_there() else 0
        self._created_at: str | None = None
        self._signature: object = None
        # Held open, so that no later file gets this one's inode number and looks like it (D10).
        self._held: files.HeldFile | None = None
        self.ever_there = False

    def is_there(self) -> bool:
        """Tell whether the session has a file now."""
        if self._path is None:
            return self._store.session_exists(self._session_id)
        return files.signature_of(self._path) is not None

    def new_messages(self) -> list[Record]:
        """Return what came since the last call; at first, the newest messages asked for."""
        if not self._changed():
            return []
        try:
            session, messages, _in_archive = transcript(self._store, self._session_id)
        except SessionNotFoundError:
            return self._gone()
        self.ever_there = True
        if self._seen_messages is None:
            start = max(len(messages) - self._last, 0)
        elif len(messages) < self._seen_messages or self._created_at not in (None, session.created_at):
            tell(f"The session {self._session_id!r} was cleared or replaced; it begins anew.")
            start = 0
        else:
            start = self._seen_messages
        self._seen_messages, self._created_at = len(messages), session.created_at
        return messages[start:]

    def _changed(self) -> bool:
        if self._path is None:
            session = self._store.engine.read(key_of(self._session_id), 1)
            before, self._signature = self._signature, session and (session.created_at, session.revision)
            return before != self._signature
        signature = files.signature_of(self._path)
        if signature == self._signature:
            return False
        # Before the session is read: what changes in between is read now, and looked at once more next time.
        opened = files.open_to_read(self._path)
        self._held, self._signature = (opened[0], files.signature(opened[1])) if opened else (None, None)
        return True

    def _gone(self) -> list[Record]:
        if self.ever_there:
            tell(f"The session {self._session_id!r} was deleted. Waiting for it to come back; Ctrl-C stops.")
        self._seen_messages, self._created_at = 0, None
        return []
