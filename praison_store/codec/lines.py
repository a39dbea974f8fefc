"""
A session's bytes, one message per line: taken apart, spliced and put together without decoding a message.

    {"session_id":...,"agent_name":...,"user_id":...,"created_at":...,      fixed
     "updated_at":...,"revision":2,"message_count":2,"archived_bytes":0,   counted anew with every write
     ...,"metadata":{},"messages":[                                          rest, kept as bytes
    {"role":"user",...},                                                     body, kept as bytes
    {"role":"assistant",...}
    ]}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import InvalidMessageError
from ..model.session import time_text, wrong_fields
from . import values

TAIL = b"\n]}\n"
_BETWEEN = b",\n"
_OPEN = b'"messages":[\n'
_TEXT = rb'(?:"(?:[^"\\\x00-\x1f]++|\\.)*+"|null)'
_HEAD = re.compile(
    rb'(\{"session_id":(' + _TEXT + rb'),"agent_name":' + _TEXT + rb',"user_id":' + _TEXT + rb',"created_at":' + _TEXT
    + rb',)"updated_at":"([ !#-\[\]-~]*+)","revision":(\d{1,18}),"message_count":(\d{1,18}),'
    rb'"archived_bytes":(\d{1,18}),(?:"leading_messages":(\d{1,18}),)?'
)
_EXTENDED = b'"extended_json":true'


class LineFile:
    """
    One session's file, taken apart.

    Shape: `body` is the messages joined by a comma and a newline; `count` counts them; `archived_bytes` is how much
    of the archive belongs to this session; `leading` of the messages led the conversation, None until one left;
    `extended` tells that only the standard library reads it exactly.
    """

    __slots__ = (
        "archived_bytes", "body", "count", "extended", "fixed", "id_json", "leading", "rest", "revision", "updated_at",
    )

    def __init__(
        self, fixed: bytes, id_json: bytes, rest: bytes, body: bytearray, *, count: int, revision: int,
        updated_at: bytes, archived_bytes: int, leading: int | None,
    ) -> None:
        self.fixed, self.id_json, self.rest, self.body = fixed, id_json, rest, body
        self.count, self.revision, self.updated_at = count, revision, updated_at
        self.archived_bytes, self.leading = archived_bytes, leading
        self.extended = _EXTENDED in rest

    def head(self) -> bytes:
        """Return the first line, newline included."""
        return _head(
            self.fixed, self.updated_at, self.revision, self.count, self.archived_bytes, self.leading, self.rest
        )

    def copy(self) -> LineFile:
        """Return a copy that a later write does not change."""
        return LineFile(
            self.fixed, self.id_json, self.rest, self.body[:], count=self.count, revision=self.revision,
            updated_at=self.updated_at, archived_bytes=self.archived_bytes, leading=self.leading,
        )

    def bytes_whole(self) -> bytes:
        """Return the whole file in one piece."""
        return self.head() + self.body + (TAIL if self.count else TAIL[1:])

    def header(self) -> dict[str, Any]:
        """Return the decoded first line: every field but the messages. Raises ValueError where it is damaged."""
        raw = self.head()[: -len(_OPEN)].rstrip(b",") + b"}"
        return checked_header(self._loads(raw))

    def records(self, first: int = 0, stop: int | None = None) -> list[dict[str, Any]]:
        """
        Return the decoded messages `first..stop`.

        Raises:
            ValueError: A message is damaged.
        """
        body = self.body
        if first or stop is not None:
            stop = self.count if stop is None else min(stop, self.count)
            if stop <= first:
                return []
            start = self.offset(first)
            body = body[start : self.offset(stop, first, start) - (len(_BETWEEN) if stop < self.count else 0)]
        raw = b"[" + body + b"]"
        records: list[dict[str, Any]] = self._loads(raw)
        if not all(type(record) is dict for record in records):
            raise ValueError("a message is no JSON object")
        return records

    def _loads(self, raw: bytes | bytearray) -> Any:
        # Somebody may have edited the file by hand, so a long integer is looked for even where we wrote none.
        value, extended = (values.loads_extended(raw), True) if self.extended else values.loads_any(raw)
        self.extended = extended
        return value

    def offset(self, line: int, known_line: int = 0, known_offset: int = 0) -> int:
        """Return where a line starts in `body`; the end of `body` for the line after the last."""
        if line >= self.count:
            return len(self.body)
        find, position = self.body.find, known_offset
        for _ in range(line - known_line):
            position = find(b"\n", position) + 1
        return position

    def lines(self) -> list[bytes]:
        """Return the messages as they stand, undecoded."""
        return bytes(self.body).split(_BETWEEN) if self.count else []


def record_of_id(body: bytes | bytearray, message_id: str) -> dict[str, Any] | None:
    """Return the message of an id in a body or an archive. Cost: one search for bytes; lines that match are decoded."""
    for line in _lines_with(body, values.dumps(message_id)):
        try:
            record: Any = values.loads_any(line)[0]
        except ValueError:
            continue  # a damaged line has no id
        if isinstance(record, dict) and record.get("message_id") == message_id:
            return record
    return None


def _lines_with(body: bytes | bytearray, needle: bytes) -> Iterable[bytes]:
    """Yield the lines of a body or an archive that hold the bytes `needle`."""
    position = body.find(needle)
    while position >= 0:
        end = body.find(b"\n", position)
        end = len(body) if end < 0 else end
        yield bytes(body[body.rfind(b"\n", 0, position) + 1 : end]).rstrip(b",")
        position = body.find(needle, end)


def parse(raw: bytes) -> LineFile | None:
    """
    Return a file of this layout taken apart; None for any other layout, or where the counts do not agree.

    Cost: one pass for newlines and one for NUL, whatever the messages hold; none is decoded.
    """
    match = _HEAD.match(raw)
    head_end = raw.find(b"\n") + 1
    if match is None or not raw.startswith(_OPEN, head_end - len(_OPEN)) or not raw.endswith(TAIL):
        return None
    if match[2] == b"null":
        return None  # written by hand: the id is the file's name, which the caller knows
    count = int(match[5])
    body = bytearray(raw[head_end : -len(TAIL)] if count else b"")
    empty = not count and raw[head_end - 1 :] == TAIL
    # A power cut may leave blocks of NUL in a file that was never flushed; no JSON holds one.
    if not empty and (not body or body.count(b"\n") != count - 1 or body.count(b"},\n{") != count - 1 or 0 in body):
        return None
    return LineFile(
        match[1], match[2], raw[match.end() : head_end], body, count=count, revision=int(match[4]),
        updated_at=match[3], archived_bytes=int(match[6]), leading=None if match[7] is None else int(match[7]),
    )


def parse_head(raw: bytes) -> tuple[dict[str, Any], int] | None:
    """Return the header of a file and how many messages follow, from its first bytes; None for another layout."""
    match = _HEAD.match(raw)
    head_end = raw.find(b"\n") + 1
    if match is None or not raw.startswith(_OPEN, head_end - len(_OPEN)):
        return None
    header, _extended = values.loads_any(raw[: head_end - len(_OPEN)].rstrip(b",") + b"}")
    return checked_header(header), int(match[5])


def checked_header(header: Any) -> dict[str, Any]:
    """Return a header whose fields have kinds they can have. Raises ValueError."""
    if not isinstance(header, dict):
        raise ValueError("not a session: no JSON object")
    if wrong := wrong_fields(header):
        raise ValueError(f"not a session: a value of a wrong kind as {', '.join(wrong)}")
    return header


def build(header: dict[str, Any], lines: Sequence[bytes], *, extended: bool = False) -> LineFile:
    """Return the file of a header and encoded messages; `revision`, `updated_at`, `archived_bytes` come from it."""
    fixed, rest = _encode_header(header, extended)
    match = re.match(rb'\{"session_id":(' + _TEXT + rb"),", fixed)
    assert match is not None, fixed  # nosec B101 # our own bytes, just encoded
    return LineFile(
        fixed, match[1], rest, bytearray(_BETWEEN.join(lines)), count=len(lines),
        revision=int(header.get("revision") or 0),
        updated_at=values.dumps(time_text(header.get("updated_at")))[1:-1],
        archived_bytes=int(header.get("archived_bytes") or 0), leading=header.get("leading_messages"),
    )


_FIXED = ("session_id", "agent_name", "user_id", "created_at")
_COUNTED = ("updated_at", "revision", "message_count", "archived_bytes", "leading_messages")


def _head(
    fixed: bytes, updated_at: bytes, revision: int, count: int, archived_bytes: int, leading: int | None, rest: bytes
) -> bytes:
    counted = b'%b"updated_at":"%b","revision":%d,"message_count":%d,"archived_bytes":%d,' % (
        fixed, updated_at, revision, count, archived_bytes,
    )
    return counted + rest if leading is None else counted + b'"leading_messages":%d,' % leading + rest


def encode_rest(header: dict[str, Any], *, extended: bool = False) -> bytes:
    """Return the header's fields that no write counts anew, as bytes that end where the messages begin."""
    return _encode_header(header, extended)[1]


