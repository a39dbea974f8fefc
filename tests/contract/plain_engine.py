"""An engine of a few plain dicts: the contract needs no base class, and a test needs no file."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from praison_store.engines.contract import Change
from praison_store.errors import RevisionConflictError
from praison_store.model.message import Record, SessionMessage, llm_message
from praison_store.model.session import SessionData, SessionInfo, iso_utc
from praison_store.model.session_id import SessionKey, file_stem
from praison_store.retention import Policy


class PlainEngine:
    """Sessions in a dict, each with its archive; as simple as the contract allows."""

    def __init__(self) -> None:
        self.sessions: dict[SessionKey, SessionData] = {}
        self.archives: dict[SessionKey, list[Record]] = {}
        self.written: list[SessionKey] = []
        self.closed = 0

    def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Return the newest messages as a model takes them."""
        session = self.read(key, newest)
        return [llm_message(message.to_dict()) for message in session.messages] if session else []

    def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Return a copy of a session with its newest messages."""
        file_stem(key.session_id)
        session = copy.deepcopy(self.sessions.get(key))
        return session.newest(newest) if session and newest else session

    def exists(self, key: SessionKey) -> bool:
        """Tell whether the session is there."""
        return self.read(key, None) is not None

    def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Return a copy of a session and its archive."""
        session = self.read(key, None)
        return None if session is None else (session, copy.deepcopy(self.archives.get(key, [])))

    def append(self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy) -> int:
        """Store the messages whose id is not there yet."""

        def change(session: SessionData) -> bool:
            known = {m.message_id for m in session.messages} | {m.get("message_id") for m in self.archives.get(key, [])}
            before = len(session.messages)
            for record in copy.deepcopy(list(messages)):
                message_id = record.get("message_id")
                if message_id is None or message_id not in known:
                    known.add(message_id)
                    session.messages.append(SessionMessage.from_dict(record))
            return len(session.messages) > before

        return self.update(key, change, now_s=now_s, policy=policy).revision

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True,
    ) -> SessionData:
        """Change a copy and keep it."""
        now = iso_utc(now_s)
        session = self.read(key, None) or SessionData(key.session_id, created_at=now, updated_at=now)
        if expected_revision is not None and expected_revision != session.revision:
            raise RevisionConflictError(
                "It has moved on: read it again.", session_id=key.session_id, expected_revision=expected_revision,
                revision=session.revision,
            )
        past, updated_at = session.past(policy.window_messages), session.updated_at
        if change(session) is False:
            return session
        session.updated_at = now if session.updated_at == updated_at else session.updated_at
        archive = self.archives.get(key, []) if keep_archive else []
        if keep_archive and policy.archives:
            kept = set(map(id, session.messages))
            archive = archive + [message.to_dict() for message in past if id(message) not in kept]
        if policy.overflows(len(session.messages)):
            left = session.past(policy.window_messages)
            archive = archive + [message.to_dict() for message in left] * policy.archives
            session = session.newest(policy.window_messages or 1)
        session.revision += 1
        self.archives[key] = archive
        self.sessions[key] = copy.deepcopy(session)
        self.written = [*(name for name in self.written if name != key), key]
        return session

    def delete(self, key: SessionKey) -> bool:
        """Forget a session and its archive."""
        self.archives.pop(key, None)
        self.written = [name for name in self.written if name != key]
        return self.sessions.pop(key, None) is not None

    def find(self, *, limit: int | None = None, agent_name: str | None = None) -> Iterator[SessionInfo]:
        """Yield sessions, the last one written first."""
        found = 0
        for key in reversed(self.written):
            session = self.sessions[key]
            if found != limit and agent_name in (None, session.agent_name):
                found += 1
                yield SessionInfo.from_header(session.header(), len(session.messages), 0)

    def search(self, terms: Sequence[str]) -> Iterator[tuple[SessionData, list[Record]]]:
        """Yield every session; which one matches is decided by who asks."""
        for key in list(self.sessions):
            found = self.whole(key)
            if found is not None:
                yield found

    def count(self) -> int:
        """Return how many sessions there are."""
        return len(self.sessions)

    def close(self) -> None:
        """Count how often it was closed."""
        self.closed += 1


def rows_of(engine: Any) -> list[str]:
    """Return the ids an engine lists."""
    return [info.session_id for info in engine.find()]
