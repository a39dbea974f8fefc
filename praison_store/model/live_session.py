"""A session held live in memory, changed at will, and what of it is to be stored. Pure; no I/O."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from ..errors import InvalidArgumentError, InvalidMessageError, shown
from . import arguments, given
from .exchanges import newest_window
from .merge import Held, Seen, held
from .message import Record
from .session import SessionData
from .tokens import token_count
from .values import exact, size_bytes_of, storable


class Session:
    """
    One session held live by a `SessionManager`: changed here at will, stored by `save_session` or the timer.

    Shape: `messages` are dicts as they were given, with any keys, oldest first; `metadata` is a dict. Both may be
    changed in place; what could not be stored is refused when it is saved, or at once by the methods here. What begins
    with an underscore is for the manager.
    Source: the methods follow the coda session README.
    """

    def __init__(self, data: SessionData, most_bytes: int, mutex: AbstractContextManager[Any]) -> None:
        self.name = data.session_id
        self._mutex = mutex
        self._most_bytes = most_bytes
        self._tried: list[tuple[str, Record]] = []
        self._is_refused = False  # True once a save met a conflict; loaded again, the session begins anew
        self.messages: list[Record] = []
        self.metadata: dict[str, Any] = {}
        self._follow(data)

    def _follow(self, data: SessionData) -> None:
        """Show what is stored; what was refused is forgotten."""
        self._is_refused = False
        self._seen = Seen.of(data)
        self.messages[:] = self._seen.messages()
        self.metadata.clear()
        self.metadata.update(copy.deepcopy(data.metadata))
        self._note(data)

    def _note(self, data: SessionData) -> None:
        self.created_at, self.updated_at, self.parent = data.created_at, data.updated_at, data.parent_id
        self._size_bytes = sum(map(size_bytes_of, self._seen.texts))

    @property
    def revision(self) -> int:
        """Return the revision that was read or written last."""
        return self._seen.revision

    def add_message(self, message: Mapping[str, Any]) -> None:
        """
        Put a message behind the others; it is kept and given back exactly, whatever keys it has.

        Args:
            message: a dict with `role` and `content` (or `tool_calls`).
        Raises:
            InvalidMessageError: It is none, would not read back equal, or makes the session larger than
                `max_session_size`. Nothing was added.
        """
        given.record_of(message, 0.0)
        plain = copy.deepcopy(storable(dict(message), "message"))
        size_bytes = size_bytes_of(exact(plain))
        with self._mutex:
            self._fit(self._size_bytes + size_bytes)
            self.messages.append(plain)
            self._size_bytes += size_bytes

    def get_messages(self, limit: int | None = None) -> list[Record]:
        """Return copies of the newest `limit` messages, oldest first; None returns all, 0 none."""
        newest = arguments.at_least(limit, "limit", 0, none=True)
        with self._mutex:
            start = 0 if newest is None else max(0, len(self.messages) - newest)
            return copy.deepcopy(self.messages[start:])

    def clear_messages(self) -> None:
        """Take all messages away; the metadata stays."""
        with self._mutex:
            del self.messages[:]
            self._size_bytes = 0

    def truncate_messages(self, max_messages: int) -> None:
        """
        Keep the newest messages only.

        Args:
            max_messages: 0 or more. Leading system messages are kept and count; a tool exchange is never cut (D9).
        """
        most = arguments.at_least(max_messages, "max_messages", 0) or 0
        with self._mutex:
            leading, start = newest_window(self.messages, most) if most else (0, len(self.messages))
            del self.messages[leading:start]
            self._size_bytes = sum(size_bytes_of(exact(message)) for message in self.messages)

    def update_metadata(self, metadata: Mapping[str, Any]) -> None:
        """Set keys of the metadata; the others stay. Raises InvalidMessageError for what would not read back equal."""
        if not isinstance(metadata, Mapping):
            raise InvalidArgumentError(f"metadata is a dict, not {shown(metadata)}: pass one.")
        plain = copy.deepcopy(storable(dict(metadata), "metadata"))
        with self._mutex:
            self.metadata.update(plain)

    def get_token_count(self) -> int:
        """
        Return about how many tokens the messages are for a model.

        Not promised: a model's own count; this is four bytes of text a token, and four tokens a message.
        """
        with self._mutex:
            return token_count(self.messages)

    def _fit(self, size_bytes: int) -> None:
        if size_bytes > self._most_bytes:
            raise InvalidMessageError(
                f"The session {self.name!r} would have {size_bytes} bytes, more than max_session_size allows "
                f"({self._most_bytes}): truncate it, or raise max_session_size.", where="messages")

    def _held(self, now_s: float) -> Held:
        """Return what is to be stored, checked; each message keeps its record, however often it is tried."""
        if not isinstance(self.messages, list) or not isinstance(self.metadata, dict):
            raise InvalidArgumentError(f"The session {self.name!r} has messages as a list and metadata as a dict.")
        storable(self.metadata, "metadata")
        known = [*zip(self._seen.texts, self._seen.records, strict=True), *self._tried]
        mine = held(self.messages, self.metadata, known, now_s)
        self._fit(sum(map(size_bytes_of, mine.texts)))
        seen = len(self._seen.texts)
        self._tried = list(zip(mine.texts, mine.records, strict=True))[seen:]
        return mine

    def _is_changed(self) -> bool:
        """Tell whether a save has anything to do, or to refuse."""
        try:
            messages = [exact(message) for message in self.messages]
            return messages != self._seen.texts or not given.same(self.metadata, self._seen.metadata)
        except (TypeError, ValueError, RecursionError):
            return True

    def _stored(self, data: SessionData, mine: Held) -> None:
        """Note what is stored now; what was changed here since the save began stays as it is."""
        self._seen, self._tried = Seen.of(data), []
        begin = [exact(message) for message in self.messages[: len(mine.texts)]]
        if self._seen.texts != mine.texts and begin == mine.texts:
            self.messages[: len(mine.texts)] = self._seen.messages()
        since = {
            name: value for name, value in self.metadata.items()
            if name not in mine.metadata or not given.same(value, mine.metadata[name])
        }
        gone = {name for name in mine.metadata if name not in self.metadata}
        now = {**copy.deepcopy(data.metadata), **since}
        self.metadata.update({name: value for name, value in now.items() if name not in gone})
        for name in [name for name in self.metadata if name not in now]:
            del self.metadata[name]
        self._note(data)
