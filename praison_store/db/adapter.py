"""PraisonAI's DbAdapter protocol on an engine: each hook is one write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..engines.contract import Engine
from ..engines.urls import SQL_DIALECTS, from_url, scheme_of
from ..errors import InvalidArgumentError, InvalidMessageError, SessionNotFoundError, UnsupportedOperationError, shown
from ..model import arguments, portable
from ..model.message import Record, SessionMessage, new_record
from ..model.session import SessionData
from ..model.session_id import key_of
from ..model.values import storable
from . import events
from .records import DbMessage, DbRun
from .tracing import KEEP_ALL, Tracing, dict_of, events_key

SCHEMA_VERSION = "1.0"



class EngineAdapter(Tracing):
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
        super().__init__(from_url(engine) if isinstance(engine, str) else engine)

    # ---- messages --------------------------------------------------------------------------------------------

    def on_agent_start(
        self, agent_name: str, session_id: str, user_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> list[DbMessage]:
        """Name the agent and its user where nobody did; return what was said in the session, archived messages too."""
        agent, user = arguments.text(agent_name, "agent_name"), arguments.text(user_id, "user_id", none=True)
        told = {name: value for name, value in dict_of(metadata, "metadata").items() if value is not None}

        def change(session: SessionData) -> bool:
            before = (session.agent_name, session.user_id, dict(session.metadata))
            session.agent_name = session.agent_name or agent or None
            session.user_id = session.user_id or user
            session.metadata = {**told, **session.metadata}
            return not session.revision or before != (session.agent_name, session.user_id, session.metadata)

        key = key_of(session_id)
        self.engine.update(key, change, now_s=time.time(), policy=KEEP_ALL)
        session, archived = self.engine.whole(key) or (SessionData(session_id), [])
        return [_message(SessionMessage.from_dict(record)) for record in session.transcript(archived)[0]]

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
                            metadata=dict_of(metadata, "metadata"))
        self.note(events_key(session_id, events.TOOL_CALLS), told)

    def on_agent_end(self, session_id: str, metadata: Mapping[str, Any] | None = None) -> None:
        """Note what is told at an agent's end in the session's metadata; nothing is written for nothing told."""
        told = dict_of(metadata, "metadata")
        if told:
            self.engine.update(
                key_of(session_id), lambda session: session.metadata.update(told), now_s=time.time(), policy=KEEP_ALL)

    # ---- runs ------------------------------------------------------------------------------------------------

    def on_run_start(
        self, session_id: str, run_id: str, input_content: Any = None, metadata: Mapping[str, Any] | None = None,
        agent_name: str = "",
    ) -> None:
        """Note that a run begins."""
        told = events.event("run_start", time.time(), run_id=arguments.text(run_id, "run_id"),
                            input_content=input_content, agent_name=agent_name, metadata=dict_of(metadata, "metadata"))
        self.note(events_key(session_id, events.RUNS), told)

    def on_run_end(
        self, session_id: str, run_id: str, output_content: Any = None, status: str = "completed",
        metrics: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Note that a run ended, and how."""
        told = events.event("run_end", time.time(), run_id=arguments.text(run_id, "run_id"), status=status,
                            output_content=output_content, metrics=dict_of(metrics, "metrics"),
                            metadata=dict_of(metadata, "metadata"))
        self.note(events_key(session_id, events.RUNS), told)

    def get_runs(self, session_id: str, limit: int | None = None) -> list[DbRun]:
        """Return the newest `limit` runs of a session, the oldest of them first; None returns all."""
        newest = arguments.at_least(limit, "limit", 0, none=True)
        runs = events.runs_of(session_id, self.noted(events_key(session_id, events.RUNS)))
        return runs if newest is None else runs[max(0, len(runs) - newest) :]

    # ---- the adapter itself ----------------------------------------------------------------------------------

    def export_session(self, session_id: str) -> Record:
        """Return everything there is of a session as plain data, its runs included. Raises SessionNotFoundError."""
        key = key_of(session_id)
        whole = self.engine.whole(key)
        if whole is None:
            raise SessionNotFoundError(f"There is no session {session_id!r}.", session_id=session_id)
        noted = {name: [message.to_dict() for message in self.noted(events_key(key.session_id, namespace))]
                 for name, namespace in events.OF_SESSION.items()}
        return {**portable.exported(*whole, None), "noted": noted}

    def import_session(self, data: Mapping[str, Any]) -> str:
        """Store what `export_session` returned; return the session's id. Raises SessionExistsError."""
        noted = dict_of(data.get("noted"), "noted")
        session = portable.imported({name: value for name, value in data.items() if name != "noted"})
        key, now_s = key_of(session.session_id), time.time()
        self.engine.update(key, portable.become(session), now_s=now_s, policy=KEEP_ALL)
        for name, namespace in events.OF_SESSION.items():
            records: Sequence[Record] = noted.get(name) or ()
            if records:
                self.engine.append(events_key(key.session_id, namespace), records, now_s=now_s, policy=KEEP_ALL)
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
        told, now_s = dict_of(metadata, "metadata"), time.time()
        record = new_record(role, content, now_s, told, message_id=told.get("message_id"), **more)
        self.engine.append(key_of(session_id), [record], now_s=now_s, policy=KEEP_ALL)


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


def _plain(value: Any) -> Any:
    try:
        return storable(value, "result")
    except InvalidMessageError:
        return str(value)


def _message(message: SessionMessage) -> DbMessage:
    return DbMessage(message.role, message.content, message.metadata, message.timestamp, message.message_id,
                     message.tool_calls, message.tool_call_id)
