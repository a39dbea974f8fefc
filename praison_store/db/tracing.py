"""Events kept in sessions of their own, and the traces among them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..engines.contract import Engine
from ..errors import InvalidArgumentError, SessionNotFoundError, shown
from ..model import arguments
from ..model.filters import AndFilter, ComparisonFilter
from ..model.message import Record, SessionMessage
from ..model.session import SessionData
from ..model.session_id import SessionKey, key_of
from ..model.values import storable
from ..retention import policy_named
from . import events
from .records import DbTrace

KEEP_ALL = policy_named("keep_all", 1)
_MOST_OPEN_SPANS = 10_000


class Tracing:
    """The part of an adapter that notes what happened, and finds it again."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._trace_of_span: dict[str, str] = {}

    def on_trace_start(
        self, trace_id: str, session_id: str | None = None, run_id: str | None = None, agent_name: str | None = None,
        user_id: str | None = None, metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a trace begins."""
        whose = {"session_id": session_id, "run_id": run_id, "agent_name": agent_name, "user_id": user_id}
        begun = events.event("trace_start", time.time(), metadata=dict_of(metadata, "metadata"))

        def change(session: SessionData) -> None:
            session.context.update({name: value for name, value in whose.items() if value is not None})
            session.messages.append(SessionMessage.from_dict(begun))

        for name, value in whose.items():
            arguments.text(value, name, none=True)
        self.engine.update(_trace(trace_id), change, now_s=begun["timestamp"], policy=KEEP_ALL)

    def on_trace_end(self, trace_id: str, status: str = "ok", metadata: Mapping[str, Any] | None = None) -> None:
        """Note that a trace ended, and how."""
        self.note(_trace(trace_id), events.event("trace_end", time.time(), status=status,
                                                  metadata=dict_of(metadata, "metadata")))

    def on_span_start(
        self, span_id: str, trace_id: str, name: str, parent_span_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a part of a trace begins."""
        told = events.event("span_start", time.time(), span_id=arguments.text(span_id, "span_id"), name=name,
                            parent_span_id=parent_span_id, attributes=dict_of(attributes, "attributes"))
        self.note(_trace(trace_id), told)
        self._trace_of_span[span_id] = trace_id
        if len(self._trace_of_span) > _MOST_OPEN_SPANS:
            del self._trace_of_span[next(iter(self._trace_of_span))]  # the oldest: nobody ended it

    def on_span_end(self, span_id: str, status: str = "ok", attributes: Mapping[str, Any] | None = None) -> None:
        """
        Note that a part of a trace ended, and how.

        Raises:
            SessionNotFoundError: This adapter did not see it begin. Nothing was written.
        """
        trace_id = self._trace_of_span.get(span_id)
        if trace_id is None:
            message = f"The span {shown(span_id)} did not begin here: call on_span_start of the same adapter first."
            raise SessionNotFoundError(message, session_id=str(span_id))
        self.note(_trace(trace_id), events.event("span_end", time.time(), span_id=span_id, status=status,
                                                  attributes=dict_of(attributes, "attributes")))
        del self._trace_of_span[span_id]

    def get_traces(
        self, session_id: str | None = None, user_id: str | None = None, limit: int | None = None
    ) -> list[DbTrace]:
        """Return traces of a session and of a user, each where it is given, the most recently written first."""
        wanted = [ComparisonFilter.eq(f"context.{name}", value)
                  for name, value in (("session_id", session_id), ("user_id", user_id)) if value is not None]
        found = self.engine.find(filters=AndFilter(wanted), limit=limit, namespace=events.TRACES)
        return [events.trace_of(info.session_id, info.context, self.noted(_trace(info.session_id))) for info in found]

    def note(self, key: SessionKey, record: Record) -> None:
        """Put an event behind the others of a key."""
        self.engine.append(key, [record], now_s=record["timestamp"], policy=KEEP_ALL)

    def noted(self, key: SessionKey) -> list[SessionMessage]:
        """Return the events of a key, oldest first."""
        session = self.engine.read(key, None)
        return [] if session is None else session.messages


def events_key(name: str, namespace: str) -> SessionKey:
    """Return the key of the events of a session or trace. Raises InvalidSessionIdError."""
    return SessionKey(key_of(name).session_id, namespace)


def _trace(trace_id: str) -> SessionKey:
    return events_key(trace_id, events.TRACES)


def dict_of(value: Any, name: str) -> dict[str, Any]:
    """Return a dict that can be stored, empty for None. Raises InvalidArgumentError, InvalidMessageError."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"{name} is a dict, not {shown(value)}: pass one, or None.")
    plain: dict[str, Any] = storable(dict(value), name)
    return plain
