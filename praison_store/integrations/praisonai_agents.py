"""What a PraisonAI agent keeps beside the conversation while it runs: a turn under way, run state, where it runs."""

from __future__ import annotations

import copy
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..model import arguments
from ..model.filters import ComparisonFilter
from ..model.formats import to_openai_chat
from ..model.formats.parts import kind_of
from ..model.message import Record, SessionMessage, llm_message
from ..model.session import SessionData
from ..model.session_id import key_of
from ..model.tokens import within
from ..model.values import storable
from ..store import DefaultSessionStore
from .praisonai_records import FIELD

# PraisonAI shows these of the metadata at the top of a session's file, and its lists read them there first.
_SHOWN_FIRST = ("model", "llm", "total_tokens", "token_count", "cost", "source", "reasoning_effort")
_OWN_FIELDS = frozenset((*SessionMessage.__dataclass_fields__, FIELD)) - {"extra"}
_CHAT_PARTS = ("text", "image_url", "input_audio", "file")
_BORN = uuid.uuid4().hex


class AgentSession(SessionData):
    """A session with the fields PraisonAI's has beside ours; they are read-only here."""

    @classmethod
    def of(cls, session: SessionData) -> AgentSession:
        """Return the same session; a model known only at the top of its file is in the metadata too."""
        found = {name: session.extra[name] for name in _SHOWN_FIRST if session.extra.get(name) is not None}
        return cls(**{**vars(session), "metadata": {**found, **session.metadata}})

    @property
    def gateway_session_id(self) -> str | None:
        """The gateway's session this one is linked to."""
        return self.extra.get("gateway_session_id")

    @property
    def agent_id(self) -> str | None:
        """The gateway's name of the agent."""
        return self.extra.get("agent_id")

    @property
    def runtime_state(self) -> dict[str, Any]:
        """What runtimes left of their turns: `{runtime: {turn: state}}`."""
        state = self.extra.get("runtime_state")
        return state if isinstance(state, dict) else {}

    def get_chat_history(self, max_messages: int | None = None) -> list[Record]:
        """Return the newest messages in the chat form, those another framework wrote too; None or 0 returns all."""
        session = self.newest(max_messages) if max_messages else self
        records = [message.to_dict() for message in session.messages]
        return to_openai_chat(records) if any(map(_is_foreign, records)) else [llm_message(one) for one in records]


