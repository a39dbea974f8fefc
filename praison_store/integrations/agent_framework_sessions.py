"""
Snapshots of Agent Framework's sessions, apart from its history: the framework warns whoever imports its SessionStore,
which is an experiment yet.
"""

from __future__ import annotations

from ..aio.threads import in_thread
from ..errors import InvalidArgumentError, shown
from ..model.session_id import SessionKey, key_of
from ..model.values import storable
from ..store import DefaultSessionStore
from .extras import missing_extra
from .transcript import Transcript, store_or_default

try:
    from agent_framework import AgentSession, SessionStore
except ModuleNotFoundError as error:
    raise missing_extra(error, "agent-framework", "agent_framework") from error

# Snapshots stand apart from conversations, whose ids are an application's own.
_SNAPSHOTS = "praison_store.integrations.agent_framework/sessions"
_SNAPSHOT = "agent_framework"


class PraisonSessionStore(SessionStore):
    """
    Snapshots of Agent Framework's sessions (its SessionStore), usable where its FileSessionStore is.

    Promise: a snapshot is the one that was set last, whole, in every process. As the framework has it, whoever sets
    last wins; what several processes add to goes to a PraisonHistoryProvider.
    Args:
        store: any store; None is the JSON files of this process.
    Errors: InvalidSessionIdError for an id that names no session, InvalidMessageError for a state that would not read
    back equal, SessionStoreError where a call could not do its work; nothing was changed.
    """

    def __init__(self, store: DefaultSessionStore | None = None) -> None:
        super().__init__()
        self._store = store_or_default(store)

    async def get(self, session_id: str) -> AgentSession | None:
        """Return a session as it was set, a copy of its own; None for an unknown id."""
        session = await in_thread(lambda: self._of(session_id).session())
        snapshot = session.metadata.get(_SNAPSHOT) if session is not None else None
        return AgentSession.from_dict(snapshot) if isinstance(snapshot, dict) else None

    async def set(self, session_id: str, session: AgentSession) -> None:
        """Put a session in the place of the one of that id."""
        if type(session) is not AgentSession:
            raise InvalidArgumentError(
                f"session is an AgentSession, not {shown(session)}: another class could not be given back.")
        snapshot = storable(session.to_dict(), "session")
        await in_thread(lambda: self._of(session_id).set_fields(**{_SNAPSHOT: snapshot}))

    async def delete(self, session_id: str) -> None:
        """Forget the session of an id, if there is one."""
        await in_thread(lambda: self._of(session_id).delete())

    def _of(self, session_id: str) -> Transcript:
        return Transcript(SessionKey(key_of(session_id).session_id, _SNAPSHOTS), self._store)
