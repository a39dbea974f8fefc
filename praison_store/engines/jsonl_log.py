"""Read a log from its end: the last mark, and from it the parts that are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..codec import values
from ..disk import files, log
from ..errors import InvalidSessionIdError
from ..model.exchanges import call_ids, exchange_marks, leading_system, result_ids
from ..model.message import Record, SessionMessage
from ..model.session import SessionData
from ..model.session_id import SessionKey
from . import jsonl_format as form
from .jsonl_format import Entry, Mark
from .jsonl_plan import Window

_TAIL_BYTES = 4096
_LINE_BYTES = 512
_MARGIN = 64  # messages read in front of those wanted, for an exchange that must stay whole
_TRIES = 4
_READER_WAITS_S = 0.5


class DamagedLogError(Exception):
    """A log is not what its marks say. Says where; the caller repairs it."""


class Whole(NamedTuple):
    """A log read whole: its session, the window's lines beside its messages, the archive's lines."""

    session: SessionData
    window: list[Entry]
    archive: list[Entry]


@dataclass
class LogView:
    """
    A log as it stands at its last mark; what is behind it is not there yet.

    Shape: `mark` is None where nothing was ever written; `held` is open as long as the caller keeps it so.
    """

    path: str
    held: files.HeldFile
    mark: Mark | None
    size_bytes: int

    def known(self) -> Mark:
        """Return the mark of a session that is known."""
        assert self.mark is not None  # nosec B101 # our own mistake
        return self.mark

    def check_id(self, key: SessionKey) -> None:
        """Refuse a log that belongs to another id (D4). Raises InvalidSessionIdError, DamagedLogError."""
        prefix = form.session_prefix(key.session_id)
        if log.read_at(self.held, self.path, self.known().session_at, len(prefix) + 1)[: len(prefix)] == prefix:
            return
        other = self.session_line()[0]["session_id"]
        if other == key.session_id:
            return
        raise InvalidSessionIdError(
            f"{self.path} holds the session {other!r}, so {key.session_id!r} cannot be stored there: pick another id.",
            session_id=key.session_id,
        )

    def session_line(self) -> tuple[Record, str, bytes]:
        """Return what the session line tells, the namespace, and the line with its newline. Raises DamagedLogError."""
        start, size_bytes = self.known().session_at, _TAIL_BYTES
        while True:
            raw = log.read_at(self.held, self.path, start, min(size_bytes, self.known().end - start))
            end = raw.find(b"\n") + 1
            if end or len(raw) < size_bytes:
                break
            size_bytes *= 8
        try:
            return *form.session_of_line(raw[: end - 1]), raw[:end]
        except ValueError as error:
            raise DamagedLogError(f"the session line at byte {start}: {error}") from error

    def header(self) -> tuple[SessionData, bytes]:
        """Return the session without messages, and its line. Raises DamagedLogError."""
        record, _namespace, line = self.session_line()
        return SessionData.from_dict({**form.header_of(record, self.known()), "messages": []}), line

    def head(self) -> list[Entry]:
        """Return the messages in front of the archive."""
        mark = self.known()
        return self.messages_at(mark.head_at, mark.head) if mark.head else []

    def oldest(self, count: int) -> list[Entry]:
        """Return the first messages of the window behind the head. Raises DamagedLogError."""
        mark = self.known()
        if count == mark.messages - mark.head:
            raw = log.read_at(self.held, self.path, mark.window_at, mark.end - mark.window_at)
            found = form.messages_in(raw, mark.window_at)
            if len(found) != count:
                raise DamagedLogError(f"{len(found)} messages from byte {mark.window_at} on, not {count}")
            return found
        return self.messages_at(mark.window_at, count)

    def window(self) -> Window:
        """Return the window, read as far as it will be asked for."""
        return Window(self.known(), self.head, self.oldest, self.header)

    def session(self) -> SessionData:
        """Return the session with its window, decoded. Raises DamagedLogError."""
        return self.decoded(self.header()[0], self.window().all())

    def decoded(self, session: SessionData, entries: list[Entry]) -> SessionData:
        """Return a session with the messages of some lines. Raises DamagedLogError."""
        session.messages = [SessionMessage.from_dict(record) for record in self.records(entries)]
        return session

    def records(self, entries: list[Entry]) -> list[Record]:
        """Return the messages on some lines. Raises DamagedLogError."""
        records = []
        for entry in entries:
            try:
                records.append(form.record_of(entry.line))
            except ValueError as error:
                raise DamagedLogError(f"the line at byte {entry.at}: {error}") from error
        return records

    def newest(self, limit: int) -> list[Record] | None:
        """
        Return the newest messages as `newest_window` keeps them, read from the log's end.

        Returns:
            None where that does not pay or does not tell: a short window, a result whose call is farther back.
        Cost: that of the messages returned, however long the window is.
        """
        mark = self.known()
        if mark.messages <= 2 * limit + _MARGIN or mark.head != (mark.leading_messages or 0):
            return None
        if mark.leading_messages is None:
            firsts = self.records(self.oldest(1))
            firsts = self.records(self.oldest(limit)) if leading_system(firsts) else []
            firsts = firsts[: leading_system(firsts)]
        else:
            firsts = self.records(self.head())
        firsts = firsts[: limit - 1]
        wanted = limit - len(firsts)
        tail = self._tail(wanted + _MARGIN)
        if tail and not any(b"tool" in entry.line for entry in tail[-wanted:]):
            return firsts + self.records(tail[-wanted:])  # every mark of a result has "tool" in its name
        kept = self.records(tail)
        start = closed_start(kept, wanted) if kept else None
        return None if start is None else firsts + kept[start:]

    def _tail(self, count: int) -> list[Entry]:
        """Return so many of the window's last messages; none where there are fewer."""
        mark, size_bytes = self.known(), count * _LINE_BYTES + _TAIL_BYTES
        while True:
            start = max(mark.window_at, mark.end - size_bytes)
            raw = log.read_at(self.held, self.path, start, mark.end - start)
            skipped = 0 if start == mark.window_at else raw.find(b"\n") + 1
            found = form.messages_in(raw[skipped:], start + skipped)
            if len(found) >= count:
                return found[-count:]
            if start == mark.window_at:
                return []
            size_bytes *= 4

    def bytes_whole(self) -> bytes:
        """Return everything up to the last mark."""
        return log.read_at(self.held, self.path, 0, self.known().end)

    def whole(self) -> Whole:
        """Return the session, its window and its archive. Raises DamagedLogError."""
        mark = self.known()
        contents = form.replay(self.bytes_whole())
        if contents.damage:
            raise DamagedLogError("; ".join(contents.damage[:3]))
        if (len(contents.window), len(contents.archive)) != (mark.messages, mark.archived):
            raise DamagedLogError(
                f"{len(contents.window)} messages and {len(contents.archive)} archived ones, where the last write says "
                f"{mark.messages} and {mark.archived}"
            )
        return Whole(self.decoded(self.header()[0], contents.window), contents.window, contents.archive)

    def messages_at(self, start: int, count: int) -> list[Entry]:
        """Return so many messages from a byte on. Raises DamagedLogError."""
        size_bytes = count * _LINE_BYTES + _TAIL_BYTES
        while True:
            wanted = min(size_bytes, self.known().end - start)
            raw = log.read_at(self.held, self.path, start, wanted)
            found = form.messages_in(raw[: raw.rfind(b"\n") + 1], start)
            if len(found) >= count:
                return found[:count]
            if wanted < size_bytes:
                raise DamagedLogError(f"{len(found)} messages from byte {start} on, not {count}")
            size_bytes *= 8