class AgentStore(DefaultSessionStore):
    """
    Our store with the calls PraisonAI's Agent, AgentTeam and Session make on theirs; on any engine.

    Shape: what they keep at the top of a session's file stands there in ours too, so that both read each other's.
    """

    def get_chat_history(
        self, session_id: str, max_messages: int | None = None, *, max_tokens: int | None = None,
        count: Callable[[Record], int] | None = None,
    ) -> list[Record]:
        """Return the newest messages as PraisonAI's agents take them; see `DefaultSessionStore.get_chat_history`."""
        history = super().get_chat_history(session_id, max_messages, max_tokens=max_tokens, count=count)
        if all(isinstance(message["content"], str) and message["content"] for message in history):
            return history
        # Another framework's items may be among them, which only their records tell.
        history = self.get_session(session_id).get_chat_history(self._newest(max_messages))
        return history if max_tokens is None and count is None else within(history, max_tokens, count)

    def get_session(self, session_id: str) -> AgentSession:
        """Return the session with its window of messages; an empty one, with revision 0, for an unknown id."""
        return AgentSession.of(super().get_session(session_id))

    def get_session_model(self, session_id: str) -> str | None:
        """Return the model the session ran with last, of its metadata or else of its newest message that names one."""
        return _noted(self.get_session(session_id), "model", "llm")

    def get_session_reasoning_effort(self, session_id: str) -> str | None:
        """Return the reasoning effort the session ran with last; see `get_session_model`."""
        return _noted(self.get_session(session_id), "reasoning_effort")

    def update_session_metadata(self, session_id: str, **fields: Any) -> bool:
        """Set fields of the metadata, and on the session what it has of that name; None leaves one as it is."""
        given = {name: storable(value, f"metadata.{name}") for name, value in fields.items() if value is not None}
        agent, user, agent_id = (
            arguments.text(given.get(name), name, none=True) for name in ("agent_name", "user_id", "agent_id"))

        def change(session: SessionData) -> None:
            session.metadata.update(copy.deepcopy(given))
            session.agent_name = agent or session.agent_name
            session.user_id = user or session.user_id
            session.extra.update({"agent_id": agent_id} if agent_id else {})
            session.extra.update((name, session.metadata[name]) for name in _SHOWN_FIRST if name in given)

        return bool(given) and self._update(session_id, change)

    def merge_session_metadata_map(
        self, session_id: str, key: str, updates: Mapping[str, Any], *, defaults: Mapping[str, Any] | None = None
    ) -> bool:
        """
        Set entries of one dict in the metadata in a single turn, so that several writers lose none of each other's.

        Args:
            defaults: entries for where none of that name is stored yet.
        """
        name = arguments.text(key, "key") or ""
        new = storable(dict(updates), f"metadata.{name}")
        first = storable(dict(defaults or {}), f"metadata.{name}")

        def change(session: SessionData) -> None:
            stored = session.metadata.get(name)
            session.metadata[name] = copy.deepcopy({**first, **(stored if isinstance(stored, dict) else {}), **new})

        return self._update(session_id, change)

    # ---- the gateway ------------------------------------------------------------------------------------------

    def set_gateway_info(
        self, session_id: str, gateway_session_id: str | None = None, agent_id: str | None = None
    ) -> bool:
        """Link a session, which is made if unknown, to a gateway's; None or an empty text leaves a link as it is."""
        given = {"gateway_session_id": arguments.text(gateway_session_id, "gateway_session_id", none=True),
                 "agent_id": arguments.text(agent_id, "agent_id", none=True)}
        links = {name: value for name, value in given.items() if value}

        def change(session: SessionData) -> None:
            session.extra.update(links)

        return bool(links) and self._update(session_id, change)

    def get_by_gateway_session(self, gateway_session_id: str) -> AgentSession | None:
        """Return the session linked to a gateway's, the one written last of several; None where none is."""
        wanted = ComparisonFilter.eq("gateway_session_id", arguments.text(gateway_session_id, "gateway_session_id"))
        for info in self.engine.find(filters=wanted, limit=1):
            session = self.engine.read(key_of(info.session_id), self._newest(None))
            return None if session is None else AgentSession.of(session)
        return None

    def list_sessions_by_gateway_agent(self, agent_id: str, limit: int = 50) -> list[str]:
        """Return the ids of a gateway agent's sessions, the most recently written first."""
        wanted = ComparisonFilter.eq("agent_id", arguments.text(agent_id, "agent_id"))
        found = self.engine.find(filters=wanted, limit=arguments.at_least(limit, "limit", 1))
        return [info.session_id for info in found]

    # ---- the state of a runtime -------------------------------------------------------------------------------

    def set_runtime_state(
        self, session_id: str, runtime_id: str, turn_id: str, state: Mapping[str, Any], mirror_enabled: bool = True
    ) -> bool:
        """Keep what a runtime leaves of one turn; True, and nothing is kept, where `mirror_enabled` is False."""
        runtime, turn = arguments.text(runtime_id, "runtime_id") or "", arguments.text(turn_id, "turn_id") or ""
        left = storable(dict(state), "state")

        def change(session: SessionData) -> None:
            states = session.extra.get("runtime_state")
            states = session.extra["runtime_state"] = dict(states) if isinstance(states, dict) else {}
            turns = states.get(runtime)
            states[runtime] = {**(turns if isinstance(turns, dict) else {}), turn: copy.deepcopy(left)}

        return not mirror_enabled or self._update(session_id, change)

    def get_runtime_state(self, session_id: str, runtime_id: str, turn_id: str | None = None) -> dict[str, Any]:
        """Return what a runtime left of one turn, or of all of them by their id for None; empty where it left none."""
        turns = self.get_session(session_id).runtime_state.get(runtime_id)
        turns = turns if isinstance(turns, dict) else {}
        return dict(turns if turn_id is None else turns.get(turn_id) or {})

    def clear_runtime_state(self, session_id: str, runtime_id: str | None = None) -> bool:
        """Forget what a runtime left, or all of them for None; True when nothing of it is left."""
        def change(session: SessionData) -> bool:
            states = session.extra.get("runtime_state")
            if not states or (runtime_id is not None and runtime_id not in states):
                return False
            kept = {name: turns for name, turns in states.items() if runtime_id not in (None, name)}
            session.extra["runtime_state"] = kept
            return True

        self._update(session_id, change)
        return True

    # ---- the turn under way -----------------------------------------------------------------------------------

    def upsert_partial_assistant_message(self, session_id: str, content: str, *, finalize: bool = False) -> bool:
        """
        Store what an assistant said so far, in place of what it had said before; True when it is durable.

        Args:
            content: the whole text known by now. finalize: nothing follows: it is a message as any other.
        Shape: until then the message has `{"partial": True}` in its metadata. Where several processes answer in one
        session at once, each keeps a message of its own. Without text, `finalize` takes the unfinished message away.
        Cost: one write of the window, and none where nothing changes.
        """
        now_s, writer = time.time(), f"{os.getpid()}-{_BORN}"
        arguments.text(content, "content")

        def change(session: SessionData) -> bool:
            place = _under_way(session.messages, content, writer)
            if finalize and not content:
                return place is not None and bool(session.messages.pop(place))
            old = SessionMessage("assistant", "") if place is None else session.messages[place]
            metadata = {name: value for name, value in old.metadata.items() if name != "partial"}
            extra = {name: value for name, value in old.extra.items() if name != FIELD}
            if not finalize:
                metadata["partial"], extra[FIELD] = True, {"partial_of": writer}
            if place is not None and (content, metadata, extra) == (old.content, old.metadata, old.extra):
                return False
            said = replace(old, content=content, timestamp=now_s, metadata=metadata, extra=extra)
            if place is None:
                session.messages.append(said)
            else:
                session.messages[place] = said
            return True

        self._update(session_id, change)
        return True

    def discard_partial_assistant_message(self, session_id: str) -> bool:
        """Take the unfinished message away, if any; False where one of another process's, still answering, is last."""
        writer, free = f"{os.getpid()}-{_BORN}", True

        def change(session: SessionData) -> bool:
            nonlocal free
            place = _under_way(session.messages, None, writer)
            if place is not None:
                del session.messages[place]
            free = not (session.messages and _is_partial(session.messages[-1]))
            return place is not None

        self._update(session_id, change)
        return free

    def _readable(self, session_id: str) -> SessionData | None:
        session = super()._readable(session_id)
        return None if session is None else AgentSession.of(session)


