"""Transcripts of the Claude Agent SDK: `ClaudeAgentOptions(session_store=PraisonClaudeStore())`."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from ..aio.threads import in_thread
from ..errors import InvalidArgumentError, RevisionConflictError, shown
from ..model.message import Record
from ..model.session import SessionData, SessionInfo, iso_utc
from ..model.session_id import SessionKey
from ..store import DefaultSessionStore
from . import claude_entries
from .claude_entries import FIELD, FIRST
from .extras import missing_extra
from .transcript import Tries, keeping_policy, store_or_default

try:
    import sniffio
    from anyio import to_thread
    from claude_agent_sdk import fold_session_summary
    from claude_agent_sdk.types import SessionKey as TranscriptKey
    from claude_agent_sdk.types import (
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )
except ModuleNotFoundError as error:
    raise missing_extra(error, "claude-agent-sdk", "claude_agent_sdk", "anyio", "sniffio") from error

T = TypeVar("T")
_Version = tuple[str, int]
_MOST_KNOWN = 32


def session_key_of(key: TranscriptKey | Mapping[str, Any]) -> SessionKey:
    """
    Return the session a transcript is kept in, for other readers: `store.engine.history(session_key_of(key), None)`.

    Shape: a project is a namespace, and a session's agents have one of their own; no two keys share a session.
    Raises:
        InvalidArgumentError: The key is no SessionKey of the SDK.
    """
    project, session_id, subpath = _parts(key)
    if subpath is None:
        return SessionKey(session_id, _namespace_of(project))
    return SessionKey(subpath, _namespace_below(project, session_id))


class PraisonClaudeStore:
    """
    Keep transcripts of the Claude Agent SDK (its `SessionStore`), for every process that uses the store.

    Promise: a line comes back as it was, in the order of its storing; batches of several processes follow each other
    whole, and none is lost; a line with a uuid that is stored is not stored twice, however often a batch is delivered.
    What was said stands in our chat form, so that other adapters read it; see `session_key_of`.
    Args:
        store: any store; None is the JSON files of this process. Lines are never let go, even where its retention is
            `truncate`.
    Raises:
        InvalidArgumentError: A store that cannot be meant.
    Errors: SessionStoreError where a call could not do its work, and then nothing was changed.
    Cost: `append` writes the session's window; once its oldest lines left that, the uuids of all are read when this
    object first sees the session, and again after another process wrote to it.
    Not promised: what another adapter adds becomes lines as the CLI writes them, without its system messages.
    """

    def __init__(self, store: DefaultSessionStore | None = None) -> None:
        self._store = store_or_default(store)
        self._engine = self._store.engine
        self._policy = keeping_policy(self._store)
        self._known: OrderedDict[SessionKey, tuple[_Version, set[str]]] = OrderedDict()  # uuids, and when they were all
        self._mutex = threading.Lock()

    async def append(self, key: TranscriptKey, entries: list[SessionStoreEntry]) -> None:
        """Store a batch in one write, all of it or nothing. Raises InvalidMessageError, InvalidArgumentError."""
        place, lines = session_key_of(key), claude_entries.checked(entries)
        if lines:
            await _in_thread(self._append, key, place, lines)

    async def load(self, key: TranscriptKey) -> list[SessionStoreEntry] | None:
        """Return every line of a transcript; None where there is none."""
        found: Any = await _in_thread(self._load, session_key_of(key))
        return found or None

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Return the sessions of a project with the time of their last write, without those of agents below."""
        infos = await _in_thread(self._infos, _namespace_of(_text(project_key, "project_key")))
        return [{"session_id": info.session_id, "mtime": _mtime_ms(info.updated_at)} for info in infos]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Return the summaries `append` keeps. Cost: one look at each session of the project; no message is read."""
        infos = await _in_thread(self._infos, _namespace_of(_text(project_key, "project_key")))
        kept = [info.metadata.get(FIELD) for info in infos]
        return [one["summary"] for one in kept if isinstance(one, Mapping) and "summary" in one]

    async def delete(self, key: TranscriptKey) -> None:
        """Forget a transcript; that of a session takes those of its agents with it, before its own."""
        place = session_key_of(key)
        below = None if key.get("subpath") is not None else _namespace_below(key["project_key"], key["session_id"])
        await _in_thread(self._delete, place, below)

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths of a session's agents. Cost: one look at each of them."""
        project, session_id, _ = _parts(key)
        infos = await _in_thread(self._infos, _namespace_below(project, session_id))
        return [info.session_id for info in infos]

    # ---- the steps, in a thread ------------------------------------------------------------------------------

    def _append(self, key: TranscriptKey, place: SessionKey, entries: list[Record]) -> None:
        now_s = time.time()
        stored: set[str] = set()

        def change(session: SessionData) -> bool:
            stored.clear()
            stored.update(self._stored(place, session))
            fresh = claude_entries.not_stored(entries, stored)
            stored.update(claude_entries.ids_of(fresh))
            claude_entries.put_behind(session, fresh, now_s)
            if fresh and key.get("subpath") is None:
                _summarise(session, key, fresh, now_s)
            return bool(fresh)

        tries, learnt = Tries(self._store, place), False
        while True:
            try:
                session = self._engine.update(place, change, now_s=now_s, policy=self._policy)
            except RevisionConflictError:
                if learnt:
                    tries.missed()  # the first reading is no miss: whoever sees the session first must read it
                self._learn(place)
                learnt = True
                continue
            self._remember(place, session, set(stored))
            return

    def _stored(self, place: SessionKey, session: SessionData) -> set[str]:
        """Return the uuids of all lines. Raises RevisionConflictError where not all of them are known here."""
        if session.leading_messages is None:  # nothing left the window yet
            return claude_entries.ids_of(claude_entries.entries_of(session, ()))
        with self._mutex:
            version, ids = self._known.get(place, (("", -1), set()))
        if version != _version_of(session):
            raise RevisionConflictError(
                f"The session {place.session_id!r} moved on: its lines are read again.", session_id=place.session_id,
                expected_revision=version[1], revision=session.revision)
        return ids

    def _learn(self, place: SessionKey) -> None:
        whole = self._engine.whole(place)
        if whole is not None:
            self._remember(place, whole[0], claude_entries.ids_of(claude_entries.entries_of(*whole)))

    def _remember(self, place: SessionKey, session: SessionData, ids: set[str]) -> None:
        with self._mutex:
            self._known[place] = (_version_of(session), ids)
            self._known.move_to_end(place)
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)

    def _load(self, place: SessionKey) -> list[Record]:
        whole = self._engine.whole(place)
        return [] if whole is None else claude_entries.entries_of(*whole)

    def _infos(self, namespace: str) -> list[SessionInfo]:
        infos = self._engine.find(namespace=namespace)
        return [info for info in infos if info.message_count or FIELD in info.metadata or FIRST in info.extra]

    def _delete(self, place: SessionKey, below: str | None) -> None:
        # Its own comes last, so that one who was interrupted still finds it, and deletes it again.
        for info in list(self._engine.find(namespace=below)) if below is not None else ():
            self._engine.delete(SessionKey(info.session_id, below or ""))
        self._engine.delete(place)
        with self._mutex:
            self._known.pop(place, None)


