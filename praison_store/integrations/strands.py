"""Sessions for Strands Agents: `RepositorySessionManager("s1", session_repository=PraisonSessionRepository())`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError, shown
from ..model.arguments import at_least
from ..model.message import Record, records_of
from ..model.message import SessionMessage as StoredMessage
from ..model.session import SessionData
from ..model.session_id import SessionKey, file_stem, key_of
from ..model.values import storable
from ..store import DefaultSessionStore
from .extras import missing_extra
from .transcript import Transcript, store_or_default

try:
    from strands.session.session_repository import SessionRepository
    from strands.types.exceptions import SessionException
    from strands.types.session import Session, SessionAgent, SessionMessage
except ModuleNotFoundError as error:
    raise missing_extra(error, "strands", "strands") from error

from .strands_messages import (
    FIELD,
    Numbered,
    count_of_foreign,
    message_of,
    numbered,
    records_of_message,
    tracking_id_of,
)

if TYPE_CHECKING:
    from strands.multiagent import MultiAgentBase


def agent_key(session_id: str, agent_id: str) -> SessionKey:
    """
    Return where the conversation of a session's agent is kept, for `Transcript` and for engines.

    Raises:
        InvalidSessionIdError: One of them is no text, empty or too long.
    """
    return _within(FIELD, session_id, agent_id)


class PraisonSessionRepository(SessionRepository):
    """
    Sessions, agents and messages of Strands Agents, for its RepositorySessionManager.

    Promise: a message comes back equal; several processes may use one agent of one session at once, and none loses
    another's messages. Strands' manager counts messages for itself, so that two processes choose the same id: the one
    that comes second gets the next free id, which is written into the object it gave, where the manager goes on
    counting; messages are listed in the order they were stored. What is updated is the message with the same
    `tracking_id` among those that were, or wanted to be, of the id given; without one, the one that has the id.
    Args:
        store: any store; None is the JSON files of this process.
    Raises:
        InvalidArgumentError: A store that is none.
    Errors: SessionException where Strands' own repositories raise it; SessionStoreError where a call could not do its
    work. Nothing was changed.
    Not promised: an agent's state is merged; the last update of a whole state counts, as in Strands' own.
    """

    def __init__(self, store: DefaultSessionStore | None = None) -> None:
        self._store = store_or_default(store)

    # ---- sessions --------------------------------------------------------------------------------------------

    def create_session(self, session: Session, **kwargs: Any) -> Session:
        """Begin a session. Raises SessionException where it is there."""
        known = storable(session.to_dict(), "session")

        def begin(stored: SessionData) -> None:
            if stored.revision:
                raise SessionException(f"Session {session.session_id} already exists")
            stored.context = {FIELD: known}

        self._place(_session_key(session.session_id)).update(begin)
        return session

    def read_session(self, session_id: str, **kwargs: Any) -> Session | None:
        """Return what is known of a session; None for an unknown one."""
        known = self._context(_session_key(session_id)).get(FIELD)
        return None if known is None else Session.from_dict(known)

    def delete_session(self, session_id: str, **kwargs: Any) -> None:
        """Forget a session, its agents and their messages. Raises SessionException where it is not there."""
        self._require_session(session_id)
        # Before the session, so that a call that failed can be repeated; and after it, because an agent begun
        # meanwhile would show its conversation to the next session of this id. One begun later sees it gone.
        self._delete_agents(session_id)
        self._store.engine.delete(_session_key(session_id))
        self._delete_agents(session_id)

    # ---- agents ----------------------------------------------------------------------------------------------

    def create_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:
        """
        Begin an agent; one that is there already stays as it is, because another process may have begun it.

        Raises:
            SessionException: The session is not there.
        """
        key, state = agent_key(session_id, session_agent.agent_id), storable(session_agent.to_dict(), "agent")
        self._begin(session_id, key, state)

    def read_agent(self, session_id: str, agent_id: str, **kwargs: Any) -> SessionAgent | None:
        """Return an agent's state; None for an unknown one."""
        state = self._context(agent_key(session_id, agent_id)).get(FIELD)
        return None if state is None else SessionAgent.from_dict(state)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **kwargs: Any) -> None:
        """Replace an agent's state; the time it began stays. Raises SessionException where it is not there."""
        key, state = agent_key(session_id, session_agent.agent_id), storable(session_agent.to_dict(), "agent")
        began = session_agent.created_at

        def replace(stored: SessionData) -> None:
            nonlocal began
            began = _known_agent(stored, session_id, session_agent.agent_id)["created_at"]
            stored.context = {**stored.context, FIELD: {**state, "created_at": began}}

        self._place(key).update(replace)
        session_agent.created_at = began

    # ---- messages --------------------------------------------------------------------------------------------

    def create_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:
        """
        Store a message behind the others, under its id or, where that is taken, under the next free one.

        Shape: an id below the greatest one counts as taken, and so do those that messages of another origin are listed
        under. The id is written into `session_message`. The same message once more (id, `tracking_id` and time) is
        acknowledged, not stored twice, as long as it is in the window.
        Raises:
            SessionException: The agent is not there. InvalidMessageError: It would not read back equal.
        """
        place, asked = self._place(agent_key(session_id, agent_id)), _id_of(session_message.message_id)
        records, message_id = _records(session_message), asked
        least = self._least_id(session_id, agent_id)

        def add(stored: SessionData) -> bool:
            nonlocal message_id
            _known_agent(stored, session_id, agent_id)
            repeated = _repeated(stored, records[0])
            free = stored.metadata.get(_NEXT, 0) + count_of_foreign(_behind(stored))
            message_id = max(asked, least, free) if repeated is None else repeated
            if repeated is None:
                stored.messages += [StoredMessage.from_dict(record) for record in _with_id(records, message_id, asked)]
                stored.metadata = {**stored.metadata, _NEXT: message_id + 1}
            return repeated is None

        place.update(add)
        session_message.message_id = message_id

    def read_message(self, session_id: str, agent_id: str, message_id: int, **kwargs: Any) -> SessionMessage | None:
        """Return the message listed under an id; None where there is none. Cost: reads the agent's whole session."""
        wanted = _id_of(message_id)
        found = [entry for entry in numbered(self._records(session_id, agent_id)) if entry.message_id == wanted]
        return message_of(found[0]) if found else None

    def update_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **kwargs: Any) -> None:
        """
        Put a message in the place of the one it is a newer form of; the time that was created stays.

        Raises:
            SessionException: There is none, or none that was stored through Strands.
        Cost: reads and writes the agent's whole session.
        """
        wanted, began = _id_of(session_message.message_id), session_message.created_at
        _records(session_message)  # refused before anything is read

        def edit(records: list[Record]) -> list[Record]:
            nonlocal began
            entry = _meant(numbered(records), wanted, session_message)
            if entry is None or entry.told is None:
                raise SessionException(f"Message {wanted} does not exist")
            start, old, marks = entry.told.start, entry.told.records, entry.told.marks
            began = marks["created_at"]
            changed = SessionMessage(**{**vars(session_message), "created_at": began})
            stored_id: int = marks["message_id"]
            new = _with_id(_records(changed), stored_id, marks.get(_ASKED, stored_id))
            at = old[0].get("timestamp", 0.0)
            return [*records[:start], *({**record, "timestamp": at} for record in new), *records[start + len(old):]]

        self._place(agent_key(session_id, agent_id)).change(edit)
        session_message.created_at = began

    def list_messages(
        self, session_id: str, agent_id: str, limit: int | None = None, offset: int = 0, **kwargs: Any
    ) -> list[SessionMessage]:
        """
        Return messages in the order they were stored, `limit` at most, after `offset` of them.

        Raises:
            SessionException: The agent is not there, and nothing was said in its place.
        """
        at_least(limit, "limit", 0, none=True)
        at_least(offset, "offset", 0)
        entries = numbered(self._records(session_id, agent_id, required=True))
        return [message_of(entry) for entry in entries[offset:None if limit is None else offset + limit]]

    # ---- several agents --------------------------------------------------------------------------------------

    def create_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:
        """
        Begin the state of several agents; one that is there already stays, because another process may have begun it.

        Raises:
            SessionException: The session is not there.
        """
        self._begin(session_id, _within(_MULTI_AGENTS, session_id, multi_agent.id), _state_of(multi_agent))

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **kwargs: Any) -> dict[str, Any] | None:
        """Return the state of several agents; None for unknown ones."""
        state = self._context(_within(_MULTI_AGENTS, session_id, multi_agent_id)).get(FIELD)
        return None if state is None else dict(state)

    def update_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **kwargs: Any) -> None:
        """Replace the state of several agents. Raises SessionException where it is not there."""
        place = self._place(_within(_MULTI_AGENTS, session_id, multi_agent.id))
        missing = SessionException(f"MultiAgent state {multi_agent.id} in session {session_id} does not exist")
        if not place.engine.exists(place.key):
            raise missing
        state = _state_of(multi_agent)

        def replace(stored: SessionData) -> None:
            if not stored.revision:
                raise missing
            stored.context = {FIELD: state}

        place.update(replace)

    # ----------------------------------------------------------------------------------------------------------

    def _place(self, key: SessionKey) -> Transcript:
        return Transcript(key, self._store, keeps_all=True)

    def _context(self, key: SessionKey) -> Record:
        stored = self._store.engine.read(key, 1)
        return {} if stored is None else stored.context

    def _require_session(self, session_id: str) -> None:
        if not self._store.engine.exists(_session_key(session_id)):
            raise SessionException(f"Session {session_id} does not exist")

    def _begin(self, session_id: str, key: SessionKey, state: Record) -> None:
        """Store a first state in a session; raises SessionException where it is not there, or was deleted meanwhile."""
        self._require_session(session_id)
        is_new = False

        def begin(stored: SessionData) -> bool:
            nonlocal is_new
            is_new = FIELD not in stored.context
            if is_new:
                stored.context = {**stored.context, FIELD: state}
            return is_new

        self._place(key).update(begin)
        try:
            self._require_session(session_id)
        except SessionException:
            if is_new:
                self._store.engine.delete(key)
            raise

    def _delete_agents(self, session_id: str) -> None:
        for kind in (FIELD, _MULTI_AGENTS):
            namespace = f"{kind}/{session_id}"
            for info in list(self._store.engine.find(namespace=namespace)):
                self._store.engine.delete(SessionKey(info.session_id, namespace))

    def _least_id(self, session_id: str, agent_id: str) -> int:
        """Return an id above those of all messages, where the window does not tell it; else 0."""
        window = self._store.engine.read(agent_key(session_id, agent_id), None)
        if window is None or not window.messages or len(_behind(window)) < len(window.messages):
            return 0
        entries = numbered(self._records(session_id, agent_id))
        return entries[-1].message_id + 1 if entries else 0

    def _records(self, session_id: str, agent_id: str, *, required: bool = False) -> list[Record]:
        whole = self._store.engine.whole(agent_key(session_id, agent_id))
        if whole is None and required:
            raise SessionException(f"Agent {agent_id} in session {session_id} does not exist")
        return [] if whole is None else whole[0].transcript(whole[1])[0]


