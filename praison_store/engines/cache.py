"""Sessions kept decoded between calls, each with its file held open as proof that it is unchanged (D10)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from ..codec.lines import LineFile
from ..disk.files import HeldFile, Signature
from ..model.message import Record
from .forks import renew_in_child

CACHED_SESSIONS = 64
_SHARE_OF_DESCRIPTORS = 8
CACHED_BYTES = 64 * 1024 * 1024

Plain = list[dict[str, str]]


class Entry:
    """One session's file in memory: taken apart, its signature, and its plain messages once somebody read them."""

    __slots__ = ("counted_bytes", "file", "held", "plain", "signature")

    def __init__(self, file: LineFile, held: HeldFile | None = None, signature: Signature | None = None) -> None:
        self.file, self.held, self.signature = file, held, signature
        self.counted_bytes = 0
        # Role and content of each message; None: not read yet, or one of them is more than a role and a text.
        self.plain: Plain | None = None

    def plain_window(self, newest: int | None) -> Plain | None:
        """Return the newest plain messages behind the leading system ones; None where that is not known."""
        return None if self.plain is None else newest_of(self.plain, newest, self.file.leading)

    def follow(self, leading: int, start: int, fresh: Sequence[Record]) -> None:
        """Do to the plain messages what a write does to the file."""
        if self.plain is not None:
            added = plain_of(fresh)
            self.plain = None if added is None else self.plain[:leading] + self.plain[start:] + added


class SessionCache:
    """
    The last used sessions of one engine.

    Promise: bounded to 64 sessions, an eighth of the descriptors, and 64 MiB of files; safe in threads; empty in a
    forked child, which must not share a mutex that another thread may have held.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._sights: OrderedDict[str, Signature] = OrderedDict()
        self._bytes = 0
        self.mutex = threading.RLock()
        renew_in_child(self)

    def is_first_sight(self, path: str, signature: Signature) -> bool:
        """
        Tell whether a file in this state was never asked for, and remember that it was now.

        To hold a file open is worth it from the second look on: whoever closes a file that was replaced meanwhile
        waits for the system to free it, which takes longer than to read it.
        """
        with self.mutex:
            entry = self._entries.get(path)
            if (entry is not None and entry.signature == signature) or self._sights.get(path) == signature:
                return False
            self._sights[path] = signature
            self._sights.move_to_end(path)
            if len(self._sights) > CACHED_SESSIONS:
                self._sights.popitem(last=False)
            return True

    def get(self, path: str, signature: Signature) -> Entry | None:
        """Return the session of a path if its file still has this signature."""
        with self.mutex:
            entry = self._entries.get(path)
            if entry is None or entry.signature != signature:
                return None
            self._entries.move_to_end(path)
            return entry

    def last_revision(self, path: str) -> int:
        """Return the newest revision this cache saw at a path; 0 where it saw none."""
        with self.mutex:
            entry = self._entries.get(path)
            return entry.file.revision if entry else 0

    def put(self, path: str, entry: Entry) -> None:
        """Keep a session; the least recently used ones leave."""
        with self.mutex:
            if self._entries.get(path) is entry:
                self._bytes += len(entry.file.body) - entry.counted_bytes
                entry.counted_bytes = len(entry.file.body)
                return
            self._take(path)
            self._entries[path] = entry
            entry.counted_bytes = len(entry.file.body)
            self._bytes += entry.counted_bytes
            most_sessions = _most_sessions()
            while len(self._entries) > 1 and (len(self._entries) > most_sessions or self._bytes > CACHED_BYTES):
                self._take(next(iter(self._entries)))

    def _take(self, path: str) -> None:
        entry = self._entries.pop(path, None)
        if entry is not None:
            self._bytes -= entry.counted_bytes

    def drop(self, path: str) -> None:
        """Forget a session."""
        with self.mutex:
            self._take(path)

    def clear(self) -> None:
        """Forget all sessions and give back their descriptors."""
        with self.mutex:
            self._entries.clear()
            self._sights.clear()
            self._bytes = 0

    def renew_after_fork(self) -> None:
        """Start empty with a new mutex, in a forked child."""
        self._entries, self._sights = OrderedDict(), OrderedDict()
        self._bytes = 0
        self.mutex = threading.RLock()


def _most_sessions() -> int:
    """Return how many sessions to keep: each has a descriptor, and a process may have few."""
    try:
        import resource
    except ImportError:  # Windows, where nothing is held open
        return CACHED_SESSIONS
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CACHED_SESSIONS if descriptors < 0 else max(1, min(CACHED_SESSIONS, descriptors // _SHARE_OF_DESCRIPTORS))


def newest_of(plain: Plain, newest: int | None, leading: int | None) -> Plain:
    """Return the newest of plain messages behind the leading system ones; `leading` is None where none left yet."""
    if not newest or len(plain) <= newest:
        return plain
    if leading is None:
        leading = next((index for index, message in enumerate(plain) if message["role"] != "system"), len(plain))
    leading = min(leading, newest - 1)
    return plain[:leading] + plain[len(plain) - newest + leading :]


def plain_of(records: Sequence[Record]) -> Plain | None:
    """Return role and content of messages that are nothing more, in dicts of their own; None where one is."""
    plain = []
    for record in records:
        content = record.get("content", "")
        if type(content) is not str or record.get("tool_calls") or record.get("tool_call_id") is not None:
            return None
        role = record.get("role", "user")
        if role == "tool" or type(role) is not str:
            return None
        plain.append({"role": role, "content": content})
    return plain
