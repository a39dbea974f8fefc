"""What a session knows of the agents that work in it: who they are, and which message was said in which run. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..engines.contract import Change
from ..errors import InvalidArgumentError, shown
from ..model import arguments
from ..model.message import Record, SessionMessage, llm_message, records_of
from ..model.session import SessionData, iso_utc
from ..model.values import storable

AGENTS, ROOT = "agents", "root_agent_id"


def registration(
    agent_id: str | None, agent_name: str, is_root: bool, user_id: str | None, now_s: float
) -> tuple[Callable[[SessionData], str], Change]:
    """
    Return the change that notes an agent in a session, and what tells the agent's id in the session afterwards.

    Shape: `agents` of the session is {id: {name, is_root, registered_at}}. Without an id, the root agent is the one
    the session has; another one gets a new id.
    """
    given = None if agent_id is None else arguments.text(agent_id, "agent_id")
    name = arguments.text(agent_name, "agent_name")
    fresh = given or f"agent_{uuid.uuid4().hex}"

    def change(session: SessionData) -> bool:
        own(session, user_id)
        agents = _agents(session)
        found = chosen(session)
        known = agents.get(found)
        entry = {"name": name or (known or {}).get("name", ""), "is_root": is_root,
                 "registered_at": (known or {}).get("registered_at") or iso_utc(now_s)}
        if session.revision and entry == known and (not is_root or session.extra.get(ROOT) == found):
            return False
        session.extra[AGENTS] = {**agents, found: entry}
        if is_root:
            session.extra[ROOT] = found
        if name and is_root and session.agent_name is None:
            session.agent_name = name
        return True

    def chosen(session: SessionData) -> str:
        root = session.extra.get(ROOT)
        return root if given is None and is_root and isinstance(root, str) else fresh

    return chosen, change


def _agents(session: SessionData) -> dict[str, dict[str, Any]]:
    stored = session.extra.get(AGENTS)
    known = stored if isinstance(stored, dict) else {}
    return {name: entry for name, entry in known.items() if isinstance(entry, dict)}


def own(session: SessionData, user_id: str | None) -> None:
    """Note whose session it is, where nobody did."""
    if user_id is not None and session.user_id is None:
        session.user_id = user_id


def names_set(where: str, names: Mapping[str, Any], user_id: str | None) -> Change:
    """Return the change that sets names of a session's `context` or `metadata`. Raises InvalidMessageError."""
    if not isinstance(names, Mapping):
        raise InvalidArgumentError(f"{where} is a dict, not {shown(names)}: pass one.")
    stored = storable(dict(names), where)

    def change(session: SessionData) -> bool:
        own(session, user_id)
        setattr(session, where, {**getattr(session, where), **stored})
        return True

    return change


def records_of_run(
    messages: Sequence[SessionMessage | Mapping[str, Any]], agent_id: str | None, run_id: str | None, now_s: float
) -> list[Record]:
    """Return the checked records of what was said in a run, each with an id, so that a repeated save stores it once."""
    marks = {"agent_id": arguments.text(agent_id, "agent_id", none=True),
             "run_id": arguments.text(run_id, "run_id", none=True)}
    marked = {name: value for name, value in marks.items() if value is not None}
    return [{**record, "message_id": record.get("message_id") or uuid.uuid4().hex, **marked}
            for record in records_of(messages, now_s, new=True)]


def history_of(session: SessionData, agent_id: str | None, run_id: str | None) -> list[Record]:
    """Return the messages of an agent and of a run, each where it is given, as a model API takes them."""
    return [llm_message(message.to_dict()) for message in session.messages if _is_of(message, agent_id, run_id)]


def runs_of(session: SessionData, agent_id: str | None) -> list[str]:
    """Return the ids of the runs a session holds, in the order they began."""
    found = [message.extra["run_id"] for message in session.messages
             if "run_id" in message.extra and _is_of(message, agent_id, None)]
    return list(dict.fromkeys(found))


def _is_of(message: SessionMessage, agent_id: str | None, run_id: str | None) -> bool:
    return agent_id in (None, message.extra.get("agent_id")) and run_id in (None, message.extra.get("run_id"))