_SESSIONS, _MULTI_AGENTS = f"{FIELD}.sessions", f"{FIELD}.multi_agents"
_NEXT, _ASKED = f"{FIELD}_next_id", "asked_id"


def _session_key(session_id: str) -> SessionKey:
    return SessionKey(key_of(session_id).session_id, _SESSIONS)


def _within(kind: str, session_id: str, name: str) -> SessionKey:
    # No kind holds a "/", so that whatever follows the first one is the session's id.
    file_stem(session_id)  # a namespace may end there; an id may not be empty
    return SessionKey(key_of(name).session_id, f"{kind}/{key_of(session_id).session_id}")


def _id_of(message_id: Any) -> int:
    return at_least(message_id, "message_id", 0) or 0


def _state_of(multi_agent: MultiAgentBase) -> Record:
    state = multi_agent.serialize_state()
    if not isinstance(state, dict):
        raise InvalidArgumentError(f"serialize_state returns a dict, not {shown(state)}: return one.")
    stored: Record = storable(state, "state")
    return stored


def _records(message: SessionMessage) -> list[Record]:
    return records_of(records_of_message(message), time.time())


def _with_id(records: list[Record], message_id: int, asked: int) -> list[Record]:
    first, *others = records
    head = {**first[FIELD], "message_id": message_id}
    return [{**first, FIELD: head if asked == message_id else {**head, _ASKED: asked}}, *others]


