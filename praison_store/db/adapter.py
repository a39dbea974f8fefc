"""PraisonAI's DbAdapter protocol on an engine: each hook is one write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..engines.contract import Engine
from ..engines.urls import SQL_DIALECTS, from_url, scheme_of
from ..errors import InvalidArgumentError, SessionNotFoundError, UnsupportedOperationError, shown
from ..model import arguments, portable
from ..model.filters import AndFilter, ComparisonFilter
from ..model.message import Record, SessionMessage, new_record
from ..model.session import SessionData
from ..model.session_id import SessionKey, key_of
from ..model.values import storable
from ..retention import policy_named
from . import events
from .records import DbMessage, DbRun, DbTrace

SCHEMA_VERSION = "1.0"
_ALL = policy_named("keep_all", 1)
_MOST_OPEN_SPANS = 10_000


class EngineAdapter:
    """
    An adapter on any engine.

    Args:
        engine: an engine, or the URL of one.
    Raises:
        InvalidArgumentError: It is neither. MissingExtraError: The engine's package is missing.
    Source: names and meanings follow the DbAdapter and ToolTurnDbAdapter protocols of PraisonAI.
    """

    def __init__(self, engine: Engine | str) -> None:
        if not isinstance(engine, (str, Engine)):
            raise InvalidArgumentError(f"engine is an engine or the URL of one, not {shown(engine)}: pass one of them.")
        self.engine: Engine = from_url(engine) if isinstance(engine, str) else engine
        self._trace_of_span: dict[str, str] = {}

    # ---- messages --------------------------------------------------------------------------------------------

    def on_agent_start(
        self, agent_name: str, session_id: str, user_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> list[DbMessage]:
        """Name the agent and its user where nobody did, and return what was said in the session."""
        agent, user = arguments.text(agent_name, "agent_name"), arguments.text(user_id, "user_id", none=True)
        told = {name: value for name, value in _dict(metadata, "metadata").items() if value is not None}

        def change(session: SessionData) -> bool:
            before = (session.agent_name, session.user_id, dict(session.metadata))
            session.agent_name = session.agent_name or agent or None
            session.user_id = session.user_id or user
            session.metadata = {**told, **session.metadata}
            return not session.revision or before != (session.agent_name, session.user_id, session.metadata)

        session = self.engine.update(key_of(session_id), change, now_s=time.time(), policy=_ALL)
        return [_message(message) for message in session.messages]

    def on_user_message(self, session_id: str, content: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Store what the user said; a `message_id` in the metadata makes a retry store it once."""
        self._say(session_id, "user", content, metadata)

    def on_agent_message(self, session_id: str, content: Any, metadata: Mapping[str, Any] | None = None) -> None:
        """Store what the agent said."""
        self._say(session_id, "assistant", content, metadata)

    def on_assistant_message(
        self, session_id: str, content: Any, tool_calls: list[Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Store what the agent said and which tools it called."""
        self._say(session_id, "assistant", content, metadata, tool_calls=tool_calls)

    def on_tool_message(
        self, session_id: str, content: Any, tool_call_id: str, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Store what a tool returned for a call."""
        self._say(session_id, "tool", content, metadata, tool_call_id=tool_call_id)

    def on_tool_call(
        self, session_id: str, tool_name: str, args: Mapping[str, Any], result: Any,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a tool was called; the conversation stays as it is, see `on_tool_message`. A result JSON has no
        form of is noted as it shows itself."""
        name = arguments.text(tool_name, "tool_name")
        told = events.event("tool_call", time.time(), tool_name=name, args=_plain(dict(args)), result=_plain(result),
                            metadata=_dict(metadata, "metadata"))
        self._note(SessionKey(key_of(session_id).session_id, events.TOOL_CALLS), told)

    def on_agent_end(self, session_id: str, metadata: Mapping[str, Any] | None = None) -> None:
        """Note what is told at an agent's end in the session's metadata; nothing is written for nothing told."""
        told = _dict(metadata, "metadata")
        if told:
            self.engine.update(
                key_of(session_id), lambda session: session.metadata.update(told), now_s=time.time(), policy=_ALL)

    # ---- runs ------------------------------------------------------------------------------------------------

    def on_run_start(
        self, session_id: str, run_id: str, input_content: Any = None, metadata: Mapping[str, Any] | None = None,
        agent_name: str = "",
    ) -> None:
        """Note that a run begins."""
        told = events.event("run_start", time.time(), run_id=arguments.text(run_id, "run_id"),
                            input_content=input_content, agent_name=agent_name, metadata=_dict(metadata, "metadata"))
        self._note(SessionKey(key_of(session_id).session_id, events.RUNS), told)

    def on_run_end(
        self, session_id: str, run_id: str, output_content: Any = None, status: str = "completed",
        metrics: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a run ended, and how."""
        told = events.event("run_end", time.time(), run_id=arguments.text(run_id, "run_id"), status=status,
                            output_content=output_content, metrics=_dict(metrics, "metrics"),
                            metadata=_dict(metadata, "metadata"))
        self._note(SessionKey(key_of(session_id).session_id, events.RUNS), told)

    def get_runs(self, session_id: str, limit: int | None = None) -> list[DbRun]:
        """Return the newest `limit` runs of a session, the oldest of them first; None returns all."""
        newest = arguments.at_least(limit, "limit", 0, none=True)
        runs = events.runs_of(session_id, self._noted(SessionKey(key_of(session_id).session_id, events.RUNS)))
        return runs if newest is None else runs[max(0, len(runs) - newest) :]

    # ---- traces ----------------------------------------------------------------------------------------------

    def on_trace_start(
        self, trace_id: str, session_id: str | None = None, run_id: str | None = None, agent_name: str | None = None,
        user_id: str | None = None, metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a trace begins."""
        whose = {"session_id": session_id, "run_id": run_id, "agent_name": agent_name, "user_id": user_id}
        begun = events.event("trace_start", time.time(), metadata=_dict(metadata, "metadata"))

        def change(session: SessionData) -> None:
            session.context.update({name: value for name, value in whose.items() if value is not None})
            session.messages.append(SessionMessage.from_dict(begun))

        for name, value in whose.items():
            arguments.text(value, name, none=True)
        self.engine.update(_trace(trace_id), change, now_s=time.time(), policy=_ALL)

    def on_trace_end(self, trace_id: str, status: str = "ok", metadata: Mapping[str, Any] | None = None) -> None:
        """Note that a trace ended, and how."""
        self._note(_trace(trace_id), events.event("trace_end", time.time(), status=status,
                                                  metadata=_dict(metadata, "metadata")))

    def on_span_start(
        self, span_id: str, trace_id: str, name: str, parent_span_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a part of a trace begins."""
        told = events.event("span_start", time.time(), span_id=arguments.text(span_id, "span_id"), name=name,
                            parent_span_id=parent_span_id, attributes=_dict(attributes, "attributes"))
        self._note(_trace(trace_id), told)
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
        self._note(_trace(trace_id), events.event("span_end", time.time(), span_id=span_id, status=status,
                                                  attributes=_dict(attributes, "attributes")))
        del self._trace_of_span[span_id]

    def get_traces(
        self, session_id: str | None = None, user_id: str | None = None, limit: int | None = None
    ) -> list[DbTrace]:
        """Return traces of a session and of a user, each where it is given, the most recently written first."""
        wanted = [ComparisonFilter.eq(f"context.{name}", value)
                  for name, value in (("session_id", session_id), ("user_id", user_id)) if value is not None]
        found = self.engine.find(filters=AndFilter(wanted), limit=limit, namespace=events.TRACES)
        return [events.trace_of(info.session_id, info.context, self._noted(_trace(info.session_id))) for info in found]

    # ---- the adapter itself ----------------------------------------------------------------------------------

    def export_session(self, session_id: str) -> Record:
        """Return everything there is of a session as plain data, its runs included. Raises SessionNotFoundError."""
        key = key_of(session_id)
        whole = self.engine.whole(key)
        if whole is None:
            raise SessionNotFoundError(f"There is no session {session_id!r}.", session_id=session_id)
        noted = {name: [message.to_dict() for message in self._noted(SessionKey(key.session_id, namespace))]
                 for name, namespace in (("runs", events.RUNS), ("tool_calls", events.TOOL_CALLS))}
        return {**portable.exported(*whole, None), "noted": noted}

    def import_session(self, data: Mapping[str, Any]) -> str:
        """Store what `export_session` returned; return the session's id. Raises SessionExistsError."""
        noted = _dict(data.get("noted"), "noted")
        session = portable.imported({name: value for name, value in data.items() if name != "noted"})
        key, now_s = key_of(session.session_id), time.time()
        self.engine.update(key, portable.become(session), now_s=now_s, policy=_ALL)
        for name, namespace in (("runs", events.RUNS), ("tool_calls", events.TOOL_CALLS)):
            records: Sequence[Record] = noted.get(name) or ()
            if records:
                self.engine.append(SessionKey(key.session_id, namespace), records, now_s=now_s, policy=_ALL)
        return key.session_id

    def get_schema_version(self) -> str:
        """Return the version of the protocol this adapter keeps."""
        return SCHEMA_VERSION

    def migrate_schema(self, from_version: str, to_version: str) -> bool:
        """Return True where both are this version: there is nothing to do. Raises UnsupportedOperationError."""
        if (from_version, to_version) == (SCHEMA_VERSION, SCHEMA_VERSION):
            return True
        message = f"This adapter keeps version {SCHEMA_VERSION}, and knows no way from {from_version} to {to_version}."
        raise UnsupportedOperationError(message, operation="migrate_schema")

    def check_schema_compatibility(self) -> tuple[bool, str]:
        """Tell whether what is stored can be read, by reading it. Raises TableNotFoundError for newer tables."""
        self.engine.count()
        return True, f"version {SCHEMA_VERSION}, {self.engine.capabilities.name}"

    def close(self) -> None:
        """Close the engine; the adapter may be used again."""
        self.engine.close()

    # ---- the steps -------------------------------------------------------------------------------------------

    def _say(self, session_id: str, role: str, content: Any, metadata: Mapping[str, Any] | None, **more: Any) -> None:
        told, now_s = _dict(metadata, "metadata"), time.time()
        record = new_record(role, content, now_s, told, message_id=told.get("message_id"), **more)
        self.engine.append(key_of(session_id), [record], now_s=now_s, policy=_ALL)

    def _note(self, key: SessionKey, record: Record) -> None:
        self.engine.append(key, [record], now_s=record["timestamp"], policy=_ALL)

    def _noted(self, key: SessionKey) -> list[SessionMessage]:
        session = self.engine.read(key, None)
        return [] if session is None else session.messages


class _DatabaseAdapter(EngineAdapter):
    """An adapter on one kind of database."""

    _dialect, _example = "", ""

    def __init__(self, connection_string: str) -> None:
        if not isinstance(connection_string, str) or SQL_DIALECTS.get(scheme_of(connection_string)) != self._dialect:
            raise InvalidArgumentError(f"connection_string is a URL like {self._example}: pass one.")
        super().__init__(connection_string)


class PostgresAdapter(_DatabaseAdapter):
    """An adapter on PostgreSQL, by its URL; see `EngineAdapter`."""

    _dialect, _example = "postgresql", "postgresql://user:password@host/database"


class MySQLAdapter(_DatabaseAdapter):
    """An adapter on MySQL or MariaDB, by its URL; see `EngineAdapter`."""

    _dialect, _example = "mysql", "mysql://user:password@host/database"


class SQLiteAdapter(EngineAdapter):
    """An adapter on a SQLite file, by its path or URL; see `EngineAdapter`."""

    def __init__(self, path: str = "praison.db") -> None:
        name = arguments.text(path, "path") or ""
        super().__init__(name if name.startswith("sqlite") and "://" in name else f"sqlite:///{name}")


def _trace(trace_id: str) -> SessionKey:
    return SessionKey(key_of(trace_id).session_id, events.TRACES)


def _dict(value: Any, name: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"{name} is a dict, not {shown(value)}: pass one, or None.")
    plain: dict[str, Any] = storable(dict(value), name)
    return plain


def _plain(value: Any) -> Any:
    try:
        return storable(value, "result")
    except InvalidArgumentError:
        raise
    except ValueError:
        return str(value)


def _message(message: SessionMessage) -> DbMessage:
    return DbMessage(message.role, message.content, message.metadata, message.timestamp, message.message_id,
                     message.tool_calls, message.tool_call_id)
