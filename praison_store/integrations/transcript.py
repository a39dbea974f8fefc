"""Every message of one session, as frameworks see it: a list without a window, changed by several processes at once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..engines.contract import Change
from ..engines.refusals import conflict
from ..errors import InvalidArgumentError, LockTimeoutError, RevisionConflictError, shown
from ..model.exchanges import leading_system, newest_window
from ..model.message import Record, SessionMessage, records_of
from ..model.session import CompactionCheckpoint, SessionData
from ..model.session_id import SessionKey, file_stem, key_of
from ..retention import Policy, policy_named
from ..store import DefaultSessionStore, get_default_session_store

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.001, 0.05


def store_or_default(store: DefaultSessionStore | None) -> DefaultSessionStore:
    """Return the store an adapter was given, or this process's. Raises InvalidArgumentError where it is none."""
    if store is not None and not isinstance(store, DefaultSessionStore):
        raise InvalidArgumentError(f"store is a DefaultSessionStore, not {shown(store)}: pass one, or None.")
    return get_default_session_store() if store is None else store


def keeping_policy(store: DefaultSessionStore) -> Policy:
    """Return a store's policy; where it is `truncate`, that which keeps in the archive what leaves the window."""
    return policy_named("archive" if store.retention == "truncate" else store.retention, store.max_messages)


class Tries:
    """
    The tries of one write that is stored only where nobody wrote since it was decided.

    Shape: `missed` is called where somebody did. It waits, longer each time and by chance, so that those who meet do
    not meet again.
    """

    def __init__(self, store: DefaultSessionStore, key: SessionKey) -> None:
        self._store, self._key = store, key
        self._began_s, self._pause_s = time.monotonic(), _FIRST_PAUSE_S

    def missed(self) -> None:
        """Wait for another try. Raises LockTimeoutError after the store's `lock_timeout`; nothing was written."""
        waited_s = time.monotonic() - self._began_s
        if waited_s >= self._store.lock_timeout:
            raise LockTimeoutError(
                f"Others wrote to {self._key.session_id!r} before each try, for {waited_s:.1f} s: try again.",
                path=self._store.session_dir or self._store.engine.capabilities.name, waited_s=waited_s, holder=())
        time.sleep(random.uniform(0, self._pause_s))  # nosec B311 # a pause, no secret
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)


def of_the_same(key: SessionKey, seen: SessionData, change: Change) -> Change:
    """
    Return a change that is made in the session that was seen alone, beside `expected_revision`.

    A session that was deleted and begun anew counts its revisions from the first again, and may have come as far.
    """
    def checked(session: SessionData) -> bool | None:
        if seen.revision and session.created_at != seen.created_at:
            raise conflict(key, seen.revision, session.revision)
        return change(session)

    return checked


