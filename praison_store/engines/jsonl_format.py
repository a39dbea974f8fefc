r"""
The format of a session's log: one JSON object a line, each written once, and at the end of every write its mark.

    {"log":"session","session":{"session_id":"s","agent_name":null,...,"metadata":{}}}   what is known of the session
    {"role":"user","content":"Hello","timestamp":1704153600.0,"metadata":{}}             a message, as it is
    {"log":"write","at":210,"revision":1,"updated_at":"...","messages":1,...}            the write happened
    {"role":"assistant","content":"Hi!","timestamp":1704153601.5,"metadata":{}}
    {"log":"cut","behind":0,"messages":1,"archived":true}                                the window lost its oldest
    {"log":"write","at":405,"revision":2,"updated_at":"...","messages":1,...}

A write is there when its mark is: what stands behind the last mark is the rest of a write that never finished. The
mark says all that the next write must know, so that one read at the end of the log is enough however long it is: `at`
is where the mark itself stands (a mark that is elsewhere was copied or edited), `session_at` where the newest session
line stands, and the window's `messages` are the first `head` of the messages from `head_at` on, and all from
`window_at` on. A `cut` takes `messages` out of the window, behind the first `behind` of it; archived or dropped. The
newest session line counts. Pure; no I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ..codec import values
from ..model.message import Record
from ..model.session import SessionData, SessionInfo, wrong_fields

_LOG = b'{"log":'
_SESSION, _CUT, _WRITE = b'{"log":"session",', b'{"log":"cut",', b'{"log":"write",'
_MARK_FIELDS = ("revision", "leading_messages", "updated_at")
# A log is rewritten when what is dead in it outweighs what lives twice, and is worth the trouble.
_DEAD_PARTS, _DEAD_BYTES = 2, 65_536


@dataclass(frozen=True, slots=True)
class Mark:
    """
    The end of a write, and what the next one must know.

    Shape: see the module; `leading_messages` is the session's field, `archived` counts archived messages, `live_bytes`
    are those of all messages and the session line, `dead_bytes` of lines that count no more, `end` is the first byte
    behind the mark.
    """

    at: int
    revision: int
    updated_at: str
    messages: int
    leading_messages: int | None
    head: int
    head_at: int
    window_at: int
    session_at: int
    archived: int
    live_bytes: int
    dead_bytes: int
    end: int = 0

    def line(self) -> bytes:
        """Return the mark as a line with its newline."""
        data = asdict(self)
        del data["end"]
        return values.dumps({"log": "write", **data}) + b"\n"

    def wants_rewrite(self) -> bool:
        """Tell whether the log has become mostly dead; so seldom that its cost is shared by the writes before."""
        return self.dead_bytes > max(_DEAD_BYTES, _DEAD_PARTS * self.live_bytes)


class Entry(NamedTuple):
    """A message in a log: where its line begins, and the line without its newline."""

    at: int
    line: bytes


@dataclass
class Contents:
    """A whole log, replayed: its window and archive as lines, its session line, and what was wrong."""

    session: Record | None
    window: list[Entry]
    archive: list[Entry]
    damage: list[str]


def mark_of(line: bytes, at: int, *, anywhere: bool = False) -> Mark | None:
    """
    Return the mark on a line that begins at `at`, its newline included.

    Returns:
        None where it is none, or one that was written at another place; `anywhere` takes that too.
    """
    if not line.startswith(_WRITE) or not line.endswith(b"\n"):
        return None
    try:
        data = values.loads(line)
        data.pop("log")
        mark = Mark(**data, end=at + len(line))
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    numbers = (mark.at, mark.revision, mark.messages, mark.head, mark.head_at, mark.window_at, mark.session_at)
    if not all(type(number) is int and number >= 0 for number in numbers) or type(mark.updated_at) is not str:
        return None
    return mark if anywhere or mark.at == at else None


def last_mark(tail: bytes, start: int) -> Mark | None:
    """Return the last mark in the end of a log, which begins at the byte `start`; None where it holds none."""
    stop = len(tail)
    while (found := tail.rfind(_WRITE, 0, stop)) >= 0:
        end = tail.find(b"\n", found) + 1
        if end and (found == 0 or tail[found - 1 : found] == b"\n"):
            mark = mark_of(tail[found:end], start + found)
            if mark is not None:
                return mark
        stop = found
    return None


def newest_mark(raw: bytes) -> Mark | None:
    """Return the mark of the highest revision in a damaged log, whose lines may have moved."""
    marks = [mark_of(entry.line + b"\n", entry.at, anywhere=True) for entry in lines_of(raw, 0)]
    return max((mark for mark in marks if mark), key=lambda mark: mark.revision, default=None)


def is_unfinished(rest: bytes, start: int) -> bool:
    """
    Tell whether what stands behind the last mark is a write that never finished, and not a damaged one that did.

    Args:
        start: where the rest begins; 0 where there is no mark, so that it must begin as a log does, or it is somebody
            else's file.
    """
    if not start and not _SESSION.startswith(rest[: len(_SESSION)]):
        return False
    found = rest.find(_WRITE)
    if (found >= 0 and b"\n" in rest[found:]) or b"\r" in rest:  # no write of ours holds one that is not escaped
        return False
    return not _held_a_mark(rest, start)


def _held_a_mark(rest: bytes, start: int) -> bool:
    """Tell whether a mark stands in the rest but for a byte of its first ones, or its newline, that became another."""
    position = rest.find(b'"at":')
    while position >= 0:
        where = b'"at":%d,"revision":' % (start + position - len(_WRITE))
        if rest.startswith(where, position) and b"\n" in rest[position:]:
            return True
        position = rest.find(b'"at":', position + 1)
    last = rest.rfind(b"\n") + 1
    return mark_of(rest[last:-1] + b"\n", start + last) is not None


def without_torn_write(raw: bytes) -> bytes:
    """Return a log without its last write, if that has zeros in it and an acknowledged one stands before it."""
    zero = raw.find(b"\0")
    before = last_mark(raw[:zero], 0) if zero >= 0 else None
    last = last_mark(raw, 0)
    if before is None or last is None:
        return raw
    is_last = last == before or last_mark(raw[: last.at], 0) == before
    return raw[: before.end] if is_last else raw


def session_prefix(session_id: str) -> bytes:
    """Return what the session line of an id begins with, to check an id without decoding."""
    return _SESSION + b'"session":{"session_id":' + values.dumps(session_id)


def session_line(session: SessionData, namespace: str) -> bytes:
    """Return a session's line with its newline; what every write changes stands in the mark instead."""
    header = {name: value for name, value in session.header().items() if name not in _MARK_FIELDS}
    dumps = values.dumps_extended if session.extra.get("extended_json") is True else values.dumps
    # A namespace too long for a directory's name stands nowhere else.
    return dumps({"log": "session", "session": header, **({"namespace": namespace} if namespace else {})}) + b"\n"


