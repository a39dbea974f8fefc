"""Station 1, the door: checks arguments, reads the clock, and leaves the work to the engine."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import errors
from .disk import DURABILITIES
from .engines import Change, JsonFilesEngine, engine_for
from .engines.json_check import CheckReport, VacuumReport
from .engines.json_directory import session_directory
from .model import arguments, portable, recall
from .model.exchanges import leading_system
from .model.filters import ComparisonFilter
from .model.message import Content, Record, SessionMessage, new_record, records_of
from .model.session import SessionData, SessionHit, SessionSummary, new_checkpoint
from .model.session_id import key_of
from .model.values import storable
from .retention import POLICIES, policy_named

logger = logging.getLogger("praison_store")


class DefaultSessionStore:
    """
    Conversation history that needs no configuration, in files that any number of processes may share.

    Args:
        session_dir: a directory, made if missing; default `PRAISON_SESSION_DIR`, then `~/.praison/sessions`.
        max_messages: 1 or more; how many messages of a session a read shows.
        lock_timeout: 0 or more seconds a write waits for its turn.
        retention: `archive` (what leaves the window is kept aside), `truncate` (it is gone) or `keep_all`.
        durability: what an acknowledged message survives: `full` a loss of power; `ordered` the same, except that
            the newest messages may be missing; `process` the death of the process.
        db: an engine, or an object with PraisonAI's DbAdapter hooks; when given, no JSON file is touched.
    Raises:
        InvalidArgumentError: An argument cannot be meant.
        StoreWriteError: The directory cannot be made.
    Source: the names and the `-> bool` of the methods follow the PraisonAI session README: True when the change is
    durable, False when there was nothing to do; a failure raises.

    >>> import tempfile
    >>> store = DefaultSessionStore(session_dir=tempfile.mkdtemp())
    >>> store.add_user_message("session-123", "Hello")
    True
    >>> store.get_chat_history("session-123")
    [{'role': 'user', 'content': 'Hello'}]
    """

    def __init__(
        self,
        session_dir: str | os.PathLike[str] | None = None,
        max_messages: int = 100,
        lock_timeout: float = 5.0,
        *,
        retention: str | None = "archive",
        durability: str = "full",
        db: object | None = None,
    ) -> None:
        self.max_messages = arguments.at_least(max_messages, "max_messages", 1) or 1
        self.lock_timeout = arguments.seconds(lock_timeout, "lock_timeout")
        self.retention = arguments.one_of("archive" if retention is None else retention, "retention", POLICIES)
        self.durability = arguments.one_of(durability, "durability", DURABILITIES)
        self._policy = policy_named(self.retention, self.max_messages)
        self.session_dir: str | None = None if db is not None else session_directory(session_dir)
        self.engine = engine_for(db, self.session_dir, lock_timeout_s=self.lock_timeout, durability=durability)

    def add_message(
        self, session_id: str, role: str, content: Content, metadata: dict[str, Any] | None = None,
        tool_calls: list[Any] | None = None, tool_call_id: str | None = None, *, message_id: str | None = None,
    ) -> bool:
        """
        Store one message behind the others; True when it is durable.

        Args:
            content: text, a list of parts, or None.
            message_id: a repeat of an id that is stored already is acknowledged, not stored twice.
        Raises:
            InvalidSessionIdError, InvalidMessageError, LockTimeoutError, CorruptSessionError, StoreWriteError:
                nothing was stored. OutcomeUnknownError: stored, durability not proven; retry with a `message_id`.
        Cost: rewrites the window's bytes (benchmarks/append.py); a `message_id` is searched for in the archive too.
        """
        now_s = time.time()
        record = new_record(role, content, now_s, metadata, tool_calls, tool_call_id, message_id)
        self.engine.append(key_of(session_id), (record,), now_s=now_s, policy=self._policy)
        return True

    def add_user_message(
        self, session_id: str, content: Content, metadata: dict[str, Any] | None = None, *,
        message_id: str | None = None,
    ) -> bool:
        """Store what the user said; see `add_message`."""
        return self.add_message(session_id, "user", content, metadata, message_id=message_id)

    def add_assistant_message(
        self, session_id: str, content: Content, metadata: dict[str, Any] | None = None,
        tool_calls: list[Any] | None = None, *, message_id: str | None = None,
    ) -> bool:
        """Store what the assistant said or called; see `add_message`."""
        return self.add_message(session_id, "assistant", content, metadata, tool_calls, message_id=message_id)

    def add_messages(self, session_id: str, messages: Sequence[SessionMessage | Mapping[str, Any]]) -> bool:
        """
        Store a whole turn in one write, all of it or nothing; False for an empty list.

        Args:
            messages: dicts as `get_chat_history` returns them, or SessionMessage; each may have a `message_id`.
        """
        now_s = time.time()
        records = records_of(messages, now_s, new=True)
        if records:
            self.engine.append(key_of(session_id), records, now_s=now_s, policy=self._policy)
        return bool(records)

    def get_chat_history(
        self, session_id: str, max_messages: int | None = None, *, max_tokens: int | None = None,
        count: Callable[[Record], int] | None = None,
    ) -> list[Record]:
        """
        Return `{"role", "content"}` of each message, and tool fields where present, oldest first.

        Args:
            max_messages: counted from the end; None or 0 returns the whole window.
            max_tokens: 1 or more, so many as a model has room for; `count` tells how many one message takes, None
                guesses: four bytes of text a token, and four tokens a message.
        Returns:
            A copy; changing it does not change the store. Empty for an unknown session. Leading system messages
            stay, a tool exchange is never cut, and the newest one is whole even where it alone is longer.
        Cost: one stat when the file is unchanged, else one read (benchmarks/history.py); a window with tool messages
        is decoded each time. Takes no lock.
        Not promised: a message another process adds after the call began.
        """
        tokens = arguments.at_least(max_tokens, "max_tokens", 1, none=True)
        history = self.engine.history(key_of(session_id), self._newest(max_messages))
        if tokens is None and count is None:
            return history
        from .model.tokens import within  # seldom wanted, and every program would wait for it

        return within(history, tokens, count)

    def get_session(self, session_id: str) -> SessionData:
        """Return the session with its window of messages; an empty one, with revision 0, for an unknown id."""
        session = self.engine.read(key_of(session_id), self._newest(None))
        return SessionData(session_id) if session is None else session

    def get_archived_messages(self, session_id: str) -> list[SessionMessage]:
        """Return the messages that left the window, oldest first; empty where none did."""
        session, archived = self.engine.whole(key_of(session_id)) or (SessionData(session_id), [])
        past = session.past(self._policy.window_messages)
        return [*(SessionMessage.from_dict(record) for record in archived), *past]

    def get_working_history(self, session_id: str, max_messages: int | None = None) -> list[Record]:
        """Return the last compaction's summary and what came after it; without one, the chat history."""
        return self.get_session(session_id).get_working_history(self._newest(max_messages))

    def session_exists(self, session_id: str) -> bool:
        """Tell whether the session was ever written and not deleted."""
        return self.engine.exists(key_of(session_id))

    def set_chat_history(self, session_id: str, messages: Sequence[SessionMessage | Mapping[str, Any]]) -> bool:
        """Replace the window by these messages in one write; what is archived stays, a checkpoint goes."""
        records = records_of(messages, time.time(), new=True)

        def change(session: SessionData) -> None:
            session.messages = [SessionMessage.from_dict(record) for record in records]
            session.last_compaction, session.leading_messages = None, leading_system(records)

        return self._update(session_id, change)

    def set_agent_info(self, session_id: str, agent_name: str | None = None, user_id: str | None = None) -> bool:
        """Name the agent and the user of a session, which is made if unknown; None leaves a name as it is."""
        agent = arguments.text(agent_name, "agent_name", none=True)
        user = arguments.text(user_id, "user_id", none=True)

        def change(session: SessionData) -> None:
            session.agent_name = session.agent_name if agent is None else agent
            session.user_id = session.user_id if user is None else user

        return (agent, user) != (None, None) and self._update(session_id, change)

    def update_session_metadata(self, session_id: str, **fields: Any) -> bool:
        """Set fields of the metadata, `agent_name` and `user_id` on the session too; None leaves one as it is."""
        given = {name: storable(value, f"metadata.{name}") for name, value in fields.items() if value is not None}
        agent, user = (arguments.text(given.get(name), name, none=True) for name in ("agent_name", "user_id"))

        def change(session: SessionData) -> None:
            session.metadata.update(given)
            session.agent_name = agent or session.agent_name
            session.user_id = user or session.user_id

        return bool(given) and self._update(session_id, change)

    def rename_session(self, session_id: str, title: str) -> bool:
        """Give a session a title for people; an empty one takes the title away."""
        title = (arguments.text(title, "title") or "").strip()

        def change(session: SessionData) -> bool:
            old = session.metadata.pop("title", "")
            session.metadata.update({"title": title} if title else {})
            return bool(old or title)

        return self._update(session_id, change)

    def append_compaction_checkpoint(
        self, session_id: str, summary: str, *, role: str = "system", tokens_before: int = 0, tokens_after: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Let a summary stand for every message up to now in `get_working_history`; False for a blank one."""
        text = arguments.text(summary, "summary") or ""
        checkpoint = new_checkpoint(text, role, tokens_before, tokens_after, time.time(), metadata)

        def change(session: SessionData) -> None:
            checkpoint.message_index = len(session.messages)
            session.last_compaction = checkpoint

        return bool(text.strip()) and self._update(session_id, change)

    def clear_session(self, session_id: str) -> bool:
        """Forget every message, archived ones too; the session stays. False for an unknown id."""
        def change(session: SessionData) -> bool:
            session.messages, session.last_compaction, session.leading_messages = [], None, None
            session.extra.pop("archived_messages", None)
            return session.revision > 0

        return self._update(session_id, change, keep_archive=False)

    def delete_session(self, session_id: str) -> bool:
        """Forget the session and its archive; False for an unknown id."""
        return self.engine.delete(key_of(session_id))

    def fork_session(self, session_id: str, new_id: str, at: int | None = None) -> SessionData:
        """
        Start a new session with the messages of another, archived ones included.

        Args:
            at: how many messages to take, counted from the first; None takes all. A tool exchange is never cut: one
                that reaches past `at` is left out.
        Returns:
            The new session; its `parent_id` is the old one.
        Raises:
            SessionNotFoundError, SessionExistsError: Nothing was written.
        """
        key, at, most = key_of(new_id), arguments.at_least(at, "at", 0, none=True), self._policy.window_messages
        forked = portable.fork(*self._stored(session_id), most, key.session_id, at)
        return self.engine.update(key, portable.become(forked), now_s=time.time(), policy=self._policy)

    def list_sessions(self, limit: int = 50) -> list[Record]:
        """
        Return one dict for each session, the most recently written first.

        Returns:
            session_id, agent_name, title, created_at, updated_at, message_count (at most `max_messages`),
            size_bytes, metadata and more. A damaged file is left out and told of in the log.
        Cost: one look at each name and one read of each header returned (benchmarks/listing.py).
        """
        most = self._policy.window_messages
        found = self.engine.find(limit=arguments.at_least(limit, "limit", 1))
        return [info.to_dict(most_messages=most) for info in found]

    def list_sessions_by_agent(self, agent_name: str, limit: int = 50) -> list[str]:
        """Return the ids of an agent's sessions, the most recently written first."""
        of_agent = ComparisonFilter.eq("agent_name", arguments.text(agent_name, "agent_name"))
        found = self.engine.find(filters=of_agent, limit=arguments.at_least(limit, "limit", 1))
        return [info.session_id for info in found]

    def get_sessions_by_agent(self, agent_name: str, limit: int = 10) -> list[SessionData]:
        """Return an agent's sessions with their messages, the most recently written first."""
        found = map(self._readable, self.list_sessions_by_agent(agent_name, limit))
        return [session for session in found if session is not None]

    def get_agent_chat_history(
        self, agent_name: str, max_messages: int | None = None, max_sessions: int = 5
    ) -> list[Record]:
        """Return the messages of an agent's newest sessions, each with its `session_id` and `agent_name`."""
        sessions = self.get_sessions_by_agent(agent_name, arguments.at_least(max_sessions, "max_sessions", 1) or 1)
        newest = self._newest(max_messages)
        named = ((session.session_id, session.get_chat_history(newest)) for session in sessions)
        return [{**m, "session_id": session_id, "agent_name": agent_name} for session_id, ms in named for m in ms]

    def search(self, query: str, limit: int = 5, window: int = 5) -> list[SessionHit]:
        """
        Return the sessions that hold words of a query, archived messages included, the best match first.

        Args:
            window: how many messages before and after the match to return with it.
        """
        query = (arguments.text(query, "query") or "").strip()
        arguments.at_least(limit, "limit", 1)
        arguments.at_least(window, "window", 0)
        found = self.engine.search(recall.terms_of(query)) if query else ()
        hits = [hit for session, archived in found if (hit := recall.hit(session, archived, query, window))]
        return sorted(hits, key=lambda hit: (hit.score, hit.when), reverse=True)[:limit]

    def window(self, session_id: str, around: int | str | None = None, window: int = 5) -> list[Record]:
        """Return the messages around an index of `search` (`anchor_index`); around the newest one for None."""
        arguments.at_least(window, "window", 0)
        session, archived = self.engine.whole(key_of(session_id)) or (SessionData(session_id), [])
        messages, in_archive = session.transcript(archived)
        anchor = len(messages) - 1 if around in (None, "") else arguments.index(around, "around")
        anchor = max(0, min(anchor, len(messages) - 1))
        return recall.rows_around(messages, in_archive, anchor, window) if messages else []

    def recent(self, limit: int = 10) -> list[SessionSummary]:
        """Return the most recently written sessions, for browsing."""
        return [SessionSummary.of(row) for row in self.list_sessions(limit)]

    def export_session(self, session_id: str) -> Record:
        """Return everything there is of a session as plain dicts; `import_session` gives it back."""
        return portable.exported(*self._stored(session_id), self._policy.window_messages)

    def import_session(self, exported: Mapping[str, Any], *, overwrite: bool = False) -> SessionData:
        """
        Store an exported session, or one of PraisonAI's as a dict, with its times, ids and archive.

        Raises:
            InvalidArgumentError: It is no exported session. SessionExistsError: It is there and `overwrite` is False.
        """
        session = portable.imported(exported)
        change = portable.become(session, overwrite=overwrite)
        key, now_s = key_of(session.session_id), time.time()
        return self.engine.update(key, change, now_s=now_s, policy=self._policy, keep_archive=not overwrite)

    def check(self, repair: bool = False) -> CheckReport:
        """Look at every file of the directory and tell what is wrong; `repair` saves what can be saved."""
        return self._files().check(repair)

    def vacuum(self) -> VacuumReport:
        """Remove temporary files no writer will finish and lock files nobody needs."""
        return self._files().vacuum()

    def invalidate_cache(self, session_id: str | None = None) -> None:
        """Forget what is cached of one session or of all; never needed for correctness."""
        if isinstance(self.engine, JsonFilesEngine):
            self.engine.invalidate(None if session_id is None else key_of(session_id))

    def close(self) -> None:
        """Give back descriptors and connections; nothing is buffered, and the store may be used again."""
        self.engine.close()

    def __enter__(self) -> DefaultSessionStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _update(self, session_id: str, change: Change, *, keep_archive: bool = True) -> bool:
        done = False

        def noted(session: SessionData) -> bool:
            nonlocal done
            done = change(session) is not False
            return done

        now_s = time.time()
        self.engine.update(key_of(session_id), noted, now_s=now_s, policy=self._policy, keep_archive=keep_archive)
        return done

    def _readable(self, session_id: str) -> SessionData | None:
        try:
            return self.engine.read(key_of(session_id), self._newest(None))
        except errors.SessionStoreError as error:
            logger.warning("%r was left out: %s", session_id, error)  # one damaged file hides no other session (D5)
            return None

    def _newest(self, max_messages: int | None) -> int | None:
        asked = arguments.at_least(max_messages, "max_messages", 0, none=True)
        return min(filter(None, (asked, self._policy.window_messages)), default=None)

    def _stored(self, session_id: str) -> tuple[SessionData, list[Record]]:
        whole = self.engine.whole(key_of(session_id))
        if whole is None:
            message = f"There is no session {session_id!r}: list_sessions() shows those there are."
            raise errors.SessionNotFoundError(message, session_id=session_id)
        return whole

    def _files(self) -> JsonFilesEngine:
        if not isinstance(self.engine, JsonFilesEngine):
            message = "check() and vacuum() look at a directory of JSON files, and this store has none."
            raise errors.UnsupportedOperationError(message, operation="check, vacuum")
        return self.engine


_defaults: dict[str, DefaultSessionStore] = {}


def get_default_session_store() -> DefaultSessionStore:
    """
    Return the store of this process on `PRAISON_SESSION_DIR`, else `~/.praison/sessions`, as they are now.

    The same object every time, as long as the environment names the same directory.
    """
    directory = os.path.abspath(session_directory(None))
    # setdefault instead of a mutex: one that another thread holds during a fork would hang the child.
    return _defaults.get(directory) or _defaults.setdefault(directory, DefaultSessionStore(directory))