def _behind(stored: SessionData) -> list[Record]:
    """Return the messages of another origin behind the last one of Strands' in the window."""
    behind = takewhile(lambda message: not isinstance(message.extra.get(FIELD), Mapping), reversed(stored.messages))
    return [message.to_dict() for message in behind][::-1]


def _known_agent(stored: SessionData, session_id: str, agent_id: str) -> Mapping[str, Any]:
    known = stored.context.get(FIELD)
    if not isinstance(known, Mapping):
        raise SessionException(f"Agent {agent_id} in session {session_id} does not exist")
    return known


def _repeated(stored: SessionData, record: Record) -> int | None:
    """Return the id under which a message that has a `tracking_id` stands already; None where it does not."""
    wanted = record[FIELD]
    if not wanted.get("tracking_id"):
        return None
    for message in reversed(stored.messages):
        head = message.extra.get(FIELD)
        if isinstance(head, Mapping) and head.get("tracking_id") == wanted["tracking_id"] \
                and head.get(_ASKED, head.get("message_id")) == wanted["message_id"] \
                and head.get("created_at") == wanted["created_at"]:
            return int(head["message_id"])
    return None


def _meant(entries: list[Numbered], wanted: int, message: SessionMessage) -> Numbered | None:
    """Return the message an update is for; see PraisonSessionRepository."""
    candidates = [entry for entry in entries if wanted == entry.message_id or (
        entry.told is not None and wanted in (entry.told.marks["message_id"], entry.told.marks.get(_ASKED)))]
    tracked = message.message.get("tracking_id")
    same = [entry for entry in candidates if tracked and tracking_id_of(entry) == tracked]
    exact = [entry for entry in candidates if entry.message_id == wanted]
    return next(iter([*same, *exact]), None)
