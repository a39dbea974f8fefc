"""Use an object with PraisonAI's DbAdapter hooks as an engine, as far as its hooks reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ..codec import document, values
from ..errors import InvalidArgumentError, UnsupportedOperationError
from ..model.exchanges import newest_window
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record, SessionMessage, llm_message
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey, file_stem
from ..retention import Policy
from .contract import Capabilities, Change, Engine
from .urls import from_url

_REQUIRED = ("on_agent_start", "on_user_message", "on_agent_message")


def engine_of(db: object, *, lock_timeout_s: float, durability: str) -> Engine:
    """
    Return an engine: `db` itself, the one of a URL, or an adapter's hooks as one.

    Raises:
        InvalidArgumentError: `db` is neither an engine nor an object with the DbAdapter hooks. Names what is missing.
    """
    if isinstance(db, str):
        return from_url(db, lock_timeout_s=lock_timeout_s, durability=durability)
    if isinstance(db, type):
        raise InvalidArgumentError(f"db is an adapter or engine, not the class {db.__name__}: pass {db.__name__}(...).")
    if isinstance(db, Engine):
        return db
    of_adapter = getattr(db, "engine", None)
    if isinstance(of_adapter, Engine):
        return of_adapter  # an adapter of ours: its engine does more than its hooks tell
    missing = [name for name in _REQUIRED if not callable(getattr(db, name, None))]
    if missing:
        raise InvalidArgumentError(
            f"db is an engine or an object with PraisonAI's DbAdapter hooks; {type(db).__name__} has no "
            f"{', '.join(missing)}: add them, or leave db out to use JSON files."
        )
    return DbHooksEngine(db)


class DbHooksEngine:
    """
    Sessions behind the hooks of a database adapter.

    Promise: each message goes to the hook of its role, in order; history is what `on_agent_start` returns. What the
    hooks have no name for raises UnsupportedOperationError before anything is written. One write is as atomic as the
    adapter's own hooks are.
    Source: the DbAdapter and ToolTurnDbAdapter protocols of PraisonAI.
    """

    capabilities = Capabilities("db_hooks", shared=False, leases=False)

    def __init__(self, db: Any) -> None:
        self._db = db

    def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Return what `on_agent_start` gives back, as a model API takes it."""
        records = self._records(key)
        leading, start = newest_window(records, newest) if newest else (0, 0)
        return [llm_message(record) for record in records[:leading] + records[start:]]

    def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Return a session of the adapter's messages; None where it has none."""
        records = self._records(key)
        if not records:
            return None
        messages = [SessionMessage.from_dict(record) for record in records]
        session = SessionData(key.session_id, messages, created_at="", updated_at="", revision=len(messages))
        return session.newest(newest) if newest else session

    def exists(self, key: SessionKey) -> bool:
        """Tell whether the adapter has messages of the session."""
        return bool(self._records(key))

    def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Return the session and no archive: an adapter keeps every message in the session."""
        session = self.read(key, None)
        return None if session is None else (session, [])

    def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Give each message to the hook of its role; one whose `message_id` is there already is left out."""
        if least_revision:
            return _unsupported("a write that depends on the revision")
        file_stem(key.session_id)  # refuses an id, and a message below, that no other engine would take
        document.encode_all(messages)
        calls = [self._call_of(key, message) for message in messages]
        known: set[Any] = set()
        if any("message_id" in message for message in messages):
            known = {record["metadata"].get("message_id") for record in self._records(key)}
        for (hook, arguments), message in zip(calls, messages, strict=True):
            message_id = message.get("message_id")
            if message_id is None or message_id not in known:
                hook(key.session_id, **arguments)
                known.add(message_id)
        return 0

    def _call_of(self, key: SessionKey, message: Record) -> tuple[Any, dict[str, Any]]:
        role, metadata = message["role"], dict(message["metadata"])
        if "message_id" in message:
            metadata["message_id"] = message["message_id"]
        given: dict[str, Any] = {"content": message["content"], "metadata": metadata or None}
        if role == "user":
            return self._db.on_user_message, given
        if role == "assistant" and "tool_calls" in message:
            return self._hook("on_assistant_message"), {**given, "tool_calls": message["tool_calls"]}
        if role == "assistant":
            return self._db.on_agent_message, given
        if role == "tool":
            return self._hook("on_tool_message"), {**given, "tool_call_id": message.get("tool_call_id")}
        return _unsupported(f"storing a message of the role {role!r}")

    def _hook(self, name: str) -> Any:
        hook = getattr(self._db, name, None)
        return hook if callable(hook) else _unsupported(name)

    def _records(self, key: SessionKey) -> list[Record]:
        file_stem(key.session_id)  # refuses an id that no other engine would take
        started = self._db.on_agent_start(agent_name="", session_id=key.session_id)
        return [_record_of(message) for message in started or ()]

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Refuse: no hook changes a session."""
        _unsupported("changing a session")

    def delete(self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None) -> bool:
        """Refuse: no hook forgets a session."""
        _unsupported("deleting a session")

    def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> Iterator[SessionInfo]:
        """Refuse: no hook lists sessions."""
        _unsupported("listing sessions")

    def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> Iterator[tuple[SessionData, list[Record]]]:
        """Refuse: no hook searches."""
        _unsupported("searching")

    def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Refuse: no hook counts sessions."""
        _unsupported("counting sessions")

    def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Refuse: no hook claims a session."""
        _unsupported("claiming a session")

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Refuse: no hook claims a session."""
        _unsupported("claiming a session")

    def release(self, lease: Lease) -> bool:
        """Refuse: no hook claims a session."""
        _unsupported("claiming a session")

    def close(self) -> None:
        """Close the adapter, where it can be closed."""
        close = getattr(self._db, "close", None)
        if callable(close):
            close()


def _record_of(message: Any) -> Record:
    record: Record = {
        "role": _field(message, "role") or "user",
        "content": _field(message, "content"),
        "timestamp": _field(message, "timestamp") or 0.0,
        "metadata": dict(_field(message, "metadata") or {}),
    }
    if _field(message, "tool_calls"):
        record["tool_calls"] = [_call_dict(call) for call in _field(message, "tool_calls")]
    if _field(message, "tool_call_id") is not None:
        record["tool_call_id"] = _field(message, "tool_call_id")
    return record


def _field(message: Any, name: str) -> Any:
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)


def _call_dict(call: Any) -> Any:
    """Return a tool call as a model API takes it; PraisonAI's DbToolCall has a name and arguments of its own."""
    if isinstance(call, Mapping) or not hasattr(call, "tool_name"):
        return call
    arguments = values.dumps_extended(getattr(call, "args", None) or {}).decode()
    function = {"name": call.tool_name, "arguments": arguments}
    return {"id": getattr(call, "call_id", None), "type": "function", "function": function}


def _unsupported(operation: str) -> NoReturn:
    raise UnsupportedOperationError(
        f"The db adapter has no hook for {operation}. Nothing was written: use an engine as db, or leave db out.",
        operation=operation,
    )