def message_line(record: Record, *, extended: bool = False) -> bytes:
    """Return a message's line with its newline. Raises InvalidMessageError."""
    dumps = values.dumps_extended if extended else values.dumps
    line = dumps(record)
    if line.startswith(_LOG):
        line = dumps({"role": record.get("role", "user"), **record})  # or it would be taken for one of the log's own
    return line + b"\n"


def cut_line(behind: int, messages: int, *, archived: bool) -> bytes:
    """Return the line that takes messages out of the window."""
    return values.dumps({"log": "cut", "behind": behind, "messages": messages, "archived": archived}) + b"\n"


def record_of(line: bytes) -> Record:
    """Return the message on a line. Raises ValueError where it is damaged."""
    record = values.loads_any(line)[0]
    if not isinstance(record, dict):
        raise ValueError("a message is no JSON object")
    return record


def session_of_line(line: bytes) -> tuple[Record, str]:
    """Return what a session line tells, and the namespace. Raises ValueError where it is damaged."""
    data = values.loads_any(line)[0]
    header = data.get("session") if isinstance(data, dict) else None
    if not isinstance(header, dict) or not isinstance(header.get("session_id"), str) or wrong_fields(header):
        raise ValueError("no session's fields")
    return header, str(data.get("namespace", ""))


def header_of(session: Record, mark: Mark) -> Record:
    """Return a session's header as `SessionData.from_dict` takes it."""
    header = {**session, "revision": mark.revision, "updated_at": mark.updated_at}
    if mark.leading_messages is not None:
        header["leading_messages"] = mark.leading_messages
    return header


