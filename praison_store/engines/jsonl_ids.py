"""Know which message ids a log holds without reading it again for each message."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..disk import files, log
from ..errors import StoreReadError
from ..model.message import Record, llm_message
from . import jsonl_format as form
from .forks import renew_in_child
from .jsonl_log import LogView

logger = logging.getLogger("praison_store")
_ID = b'"message_id":'
_MOST_LOGS = 32
_MOST_IDS = 500_000
_PIECE_BYTES = 1 << 20


@dataclass
class _Ids:
    """The ids of one log up to `end`, each with its newest place; `held` keeps the log's inode number its own."""

    held: files.HeldFile
    file: tuple[int, int]
    end: int = 0
    places: dict[str, int] = field(default_factory=dict)


class IdIndex:
    """
    The message ids of the logs written last, read on from where the last look ended.

    Promise: what it says is proven, for a log only grows behind its marks, and one that took its place is another file.
    Bounded in logs and ids; a log that does not fit is read again.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._logs: OrderedDict[str, _Ids] = OrderedDict()
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Start empty in a forked child, with a mutex that no thread of the parent holds."""
        for one in self._logs.values():
            one.held.close()
        self._logs = OrderedDict()
        self._mutex = threading.Lock()

    def not_stored(self, view: LogView, lines: list[bytes], messages: Sequence[Record]) -> list[bytes]:
        """
        Return the lines of the messages whose id is not in the log; the caller has the turn.

        Cost: one read of what was written since the last look; where an id is found outside the window, one of all.
        """
        if not any("message_id" in message for message in messages):
            return lines
        with self._mutex:
            places = self._current(view).places if view.mark is not None else {}
            seen: dict[str, Record] = {}
            fresh = []
            for line, message in zip(lines, messages, strict=True):
                message_id = message.get("message_id")
                if message_id is not None:
                    stored = seen.get(message_id)
                    if stored is None and message_id in places:
                        stored = _stored(view, places[message_id], message_id)
                    if stored is not None:
                        if llm_message(stored) != llm_message(message):
                            logger.warning(
                                "%s: message_id %r is taken by another message: not stored", view.path, message_id)
                        continue
                    seen[message_id] = message
                fresh.append(line)
            return fresh

    def close(self) -> None:
        """Forget everything and give back the descriptors."""
        with self._mutex:
            for one in self._logs.values():
                one.held.close()
            self._logs.clear()

    def _current(self, view: LogView) -> _Ids:
        end = view.known().end
        state = log.state_of(view.held, view.path)
        file = (state.st_ino, state.st_dev)
        ids = self._logs.pop(view.path, None)
        if ids is None or ids.file != file or ids.end > end:
            if ids is not None:
                ids.held.close()
            opened = files.open_to_read(view.path)
            if opened is None:
                # The caller has the turn, so this was no writer of ours.
                raise StoreReadError(f"{view.path} was taken away while it was written: write again.", path=view.path)
            ids = _Ids(opened[0], file)
        self._logs[view.path] = ids
        while len(self._logs) > _MOST_LOGS or sum(len(one.places) for one in self._logs.values()) > _MOST_IDS:
            if len(self._logs) == 1:
                break
            self._logs.popitem(last=False)[1].held.close()
        while ids.end < end:
            piece = log.read_at(view.held, view.path, ids.end, min(_PIECE_BYTES, end - ids.end))
            whole = piece.rfind(b"\n") + 1
            if not whole:  # one line longer than a piece
                piece = log.read_at(view.held, view.path, ids.end, end - ids.end)
                whole = piece.rfind(b"\n") + 1
            _collect(ids.places, piece[:whole], ids.end)
            ids.end += whole or end - ids.end
        return ids


def _collect(places: dict[str, int], raw: bytes, start: int) -> None:
    if _ID not in raw:
        return
    for entry in form.messages_in(raw, start):
        if _ID in entry.line:
            try:
                message_id = form.record_of(entry.line).get("message_id")
            except ValueError:
                continue  # a damaged line has no id
            if isinstance(message_id, str):
                places[message_id] = entry.at


def _stored(view: LogView, at: int, message_id: str) -> Record | None:
    """Return the message of an id, unless it was dropped; `at` is its newest place."""
    mark = view.known()
    if at >= mark.window_at:
        return form.record_of(next(iter(view.messages_at(at, 1))).line)
    contents = form.replay(view.bytes_whole())
    for entry in [*contents.window, *contents.archive]:
        record = form.record_of(entry.line)
        if record.get("message_id") == message_id:
            return record
    return None