def _encode_header(header: dict[str, Any], extended: bool) -> tuple[bytes, bytes]:
    dumps = values.dumps_extended if extended else values.dumps
    others = {name: value for name, value in header.items() if name not in _FIXED + _COUNTED + ("metadata", "messages")}
    others.pop("extended_json", None)
    if extended:
        others["extended_json"] = True
    others["metadata"] = header.get("metadata") or {}
    named = {name: header.get(name) for name in _FIXED}
    try:
        fixed = dumps({**named, "created_at": time_text(named["created_at"])})
        rest = dumps(others)
    except InvalidMessageError as error:
        message = f"The session would not read back equal: {error}"
        raise InvalidMessageError(message, where="session") from error
    return fixed[:-1] + b",", rest[1:-1] + b"," + _OPEN


class Splice:
    """
    What a write makes of a file: messages cut out, messages added, one revision more. Nothing changes before `commit`.

    Shape: keeps `[:leading]` and `[start:]` of the old messages and puts `added` behind them. `rest` replaces the
    header's uncounted fields where a cut changes them; `past` are lines, each with its newline, that left before the
    cut. `from_start` is where the message `start` begins, if known.
    """

    __slots__ = (
        "_added", "_end_leading", "_from_start", "archived_bytes", "count", "file", "leading", "past", "rest", "start",
        "updated_at",
    )

    def __init__(
        self, file: LineFile, leading: int, start: int, added: Sequence[bytes], updated_at: bytes, *,
        from_start: int | None = None,
    ) -> None:
        self.file, self.leading, self.start = file, leading, start
        self._added = _BETWEEN.join(added)
        self._end_leading = file.offset(leading) if leading else 0
        self._from_start = file.offset(start, leading, self._end_leading) if from_start is None else from_start
        self.count = leading + max(file.count - start, 0) + len(added)
        self.updated_at, self.archived_bytes, self.rest, self.past = updated_at, file.archived_bytes, file.rest, b""

    @property
    def leading_messages(self) -> int | None:
        """How many messages lead the conversation from now on: the first cut counts them, once and for all."""
        return self.leading if self.start else self.file.leading

    def chunks(self) -> list[bytes | memoryview]:
        """Return the new file as pieces to write one after the other; what is kept is a view, not a copy."""
        file = self.file
        view = memoryview(file.body)
        separator = len(_BETWEEN) if 0 < self.leading < file.count else 0
        chunks: list[bytes | memoryview] = [
            _head(
                file.fixed, self.updated_at, file.revision + 1, self.count, self.archived_bytes, self.leading_messages,
                self.rest,
            )
        ]
        if self.leading:
            chunks += view[: self._end_leading - separator], _BETWEEN
        if self.start < file.count:
            chunks += view[self._from_start :], _BETWEEN
        if self._added:
            chunks += self._added, TAIL
        elif len(chunks) > 1:
            chunks[-1] = TAIL
        else:
            chunks.append(TAIL[1:])  # a file without messages has its empty list on one line break, not on two
        return chunks

    def removed(self) -> bytes:
        """Return the lines that leave, each with a newline, as they go into the archive."""
        removed = bytes(self.file.body[self._end_leading : self._from_start])
        cut = removed.removesuffix(_BETWEEN).replace(_BETWEEN, b"\n") + b"\n" if removed else b""
        return self.past + cut

    def commit(self) -> None:
        """Make the file in memory equal to what was written. Call once, after the write, with no view left."""
        try:
            self._resize(self.file.body)
        except BufferError:
            # A profiler that holds our frames holds views of the bytes too; what is written is written all the same.
            self.file.body = bytearray(self.file.body)
            self._resize(self.file.body)
        file = self.file
        file.leading = self.leading_messages
        file.count, file.archived_bytes, file.rest = self.count, self.archived_bytes, self.rest
        file.updated_at, file.revision = self.updated_at, file.revision + 1

    def _resize(self, body: bytearray) -> None:
        file = self.file
        if self._from_start < len(body):
            del body[self._end_leading : self._from_start]
        else:
            separator = len(_BETWEEN) if 0 < self.leading < file.count else 0
            del body[self._end_leading - separator :]
        if body and self._added:
            body += _BETWEEN
        body += self._added
