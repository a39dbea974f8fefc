"""A side door: named sessions held live in memory, with branches, saved when asked or by a timer."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from typing import Any

from .engines.configured import Settings, open_engine, settings_of
from .engines.json_directory import session_directory
from .errors import InvalidArgumentError, RevisionConflictError, SessionNotFoundError, SessionStoreError, shown
from .model import arguments, portable, recall
from .model.filters import ComparisonFilter
from .model.live_session import Session
from .model.merge import merge
from .model.session import SessionData, SessionHit, SessionInfo
from .model.session_id import SessionKey, file_stem, key_of
from .retention import policy_named

logger = logging.getLogger("praison_store")
_ALL = policy_named("keep_all", 1)
_managers: weakref.WeakSet[SessionManager] = weakref.WeakSet()


class NamedSessionInfo(SessionInfo):
    """A row of `SessionManager.list_sessions`: a `SessionInfo` whose session has a name, which is its id."""

    @property
    def name(self) -> str:
        """Return the session's name."""
        return self.session_id


class SessionManager:
    """
    Named sessions on any engine, for programs without asyncio.

    Args:
        config: None, a dict, or the path of a TOML file; settings below `session` or at the top: see `Settings`.
    Raises:
        InvalidArgumentError: An unknown setting or a value that cannot be meant. MissingExtraError: SQLite is the
            default backend and needs `praison_store[sql]`.
    Promise: managers that save one session merge what they added; where both changed the same, the second raises
    RevisionConflictError, and nothing is overwritten. With an `autosave_interval` above 0 every live session is saved
    so often, at close and at exit; with 0 only `save_session` saves.
    Cost: a save reads and compares the session; with autosave a live session stays in memory until close or delete.
    Source: the names follow the coda session README.
    """

    def __init__(self, config: Mapping[str, Any] | str | os.PathLike[str] | None = None) -> None:
        self.settings: Settings = settings_of(config)
        self._engine = open_engine(self.settings, session_directory())
        self._hold_nothing()
        _managers.add(self)

    def _hold_nothing(self) -> None:
        self._mutex = threading.RLock()
        self._live: weakref.WeakValueDictionary[str, Session] = weakref.WeakValueDictionary()
        self._kept: dict[str, Session] = {}
        self._timer: threading.Thread | None = None
        self._stop = threading.Event()

    # ---- sessions --------------------------------------------------------------------------------------------

    def create_session(self, name: str, branch_from: str | None = None, at: int | None = None) -> Session:
        """
        Return the session of a name; one that is unknown is begun, and stored at once.

        Args:
            branch_from: begin it with the messages and metadata of this session, which is saved first if it is live.
            at: how many messages to take, counted from the first; None takes all. A tool exchange is never cut.
        Raises:
            SessionNotFoundError: There is nothing to branch from. SessionExistsError: The name is taken by a session
                that is no branch of that one.
        """
        key = key_of(name)
        self._forget_refused(key.session_id)
        if branch_from is not None:
            return self._branch(key, key_of(branch_from), arguments.at_least(at, "at", 0, none=True))
        if at is not None:
            raise InvalidArgumentError("at counts the messages of branch_from: pass that too.")
        with self._mutex:
            data = self._engine.update(key, lambda new: new.revision == 0, now_s=time.time(), policy=_ALL)
            return self._opened(data)

    def load_session(self, name: str) -> Session:
        """
        Return a session that is stored; the live one with its changes, unless a conflict refused them.

        Raises:
            SessionNotFoundError: There is none of that name.
        """
        key = key_of(name)
        with self._mutex:
            self._forget_refused(key.session_id)
            data = self._engine.read(key, None)
            if data is None:
                raise _unknown(key)
            return self._opened(data)

    def save_session(self, session: Session) -> None:
        """
        Store what was changed in a session since it was loaded or saved, and take over what others added.

        Raises:
            RevisionConflictError: It was deleted, or another changed the same: `load_session` returns what is stored,
                for the change to be made again. InvalidMessageError: It holds what would not read back equal, or too
                much. Nothing was written.
        """
        if not isinstance(session, Session):
            raise InvalidArgumentError(f"save_session takes a session of this manager, not {shown(session)}: pass one.")
        with session._mutex:
            now_s = time.time()
            mine, seen = session._held(now_s), session._seen
            is_cleared = bool(seen.texts) and not mine.texts
            try:
                data = self._engine.update(
                    SessionKey(session.name), lambda stored: merge(stored, seen, mine), now_s=now_s, policy=_ALL,
                    keep_archive=not is_cleared)
            except RevisionConflictError:
                session._is_refused = True
                raise
            session._stored(data, mine)
            session._is_refused = False

    def delete_session(self, name: str) -> bool:
        """Forget a session, live and stored; its branches stay. False for an unknown one."""
        key = key_of(name)
        with self._mutex:
            deleted = self._engine.delete(key)
            self._kept.pop(key.session_id, None)
            self._live.pop(key.session_id, None)
            return deleted

    def list_sessions(self) -> list[NamedSessionInfo]:
        """Return a row for each stored session (name, message_count, times, metadata, size), newest write first."""
        return [_named(info) for info in self._engine.find()]

    def get_session_info(self, name: str) -> NamedSessionInfo:
        """Return the row of one session. Raises SessionNotFoundError."""
        key = key_of(name)
        file_stem(key.session_id)
        for info in self._engine.find(filters=ComparisonFilter.eq("session_id", key.session_id), limit=1):
            return _named(info)
        raise _unknown(key)

    def search(self, query: str, limit: int = 5) -> list[SessionHit]:
        """Return the stored sessions that hold words of a query, the best match first."""
        words = (arguments.text(query, "query") or "").strip()
        arguments.at_least(limit, "limit", 1)
        found = self._engine.search(recall.terms_of(words)) if words else ()
        hits = [hit for session, archived in found if (hit := recall.hit(session, archived, words, 5))]
        return sorted(hits, key=lambda hit: (hit.score, hit.when), reverse=True)[:limit]

    def close(self) -> None:
        """
        Stop the timer, save what it would have saved, and close the engine; the manager may be used again.

        Raises:
            SessionStoreError: A session could not be saved. The others were; it stays live, and `close` may be
                called again. RevisionConflictError: The same, but what another's write refuses is given up.
        """
        with self._mutex:
            timer, self._timer = self._timer, None
            self._stop.set()
        if timer is not None and timer is not threading.current_thread():
            timer.join()
        failed = self._save_all()
        if failed:
            for name in list(self._kept):
                self._forget_refused(name)
            raise failed[0]
        atexit.unregister(self.close)
        with self._mutex:
            self._kept.clear()
            self._live.clear()
        self._engine.close()

    def __enter__(self) -> SessionManager:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- the steps -------------------------------------------------------------------------------------------

    def _forget_refused(self, name: str) -> None:
        """Let go of a live session whose changes were refused; whoever holds it still has them."""
        with self._mutex:
            session = self._live.get(name)
            if session is not None and session._is_refused:
                del self._live[name]
                self._kept.pop(name, None)

    def _opened(self, data: SessionData) -> Session:
        """Return the live session of a name, brought up to date where nothing in it waits to be saved."""
        session = self._live.get(data.session_id)
        if session is None:
            session = self._live[data.session_id] = Session(data, self.settings.most_bytes, threading.RLock())
        else:
            with session._mutex:
                if data.revision != session.revision and not session._is_changed():
                    session._follow(data)
        if self.settings.autosave_interval > 0:
            self._kept[session.name] = session
            self._start_timer()
        return session

    def _branch(self, key: SessionKey, parent: SessionKey, at: int | None) -> Session:
        with self._mutex:
            live = self._live.get(parent.session_id)
            if live is not None:
                self.save_session(live)
            whole = self._engine.whole(parent)
            if whole is None:
                raise _unknown(parent)
            become = portable.become(portable.fork(*whole, None, key.session_id, at))

            def begin(session: SessionData) -> bool:
                if session.revision and session.parent_id == parent.session_id and at is None:
                    return False  # the same line of a program run again
                become(session)
                return True

            return self._opened(self._engine.update(key, begin, now_s=time.time(), policy=_ALL))

    def _start_timer(self) -> None:
        if self._timer is None:
            self._stop = threading.Event()
            name = "praison_store autosave"
            self._timer = threading.Thread(target=self._autosave, args=(self._stop,), name=name, daemon=True)
            self._timer.start()
            atexit.register(self.close)

    def _autosave(self, stop: threading.Event) -> None:
        while not stop.wait(self.settings.autosave_interval):
            self._save_all()

    def _save_all(self) -> list[Exception]:
        """Save every session the timer keeps; what failed stays live and is tried again, and told of."""
        with self._mutex:
            kept = list(self._kept.values())
        failed: list[Exception] = []
        for session in kept:
            try:
                if session._is_changed() and self._kept.get(session.name) is session:
                    self.save_session(session)
            except (SessionStoreError, RuntimeError) as error:  # a dict changed while it was copied: the next time
                logger.error("%r could not be saved: %s", session.name, error)  # noqa: TRY400 - the error says it all
                failed.append(error)
        return failed


def _leave_to_parent() -> None:
    # A child that saved what it inherited would store the parent's messages, which the parent stores again.
    for manager in list(_managers):
        atexit.unregister(manager.close)
        for session in manager._live.values():
            session._mutex = threading.RLock()  # a thread that is not here may hold the old one
        manager._hold_nothing()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _named(info: SessionInfo) -> NamedSessionInfo:
    return NamedSessionInfo(**vars(info))


def _unknown(key: SessionKey) -> SessionNotFoundError:
    message = f"There is no session {key.session_id!r}: list_sessions() shows those there are."
    return SessionNotFoundError(message, session_id=key.session_id)