class Transcript:
    """
    One session's messages, archived ones included, oldest first.

    Args:
        key: a session's id, or its key where a framework names sessions by more than one text.
        keeps_all: never let a message go, even where the store's retention is `truncate`; see `keeping_policy`.
    Raises:
        InvalidSessionIdError, InvalidArgumentError: An id or a store that cannot be meant.
    Errors: every call raises SessionStoreError where it could not do its work, and then nothing was changed.
    """

    def __init__(
        self, key: str | SessionKey, store: DefaultSessionStore | None = None, *, keeps_all: bool = False
    ) -> None:
        self.store = store_or_default(store)
        self.engine = self.store.engine
        self.key = key if isinstance(key, SessionKey) else key_of(key)
        own = policy_named(self.store.retention, self.store.max_messages)
        self._policy = keeping_policy(self.store) if keeps_all else own
        # A name that will not do is told at once, and without I/O, because adapters are made where nothing may wait.
        for name in (self.key.session_id, self.key.namespace or self.key.session_id):
            file_stem(name)

    def session(self) -> SessionData | None:
        """Return what is known about the session, with its window of messages; None where it was never written."""
        return self.engine.read(self.key, None)

    def records(self) -> list[Record]:
        """Return every message; empty for an unknown session."""
        whole = self.engine.whole(self.key)
        return [] if whole is None else whole[0].transcript(whole[1])[0]

    def newest(self, limit: int | None, shown: Callable[[list[Record]], list[Record]] = list) -> list[Record]:
        """
        Return the newest messages, leading system messages with them; no exchange is cut. None returns all.

        Args:
            shown: one record for each thing a framework makes of messages; these are counted, and returned.
        Cost: reads the window; everything where that has too few.
        """
        if limit is not None and limit <= 0:
            return []
        session = self.session() if limit is not None else None
        if session is not None and limit is not None:
            window = [message.to_dict() for message in session.messages]
            found, is_all = _newest(window, session.leading_messages, limit, shown)
            if not is_all:
                return found
        records = self.records()
        return _newest(records, None, limit, shown)[0] if limit is not None else shown(records)

    def append(self, messages: Sequence[Record]) -> None:
        """Store messages behind the others, in one write; a `message_id` that is there is not stored twice."""
        now_s = time.time()
        records = records_of(messages, now_s)
        if records:
            self.engine.append(self.key, records, now_s=now_s, policy=self._policy)

    def replace(self, messages: Sequence[Record]) -> None:
        """Put messages in the place of all there are, in one write; what else is known of the session stays."""
        now_s = time.time()
        said = [SessionMessage.from_dict(record) for record in records_of(messages, now_s)]
        self.engine.update(self.key, partial(_become, messages=said), now_s=now_s, policy=self._policy,
                           keep_archive=False)

    def change(self, edit: Callable[[list[Record]], list[Record] | None]) -> list[Record] | None:
        """
        Edit the whole list in one step, in turn with every other writer; return what it became.

        Args:
            edit: takes every message, and returns those to keep, or None where there is nothing to do. It changes
                none in place, but puts another where it was; it is called again where another wrote meanwhile.
        Raises:
            LockTimeoutError: Others wrote before each try, for the store's `lock_timeout`. Nothing was written.
        Cost: reads the whole session, and writes it; where messages are only added, writes the window.
        """
        tries = Tries(self.store, self.key)
        while True:
            whole = self.engine.whole(self.key)
            session, archived = whole or (SessionData(self.key.session_id), [])
            there, out = session.transcript(archived)
            wanted = edit(list(there))
            if wanted is None:
                return None
            now_s = time.time()
            said = _checked(wanted, there, now_s)
            adds = len(there) <= len(wanted) and all(new is old for new, old in zip(wanted, there, strict=False))
            change: Change = partial(_extend, messages=said[len(there) :]) if adds else partial(
                _become, messages=said, compaction=_compaction(session, there, len(out), wanted))
            try:
                self.engine.update(self.key, of_the_same(self.key, session, change), now_s=now_s, policy=self._policy,
                                   expected_revision=session.revision, keep_archive=adds)
            except RevisionConflictError:
                tries.missed()
                continue
            return wanted

    def update(self, change: Change) -> SessionData:
        """Change the session together with what else is known of it, in one turn; see `Engine.update`."""
        return self.engine.update(self.key, change, now_s=time.time(), policy=self._policy)

    def take_last(self, shown: Callable[[list[Record]], list[Record]] = list) -> Record | None:
        """
        Remove the last message and return it, in one step; None where there is none.

        Args:
            shown: one record for each thing a framework makes of messages. Of a message that makes several, the last
                is taken, and the others stay; one that makes none is passed over.
        """
        taken: list[Record] = []

        def shorten(records: list[Record]) -> list[Record] | None:
            taken.clear()
            for place in reversed(range(len(records))):
                parts = shown([records[place]])
                if parts:
                    taken.append(parts.pop())
                    return [*records[:place], *_in_place_of(records[place], parts), *records[place + 1 :]]
            return None

        def edit(session: SessionData) -> bool:
            # The window's last is the session's last, unless only what leads the conversation stands there. One in
            # front of it might be on its way to the archive, where an engine would put what is taken here.
            window = [message.to_dict() for message in session.messages]
            leading = leading_system(window) if session.leading_messages is None else session.leading_messages
            left = shorten(window[-1:]) if len(window) > leading else None
            if left is None:
                return False
            session.last_compaction = _compaction(session, window, 0, [*window[:-1], *left])
            session.messages[-1:] = map(SessionMessage.from_dict, left)
            return True

        self.engine.update(self.key, edit, now_s=time.time(), policy=self._policy)
        if not taken:
            self.change(shorten)
        return taken[0] if taken else None

    def set_fields(self, **fields: Any) -> None:
        """Set fields of the session's metadata, in turn; None takes one away."""
        def edit(session: SessionData) -> bool:
            before = dict(session.metadata)
            for name, value in fields.items():
                session.metadata.pop(name, None)
                if value is not None:
                    session.metadata[name] = value
            return before != session.metadata

        self.engine.update(self.key, edit, now_s=time.time(), policy=self._policy)

    def delete(self) -> bool:
        """Forget the session; False where it was never written."""
        return self.engine.delete(self.key)


def _newest(
    records: list[Record], leading: int | None, limit: int, shown: Callable[[list[Record]], list[Record]]
) -> tuple[list[Record], bool]:
    """Return the newest things shown of messages, and whether these are all there are."""
    front = shown(records[: leading or 0])
    things = front + shown(records[leading or 0 :])
    kept, start = newest_window(things, limit, None if leading is None else len(front))
    return things[:kept] + things[start:], kept == start


def _checked(wanted: Sequence[Record], there: Sequence[Record], now_s: float) -> list[SessionMessage]:
    # What is stored is not looked at again: another store may have written what ours refuses, and it stays as it is.
    stored = set(map(id, there))
    fresh = iter(records_of([record for record in wanted if id(record) not in stored], now_s))
    return [SessionMessage.from_dict(record if id(record) in stored else next(fresh)) for record in wanted]


def _in_place_of(whole: Record, others: Sequence[Record]) -> list[Record]:
    """Return what stays of a message, said when it was; the first keeps its id, so that it is not stored again."""
    stay: list[Record] = [{"timestamp": whole.get("timestamp", 0.0), **other} for other in others]
    if stay and "message_id" in whole:
        stay[0]["message_id"] = whole["message_id"]
    return stay


def _compaction(
    session: SessionData, there: Sequence[Record], archived: int, wanted: Sequence[Record]
) -> CompactionCheckpoint | None:
    """Return the checkpoint of changed messages: it stands for those of its own that still begin them, if any."""
    checkpoint = session.last_compaction
    if checkpoint is None:
        return None
    leading = leading_system(there) if session.leading_messages is None else session.leading_messages
    at = min(checkpoint.message_index, len(session.messages))
    at += archived if at > leading else 0
    own = set(map(id, there[:at]))
    index = next((place for place, record in enumerate(wanted) if id(record) not in own), len(wanted))
    return replace(checkpoint, message_index=index) if wanted and (index or not at) else None


def _extend(session: SessionData, messages: list[SessionMessage]) -> bool:
    session.messages += messages
    return bool(messages)


def _become(
    session: SessionData, messages: list[SessionMessage], compaction: CompactionCheckpoint | None = None
) -> None:
    session.messages, session.last_compaction, session.leading_messages = messages, compaction, None
    session.extra.pop("archived_messages", None)