def _is_foreign(record: Record) -> bool:
    """Tell whether a record is another framework's: it has a field we do not know, or parts no chat has."""
    content = record.get("content")
    parts = content if isinstance(content, list) else []
    return not _OWN_FIELDS.issuperset(record) or any(kind_of(part) not in _CHAT_PARTS for part in parts)


def _noted(session: SessionData, *names: str) -> str | None:
    """Return the first text of these names in the metadata of the session, else the first name's of its messages."""
    found = [session.metadata.get(name) for name in names]
    found += [message.metadata.get(names[0]) for message in reversed(session.messages)]
    return next((value for value in found if isinstance(value, str) and value), None)


def _is_partial(message: SessionMessage) -> bool:
    return message.role == "assistant" and bool(message.metadata.get("partial"))


def _writer_of(message: SessionMessage) -> str | None:
    mark = message.extra.get(FIELD)
    return mark.get("partial_of") if isinstance(mark, dict) else None


def _under_way(messages: Sequence[SessionMessage], content: str | None, writer: str) -> int | None:
    """
    Return the place of the unfinished message that `content` goes on with, or the writer's own for None; None: no such.

    PraisonAI takes the last message, whoever is writing it. Of two processes that answer at once each would then erase
    what the other was told is stored (D3); so one that another process of ours writes is taken only where its text is
    the beginning of `content`: nothing is lost, and a turn that a dead process left is finished by the next one.
    """
    last = len(messages) - 1
    for place in range(last, -1, -1):
        message = messages[place]
        if message.role != "assistant":
            return None  # what stands before somebody else's word was an earlier turn
        if not _is_partial(message):
            continue
        whose, text = _writer_of(message), message.content
        goes_on = whose == writer if content is None else isinstance(text, str) and content.startswith(text)
        if (whose == writer and (goes_on or place == last)) or (place == last and (whose is None or goes_on)):
            return place
    return None