async def _in_thread(call: Callable[..., T], *arguments: Any) -> T:
    """Run a call in a worker thread; a cancellation waits until it is done. The SDK runs on asyncio and on trio."""
    if sniffio.current_async_library() == "asyncio":
        return await in_thread(call, *arguments)
    return await to_thread.run_sync(partial(call, *arguments))


def _version_of(session: SessionData) -> _Version:
    # One that was deleted and begun anew counts its revisions from the start, so they alone do not tell it apart.
    return session.created_at, session.revision


def _summarise(session: SessionData, key: TranscriptKey, fresh: list[Any], now_s: float) -> None:
    kept = session.metadata.get(FIELD)
    before = kept.get("summary") if isinstance(kept, Mapping) else None
    summary = {**fold_session_summary(before, key, fresh), "mtime": _mtime_ms(iso_utc(now_s))}
    session.metadata[FIELD] = {"summary": summary}


def _mtime_ms(updated_at: str) -> int:
    """Return a session's time of writing in milliseconds; 0 where another store's file tells none."""
    return int(datetime.fromisoformat(updated_at).timestamp() * 1000) if updated_at else 0


def _namespace_of(project: str) -> str:
    return f"claude/{project}"


def _namespace_below(project: str, session_id: str) -> str:
    # With its length in front, because a project and a session may hold any letter.
    return f"claude-agents/{len(project)}:{project}/{session_id}"


def _parts(key: Any) -> tuple[str, str, str | None]:
    if not isinstance(key, Mapping):
        raise InvalidArgumentError(f"key is a SessionKey of the SDK, a dict, not {shown(key)}: pass one.")
    subpath = key.get("subpath")
    if subpath is not None:
        _text(subpath, "subpath")
    return _text(key.get("project_key"), "project_key"), _text(key.get("session_id"), "session_id"), subpath


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidArgumentError(f"{name} is text of at least one character, not {shown(value)}: pass one.")
    return value
