"""Decide what a write puts behind a log, from its last mark and no more of the log than the decision needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..codec import values
from ..model import portable
from ..model.message import SessionMessage
from ..model.session import SessionData
from ..retention import Policy
from .jsonl_format import Entry, Mark, cut_line, message_line, record_of, session_line, whole_log

_ROLE, _SYSTEM, _TOOL = b'{"role":"', b'{"role":"system"', b"tool"


@dataclass
class Window:
    """
    A log's window, read as far as it is needed.

    Shape: `head` are the messages in front of the archive, `oldest(count)` the first ones behind it, `all()` every
    one; `session()` is the session without them, and its line.
    """

    mark: Mark
    head: Callable[[], list[Entry]]
    oldest: Callable[[int], list[Entry]]
    session: Callable[[], tuple[SessionData, bytes]]

    def all(self) -> list[Entry]:
        """Return every message of the window."""
        return [*self.head(), *self.oldest(self.mark.messages - self.mark.head)]


class Plan(NamedTuple):
    """What to put behind a log, its mark last, and what the window loses by it: `[leading:start]` of its messages."""

    lines: list[bytes]
    mark: Mark
    leading: int
    start: int


# Return the session line a write puts into the log, None where it did not change, and how long the one before was;
# given what the window loses.
SessionLine = Callable[[int, int], tuple[bytes | None, int]]


def behind(
    window: Window, added: Sequence[bytes], policy: Policy, updated_at: str, session: SessionLine, revision: int
) -> Plan | None:
    """
    Return the plan of a write behind a log's last mark; None where the log must be written anew.

    Args:
        added: message lines, each with its newline.
    Cost: without a cut nothing is read; with one, what leaves and the message behind it, or where tools or leading
    system messages are near, the whole window.
    """
    mark = window.mark
    count = mark.messages + len(added)
    lines, position = list(added), mark.end + sum(map(len, added))
    live_bytes, dead_bytes = mark.live_bytes + position - mark.end, mark.dead_bytes
    leading, start, left_bytes, kept_at = _cut(window, added, policy) if policy.overflows(count) else (0, 0, 0, 0)
    new = mark
    if start > leading:
        if mark.head not in (0, leading):
            return None
        line = cut_line(leading, start - leading, archived=policy.archives)
        lines.append(line)
        position += len(line)
        archived = start - leading if policy.archives else 0
        dropped_bytes = 0 if policy.archives else left_bytes
        live_bytes, dead_bytes = live_bytes - dropped_bytes, dead_bytes + dropped_bytes + len(line)
        new = replace(
            mark, head=leading, head_at=mark.head_at if mark.head else mark.window_at, window_at=kept_at,
            leading_messages=leading, archived=mark.archived + archived,
        )
    session_at = mark.session_at
    changed, was_bytes = session(leading, start)
    if changed is not None:
        lines.append(changed)
        session_at, position = position, position + len(changed)
        live_bytes, dead_bytes = live_bytes + len(changed) - was_bytes, dead_bytes + was_bytes
    new = replace(
        new, at=position, revision=revision, updated_at=updated_at, messages=count - (start - leading),
        session_at=session_at, live_bytes=live_bytes, dead_bytes=dead_bytes,
    )
    return Plan([*lines, new.line()], new, leading, start)


def anew(
    session: SessionData, window: Sequence[bytes], archive: Sequence[bytes], policy: Policy, updated_at: str,
    revision: int, namespace: str,
) -> list[bytes]:
    """
    Return the lines of a whole log, after what the policy lets go; the session's fields follow, its messages do not.

    Args:
        window: message lines, each with its newline; so is the archive.
    """
    window, archive = list(window), list(archive)
    if policy.overflows(len(window)):
        leading, start = policy.cut([record_of(line) for line in window], session.leading_messages)
        if start > leading:
            archive += window[leading:start] if policy.archives else []
            del window[leading:start]
            lose(session, leading, start)
    return whole_log(
        session_line(session, namespace), window, archive, revision=revision, updated_at=updated_at,
        leading_messages=session.leading_messages,
    )


def lose(session: SessionData, leading: int, start: int) -> None:
    """Take `[leading:start]` of the messages out of a session."""
    del session.messages[leading:start]
    session.leading_messages = leading
    if session.last_compaction is not None:
        session.last_compaction = session.last_compaction.after_cut(leading, start)


def checkpoint_moved(window: Window, namespace: str) -> SessionLine:
    """Return the session line of an append: a new one only where a cut moves the session's checkpoint."""

    def line(leading: int, start: int) -> tuple[bytes | None, int]:
        if start <= leading:
            return None, 0
        session, stored = window.session()
        if session.last_compaction is None:
            return None, 0
        session.last_compaction = session.last_compaction.after_cut(leading, start)
        return session_line(session, namespace), len(stored)

    return line


