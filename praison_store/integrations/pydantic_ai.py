"""Conversations of Pydantic AI: `await PraisonConversationStore().load("s1")`, then run, then `save`."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import timezone
from typing import Any

from ..aio.threads import in_thread
from ..errors import (
    CorruptSessionError,
    InvalidArgumentError,
    InvalidMessageError,
    RevisionConflictError,
    SessionNotFoundError,
    shown,
)
from ..model.filters import ComparisonFilter
from ..model.message import Record, SessionMessage
from ..model.session import SessionData, SessionInfo, iso_utc
from ..model.session_id import SessionKey, key_of
from ..model.values import storable
from ..store import DefaultSessionStore
from . import pydantic_log
from .extras import missing_extra
from .pydantic_log import FIELD, Entry, Log
from .transcript import Tries, keeping_policy, of_the_same, store_or_default

try:
    from pydantic import TypeAdapter, ValidationError
    from pydantic_ai.conversation_store import (
        ConversationConflict,
        ConversationEntry,
        ConversationRecord,
        ConversationStore,
    )
    from pydantic_ai.messages import ModelMessagesTypeAdapter
    from pydantic_core import PydanticSerializationError
except ModuleNotFoundError as error:
    raise missing_extra(error, "pydantic-ai", "pydantic", "pydantic_core", "pydantic_ai") from error

_RECORD = TypeAdapter(ConversationRecord)
_MOST_HINTS = 8192


class PraisonConversationStore(ConversationStore):
    """
    Keep conversations of Pydantic AI, each the session of its id, for every process that uses the store.

    Promise: an entry comes back as it was, to the fidelity of Pydantic AI's own JSON; of two writers that expect one
    revision exactly one writes, and of the other's entries nothing is visible. The messages of a session are the
    conversation's history, in our chat form, so that other adapters read it; and a session others wrote is a
    conversation. The scope is the session's `user_id`.
    Args:
        store: any store; None is the JSON files of this process. Messages are never let go, even where its retention
            is `truncate`.
    Raises:
        InvalidArgumentError: A store that cannot be meant.
    Errors: ConversationConflict as Pydantic AI defines it; SessionStoreError where a call could not do its work, and
    then nothing was changed.
    Cost: `save` writes the session's window; `branch`, and the first save after another adapter wrote, read all of it.
    A fork copies the history it begins with, so that deleting one of the two never touches the other.
    Not promised: a deleted conversation leaves an empty session of its name, because an engine deletes unconditionally
    and would delete one that was begun anew meanwhile; its messages, branches and metadata are gone.
    """

    def __init__(self, store: DefaultSessionStore | None = None) -> None:
        self._store = store_or_default(store)
        self._engine = self._store.engine
        self._policy = keeping_policy(self._store)
        self._hints: OrderedDict[str, str] = OrderedDict()  # in which conversation an entry was seen last
        self._mutex = threading.Lock()

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """Return what is known of a conversation; None for one that is not there."""
        return await in_thread(self._record, key_of(conversation_id))

    async def read_records(
        self, *, scope: str | None = None, limit: int | None = None
    ) -> Sequence[ConversationRecord]:
        """Return the conversations, or those of a scope, the most recently saved first. Cost: one look at each."""
        return await in_thread(self._records, scope, limit)

    async def write_record(
        self, record: ConversationRecord, *, new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        """Store a record and its new entries in one write. Raises ConversationConflict, with nothing written."""
        if not isinstance(record, ConversationRecord):
            raise InvalidArgumentError(f"record is a ConversationRecord, not {shown(record)}: pass one.")
        known, added = _known(record), _entries(new_entries)
        await in_thread(self._write, record, known, added, expected_revision)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """Delete a conversation with its entries; forks have their own. Raises ConversationConflict."""
        await in_thread(self._delete, key_of(conversation_id), expected_revision)

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """
        Return an entry. Raises SessionNotFoundError, a KeyError.

        Cost: one read where this object saw the entry's conversation before; else it looks into one after the other.
        """
        return await in_thread(self._entry, entry_id)

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """
        Return the entries up to one, or the last of them. Raises SessionNotFoundError, a KeyError.

        Cost: as `read_entry`; the newest of a conversation seen before are in its window.
        """
        return await in_thread(self._history, head_id, limit)

    # ---- reading ---------------------------------------------------------------------------------------------

    def _record(self, key: SessionKey) -> ConversationRecord | None:
        session = self._engine.read(key, None)
        if session is None or not pydantic_log.is_there(session):
            return None
        newest = pydantic_log.newest_log(session)
        found = (session, newest) if newest is not None else self._whole(key)
        if found is None or not pydantic_log.is_there(found[0]):
            return None
        return self._noted(pydantic_log.known_of(found[0], found[1].head_id))

    def _noted(self, known: Record) -> ConversationRecord:
        try:
            record = _RECORD.validate_json(json.dumps(known))
        except ValidationError as error:
            name = known["conversation_id"]
            raise CorruptSessionError(
                f"The session {name!r} holds no record of Pydantic AI in its metadata ({error}): take its field "
                f"{FIELD} away.", path=name) from error
        self._note((record.head_id, *record.branches), record.conversation_id)
        return record

    def _whole(self, key: SessionKey) -> tuple[SessionData, Log] | None:
        whole = self._engine.whole(key)
        return None if whole is None else (whole[0], pydantic_log.log_of(*whole))

    def _records(self, scope: str | None, limit: int | None) -> list[ConversationRecord]:
        within = None if scope is None else ComparisonFilter.eq("user_id", scope)
        found: list[ConversationRecord] = []
        # All at once: a deleted conversation is a session still and counts for nothing, and between two pages a session
        # that is written moves to the front.
        for info in list(self._engine.find(filters=within, order_by="-updated_at")) if limit != 0 else ():
            if limit is not None and len(found) >= limit:
                break
            record = self._listed(info)
            found += [] if record is None else [record]
        found.sort(key=_utc_s, reverse=True)
        return found

    def _listed(self, info: SessionInfo) -> ConversationRecord | None:
        stored = info.metadata.get(FIELD)
        if isinstance(stored, dict) and stored.get("at_revision") == info.revision:
            session = SessionData(info.session_id, user_id=info.user_id, metadata=info.metadata)
            return self._noted(pydantic_log.known_of(session, stored.get("head_id")))
        return self._record(SessionKey(info.session_id))

    def _history(self, head_id: str | None, limit: int | None) -> list[ConversationEntry]:
        if head_id is None or limit == 0:
            return []
        hint = self._hint(head_id)
        if limit is not None and hint is not None:
            session = self._engine.read(SessionKey(hint), None)
            newest = pydantic_log.newest_log(session) if session is not None else None
            # One more than asked for, because the first of a window does not know what was before it.
            if newest is not None and len(newest.history) > limit and newest.head_id == head_id:
                return _validated(newest.history[-limit:])
        log = self._holder(head_id)
        line, missing = pydantic_log.line_to(head_id, {} if log is None else log.by_id())
        if missing is not None:
            raise _no_entry(missing)
        return _validated(line if limit is None else line[-limit:])

    def _entry(self, entry_id: str) -> ConversationEntry:
        log = self._holder(entry_id)
        if log is None:
            raise _no_entry(entry_id)
        return _validated([log.by_id()[entry_id]])[0]

    def _holder(self, entry_id: str, likely: str | None = None) -> Log | None:
        """Return the log of a conversation that holds an entry; None where none does."""
        first = [name for name in (self._hint(entry_id), likely) if name]
        for name in first:
            found = self._whole(SessionKey(name))
            if found is not None and entry_id in found[1].by_id():
                return found[1]
        for info in list(self._engine.find()):
            found = self._whole(SessionKey(info.session_id))
            if found is not None and entry_id in found[1].by_id():
                self._note((entry_id,), info.session_id)
                return found[1]
        return None

    # ---- writing ---------------------------------------------------------------------------------------------

    def _write(
        self, record: ConversationRecord, known: Record, added: list[Entry], expected_revision: str | None
    ) -> None:
        key = key_of(record.conversation_id)
        tries = Tries(self._store, key)
        while True:
            # Read, decided, and written only where nobody wrote since: what is decided on is what is replaced.
            found = self._near(key, record, added) or self._whole(key)
            session, log = found or (SessionData(key.session_id), Log([], {}))
            self._check(session, log, expected_revision)
            entries = {**{entry.id: entry for entry in added}, **log.by_id()}
            line, missing = pydantic_log.line_to(record.head_id, entries)
            while missing is not None:
                # A fork begins in another conversation, and takes a copy of what it shares.
                holder = self._holder(missing, record.forked_from)
                if holder is None or missing in entries:
                    raise ConversationConflict(record.conversation_id)
                entries = {**holder.by_id(), **entries}
                line, missing = pydantic_log.line_to(record.head_id, entries)
            if self._stored(key, session, record, known, log, line, added):
                self._note([record.head_id, *(entry.id for entry in added)], key.session_id)
                return
            tries.missed()

    def _near(
        self, key: SessionKey, record: ConversationRecord, added: Sequence[Entry]
    ) -> tuple[SessionData, Log] | None:
        """Return the newest entries alone where those that are added go on from them; the rest need not be read."""
        session = self._engine.read(key, None) if added else None
        newest = pydantic_log.newest_log(session) if session is not None else None
        if session is None or newest is None or added[0].parent_id != newest.head_id:
            return None
        by_id = {entry.id: entry for entry in added}
        line, _ = pydantic_log.line_to(record.head_id, by_id)
        return (session, newest) if len(line) == len(added) else None

    def _stored(
        self, key: SessionKey, seen: SessionData, record: ConversationRecord, known: Record, log: Log,
        line: Sequence[Entry], added: Sequence[Entry],
    ) -> bool:
        """Write what was decided; False where another wrote meanwhile."""
        count = len(log.history)
        extends = [entry.id for entry in line[:count]] == [entry.id for entry in log.history]
        # What was given and does not lead to the head is stored beside, as every other branch.
        aside = {entry.id: entry for entry in added if entry.id not in {one.id for one in line}}

        def change(session: SessionData) -> None:
            if extends:
                for entry in line[count:]:
                    fresh = pydantic_log.new_entry(entry.id, entry.parent_id, entry.message).records
                    session.messages += map(SessionMessage.from_dict, fresh)
                here = {entry.id for entry in line}
                pydantic_log.keep_left(
                    session, [one for one in {**aside, **log.left}.values() if one.id not in here])
            else:
                pydantic_log.become(session, log, line, aside)
            session.metadata[FIELD] = {**known, "at_revision": session.revision + 1}
            session.user_id = record.scope
            session.updated_at = iso_utc(_utc_s(record))

        try:
            self._engine.update(key, of_the_same(key, seen, change), now_s=time.time(), policy=self._policy,
                                expected_revision=seen.revision, keep_archive=extends)
        except RevisionConflictError:
            return False
        return True

    def _check(self, session: SessionData, log: Log, expected_revision: str | None) -> None:
        there = pydantic_log.is_there(session)
        revision = pydantic_log.known_of(session, log.head_id)["revision"] if there else None
        if revision != expected_revision:
            raise ConversationConflict(session.session_id)

    def _delete(self, key: SessionKey, expected_revision: str) -> None:
        tries = Tries(self._store, key)
        while True:
            found = self._whole(key)
            if found is None or not pydantic_log.is_there(found[0]):
                raise ConversationConflict(key.session_id)
            session, log = found
            self._check(session, log, expected_revision)
            try:
                self._engine.update(key, of_the_same(key, session, _empty), now_s=time.time(), policy=self._policy,
                                    expected_revision=session.revision, keep_archive=False)
            except RevisionConflictError:
                tries.missed()
                continue
            return

    # ---- hints: where an entry was seen last; wrong ones cost a look, nothing else ------------------------------

    def _note(self, entry_ids: Iterable[str | None], conversation_id: str) -> None:
        with self._mutex:
            for entry_id in entry_ids:
                if entry_id is not None:
                    self._hints[entry_id] = conversation_id
                    self._hints.move_to_end(entry_id)
            while len(self._hints) > _MOST_HINTS:
                self._hints.popitem(last=False)

    def _hint(self, entry_id: str) -> str | None:
        with self._mutex:
            return self._hints.get(entry_id)


def _empty(session: SessionData) -> None:
    session.messages, session.last_compaction, session.leading_messages = [], None, None
    session.metadata, session.context, session.extra = {}, {}, {}
    session.user_id = session.agent_name = session.parent_id = None


def _known(record: ConversationRecord) -> Record:
    """Return a record as JSON, without what the session itself tells. Raises InvalidMessageError."""
    try:
        known = _RECORD.dump_python(record, mode="json")
    except (PydanticSerializationError, UnicodeError) as error:
        raise _no_json("record", error) from error
    del known["conversation_id"], known["scope"]
    stored: Record = storable(known, "record")
    return stored


def _entries(entries: Sequence[ConversationEntry]) -> list[Entry]:
    """Return entries with their messages as JSON. Raises InvalidMessageError, InvalidArgumentError."""
    for entry in entries:
        if not isinstance(entry, ConversationEntry):
            raise InvalidArgumentError(f"new_entries holds ConversationEntry, not {shown(entry)}: pass them.")
    try:
        messages: list[Any] = ModelMessagesTypeAdapter.dump_python([entry.message for entry in entries], mode="json")
    except (PydanticSerializationError, UnicodeError) as error:
        raise _no_json("new_entries", error) from error
    return [pydantic_log.new_entry(entry.id, entry.parent_id, message)
            for entry, message in zip(entries, messages, strict=True)]


def _validated(entries: Sequence[Entry]) -> list[ConversationEntry]:
    try:
        messages = ModelMessagesTypeAdapter.validate_json(json.dumps([entry.message for entry in entries]))
    except ValidationError as error:
        raise CorruptSessionError(
            f"An entry is no message of Pydantic AI: {error}", path=entries[0].id) from error
    return [ConversationEntry(id=entry.id, parent_id=entry.parent_id, message=message)
            for entry, message in zip(entries, messages, strict=True)]


def _utc_s(record: ConversationRecord) -> float:
    when = record.updated_at
    return (when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)).timestamp()


def _no_json(where: str, error: Exception) -> InvalidMessageError:
    return InvalidMessageError(f"{where} would not read back equal: {error}", where=where)


def _no_entry(entry_id: str) -> SessionNotFoundError:
    return SessionNotFoundError(f"No conversation holds the entry {entry_id!r}.", session_id=entry_id)