def closed_start(tail: list[Record], limit: int) -> int | None:
    """
    Return where the newest `limit` messages of a conversation's end may be cut off.

    Returns:
        None where a result that is kept names no call in the tail, so that its call may stand before it.
    """
    marks = exchange_marks(tail)
    wanted = len(tail) - limit
    starts = [*range(wanted, len(tail)), *range(wanted - 1, 0, -1)]
    start: int | None = next((place for place in starts if not marks[place]), None)
    if start is None:
        return None
    calls: set[str] = set()
    for index, message in enumerate(tail):
        calls.update(repr(call) for call in call_ids(message))
        if index >= start and any(repr(answered) not in calls for answered in result_ids(message)):
            return None
    return start


def view_of(path: str, held: files.HeldFile, size_bytes: int) -> tuple[LogView, bytes]:
    """
    Return a log as its last mark tells, and what stands behind that mark.

    Raises:
        DamagedLogError: The last write has its mark, and zeros in front of it.
    Cost: one read at the end, where the last write finished.
    """
    tail_bytes = _TAIL_BYTES
    while True:
        start = max(size_bytes - tail_bytes, 0)
        tail = log.read_at(held, path, start, size_bytes - start)
        mark = form.last_mark(tail, start)
        if mark is not None or start == 0:
            break
        tail_bytes *= 8
    if mark is not None and b"\0" in tail[: mark.end - start]:
        # A loss of power may leave zeros for a part of the last write, and its mark whole; JSON text holds none.
        raise DamagedLogError(f"zeros in front of its mark at byte {mark.at}")
    rest = tail[mark.end - start :] if mark else tail
    return LogView(path, held, mark, size_bytes), rest


def open_view(path: str, key: SessionKey | None) -> LogView | None:
    """
    Return a log to read, open, with whatever writer beside it; None where nothing was ever written.

    A log that ends with a mark cannot change in what was read of it. One that does not is being written to, or its
    writer died: then it is looked at again, at last behind a shared lock, for as long as a reader may wait.

    Raises:
        DamagedLogError, StoreReadError. InvalidSessionIdError: It belongs to another id.
    """
    opened = files.open_to_read(path)
    if opened is None:
        return None
    held, state = opened
    try:
        for attempt in range(_TRIES):
            view, rest = view_of(path, held, state.st_size)
            if not rest:
                break
            if attempt == _TRIES - 2:
                log.wait_to_read(held, path, _READER_WAITS_S)
            state = log.state_of(held, path)
        if not checked(view, rest):
            held.close()
            return None
        if key is not None:
            view.check_id(key)
    except BaseException:
        held.close()
        raise
    return view


def checked(view: LogView, rest: bytes) -> bool:
    """Tell whether a session was ever written. Raises DamagedLogError where a finished write has no mark any more."""
    at = view.mark.end if view.mark else 0
    if rest and not form.is_unfinished(rest, at):
        raise DamagedLogError(f"no mark of ours in it or at its end, from byte {at} on")
    return view.mark is not None


def holds(raw: bytes, needles: list[bytes]) -> bool:
    """Tell whether a log's bytes hold one of the lower-case needles, in any case."""
    if raw.isascii():
        lowered = raw.lower()
        return any(needle in lowered for needle in needles)
    text = raw.decode("utf-8", "replace").lower()
    return any(needle.decode() in text for needle in needles)


def needles_of(terms: list[str]) -> list[bytes]:
    """Return terms as they stand in JSON text."""
    return [values.dumps_extended(term)[1:-1] for term in terms]