def changed_line(session: SessionData, stored: bytes, namespace: str) -> SessionLine:
    """Return the session line of an update: a new one where the session differs from what is stored, cut included."""

    def line(leading: int, start: int) -> tuple[bytes | None, int]:
        if start > leading:
            lose(session, leading, start)
        now = session_line(session, namespace)
        return (None, 0) if now == stored else (now, len(stored))

    return line


class Before:
    """A session before a change, to tell behind it what the change did to the messages."""

    def __init__(self, session: SessionData, entries: Sequence[Entry], policy: Policy) -> None:
        self.revision = session.revision
        self._leading = session.leading_messages
        self._messages = list(session.messages)  # kept alive, so that no new message has the id of an old one
        self._lines = {
            id(message): (_form(message), entry.line + b"\n")
            for message, entry in zip(session.messages, entries, strict=True)
        }
        self._past = session.past(policy.window_messages)

    def lines_now(self, session: SessionData) -> tuple[list[bytes], bool]:
        """
        Return the lines of a changed session's messages; one that is the same keeps the bytes it has.

        Returns:
            The lines, and whether all that was there is there still, in its place, with something behind it or not.
        """
        extended = session.extra.get("extended_json") is True
        lines, same = [], 0
        for index, message in enumerate(session.messages):
            form, line = self._lines.get(id(message), (b"", b""))
            if form and form == _form(message):
                same += index < len(self._messages) and self._messages[index] is message
                lines.append(line)
            else:
                lines.append(message_line(message.to_dict(), extended=extended))
        return lines, same == len(self._messages) and session.leading_messages == self._leading

    def gone(self, session: SessionData) -> list[bytes]:
        """Return the lines of the messages that stood behind the window and are there no more."""
        here = set(map(id, session.messages))
        return [self._lines[id(message)][1] for message in self._past if id(message) not in here]


def archive_lines(session: SessionData) -> list[bytes]:
    """Take the archived messages an import brought out of a session; return their lines."""
    extended = session.extra.get("extended_json") is True
    return [message_line(record, extended=extended) for record in portable.taken_archive(session)]


def _form(message: SessionMessage) -> bytes:
    # Encoded forms are compared, because Python finds 1, 1.0 and True equal, and a reader would not.
    return values.dumps_extended(message.to_dict())


def _cut(window: Window, added: Sequence[bytes], policy: Policy) -> tuple[int, int, int, int]:
    """Return how many lead and where the kept ones start, how long the lines that leave are, and where the kept are."""
    mark = window.mark
    stored = mark.messages - mark.head
    limit = policy.window_messages or 1
    if mark.leading_messages is not None:
        limit = max(limit, mark.leading_messages + 1)
    leaving = mark.messages + len(added) - limit
    if 0 < leaving < stored and mark.head == (mark.leading_messages or 0):
        oldest = window.oldest(leaving + 1)
        if _is_simple(window, oldest):
            left_bytes = sum(len(entry.line) + 1 for entry in oldest[:leaving])
            return mark.head, mark.head + leaving, left_bytes, oldest[leaving].at
    entries = window.all()
    position = mark.end
    for line in added:
        entries.append(Entry(position, line[:-1]))
        position += len(line)
    leading, start = policy.cut([record_of(entry.line) for entry in entries], mark.leading_messages)
    left_bytes = sum(len(entry.line) + 1 for entry in entries[leading:start])
    return leading, start, left_bytes, entries[start].at if start < len(entries) else position


def _is_simple(window: Window, oldest: Sequence[Entry]) -> bool:
    """
    Tell from bytes alone that the window may be cut in front of the last of its oldest messages.

    Every mark of a tool exchange has "tool" in its name; where these bytes are missing from what leads, what leaves
    and the first that stays, none of them is part of an exchange.
    """
    beginning = oldest[0].line
    if window.mark.leading_messages is None and (not beginning.startswith(_ROLE) or beginning.startswith(_SYSTEM)):
        return False
    return not any(_TOOL in entry.line for entry in [*window.head(), *oldest])