def info_of(session: Record, mark: Mark, size_bytes: int, namespace: str) -> SessionInfo:
    """Return a session's summary."""
    return SessionInfo.from_header(header_of(session, mark), mark.messages, size_bytes, namespace)


def lines_of(raw: bytes, start: int) -> Iterator[Entry]:
    """Yield each line of a part of a log that begins at the byte `start`, without its newline."""
    position = 0
    while position < len(raw):
        end = raw.find(b"\n", position)
        end = len(raw) if end < 0 else end
        yield Entry(start + position, raw[position:end])
        position = end + 1


def messages_in(raw: bytes, start: int) -> list[Entry]:
    """Return the messages in a part of a log."""
    return [entry for entry in lines_of(raw, start) if not entry.line.startswith(_LOG)]


def replay(raw: bytes) -> Contents:
    """
    Return what a log holds, by counting, up to its last mark; `damage` names each line that is not whole.

    A damaged line counts as the message it most likely was, so that cuts behind it take out the right ones.
    """
    contents = Contents(None, [], [], [])
    for number, entry in enumerate(lines_of(raw, 0), start=1):
        line = entry.line
        try:
            if line.startswith(_SESSION):
                contents.session = session_of_line(line)[0]
            elif line.startswith(_CUT):
                _cut(contents, values.loads(line))
            elif not line.startswith(_LOG):
                record_of(line)
                contents.window.append(entry)
            elif not line.startswith(_WRITE):
                raise ValueError("a line of the log that this version does not know")
            else:
                values.loads(line)
        except (ValueError, KeyError, TypeError) as error:
            contents.damage.append(f"line {number}: {error}")
            if not line.startswith(_LOG):
                contents.window.append(Entry(-1, line))
    contents.window = [entry for entry in contents.window if entry.at >= 0]
    contents.archive = [entry for entry in contents.archive if entry.at >= 0]
    return contents


def _cut(contents: Contents, cut: dict[str, Any]) -> None:
    behind, count = cut["behind"], cut["messages"]
    left = contents.window[behind : behind + count]
    del contents.window[behind : behind + count]
    if cut["archived"]:
        contents.archive += left


def whole_log(
    session: bytes, window: Sequence[bytes], archive: Sequence[bytes], *, revision: int, updated_at: str,
    leading_messages: int | None,
) -> list[bytes]:
    """Return the lines of a log with nothing dead in it, the first mark included; all lines have their newline."""
    head = min(leading_messages or 0, len(window)) if archive else 0
    head_at = len(session)
    archive_at = head_at + sum(map(len, window[:head]))
    cut = [cut_line(head, len(archive), archived=True)] if archive else []
    window_at = archive_at + sum(map(len, archive)) + sum(map(len, cut))
    live_bytes = head_at + sum(map(len, window)) + sum(map(len, archive))
    mark = Mark(
        at=window_at + sum(map(len, window[head:])), revision=revision, updated_at=updated_at, messages=len(window),
        leading_messages=leading_messages, head=head, head_at=head_at, window_at=window_at, session_at=0,
        archived=len(archive), live_bytes=live_bytes, dead_bytes=0,
    )
    return [session, *window[:head], *archive, *cut, *window[head:], mark.line()]
