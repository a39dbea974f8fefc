"""Engines as databases of rows: `create`, `find_many`, `update`, `delete` on SessionModel and MessageModel."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from ..engines.contract import Engine
from ..engines.urls import SQL_DIALECTS, directory_of, scheme_of
from ..errors import InvalidArgumentError, RevisionConflictError, SessionExistsError, SessionNotFoundError, shown
from ..model import arguments
from ..model.filters import AndFilter, ComparisonFilter, Filter, evaluate
from ..model.message import SessionMessage, records_of
from ..model.selection import OrderBy, selected
from ..model.session import SessionData
from ..model.session_id import SessionKey
from ..model.values import storable
from .cancellation import settled
from .changes import extend
from .contract import AsyncEngine
from .keeper import KEEP_ALL
from .leases import Acquisition, AgentLock, key_for
from .models import MessageModel, SessionModel, rows_of
from .threads import ThreadedEngine
from .urls import awaited, engine_from_url

Model = TypeVar("Model", bound=SessionModel | MessageModel)
_DELETE_TTL_S = 30.0


@runtime_checkable
class _HasTables(Protocol):
    async def setup_models(self) -> None: ...


class DatabaseEngine:
    """
    An engine's sessions and messages as rows; `engine` is the engine itself.

    Shape: a session of a user is named by both, so alice's and bob's `chat_001` are two rows.
    Promise: each call on one row is one atomic step. Usable from several event loops and threads.
    Source: the names follow NexAU's session management.
    """

    def __init__(self, engine: AsyncEngine | Engine) -> None:
        self.engine: AsyncEngine = awaited(engine)
        self._lock = AgentLock(self.engine, ttl_s=_DELETE_TTL_S, heartbeat_s=_DELETE_TTL_S / 3, on_busy="fail",
                               wait_timeout_s=0.0)

    async def setup_models(self) -> None:
        """Make the tables, where the engine has tables; several processes may do so at once."""
        if isinstance(self.engine, _HasTables):
            await self.engine.setup_models()

    async def find_first(
        self, model: type[Model], *, filters: Filter | None = None, order_by: OrderBy = None
    ) -> Model | None:
        """Return the first row that matches, or None."""
        found = await self.find_many(model, filters=filters, limit=1, order_by=order_by)
        return found[0] if found else None

    async def find_many(
        self, model: type[Model], *, filters: Filter | None = None, limit: int | None = None, offset: int = 0,
        order_by: OrderBy = None,
    ) -> list[Model]:
        """
        Return the rows that match.

        Args:
            order_by: fields, `-` in front of one that descends; None gives the sessions that were written last first,
                and the messages of each session in their order.
        """
        if _is_sessions(model):
            infos = await self.engine.find(
                filters=filters, order_by=order_by, limit=limit, offset=offset, namespace=None
            )
            return [cast(Model, SessionModel.of(info, info.namespace, info.message_count)) for info in infos]
        records = [row for key in await self._keys(_of_session(filters)) for row in await self._rows(key)]
        rows = selected(((record, record) for record in records), filters, order_by, limit, offset)
        return [cast(Model, MessageModel.of(row)) for row in rows]

    async def count(self, model: type[SessionModel] | type[MessageModel], *, filters: Filter | None = None) -> int:
        """Return how many rows match."""
        if _is_sessions(model):
            return await self.engine.count(filters, namespace=None)
        return len(await self.find_many(MessageModel, filters=filters))

    async def create(self, row: Model) -> Model:
        """
        Store a new row; return it as it is stored.

        Raises:
            SessionExistsError: There is a session of that name. SessionNotFoundError: A message's session is not there.
        """
        return (await self.create_many([row]))[0]

    async def create_many(self, rows: Sequence[Model]) -> list[Model]:
        """
        Store new rows; return them as they are stored.

        The messages of one session are stored all or none; sessions one after the other.

        Raises:
            SessionExistsError, SessionNotFoundError: As `create`; what came before it is stored.
        """
        messages: dict[SessionKey, list[MessageModel]] = {}
        created: list[Any] = []
        for row in rows:
            if isinstance(row, MessageModel):
                messages.setdefault(row.key, []).append(row)
                created.append(row)
            else:
                created.append(await self._create_session(_session(row)))
        for key, group in messages.items():
            await self._create_messages(key, group)
        return created

    async def update(self, row: Model) -> Model:
        """
        Store a row's fields in place of those that are there; return it as it is stored.

        Raises:
            SessionNotFoundError: There is no such row. RevisionConflictError: The session was written since the row was
            read; read it again, or `upsert` it whatever it is now. Nothing was written.
        """
        if isinstance(row, MessageModel):
            return cast(Model, await self._update_message(row))
        return cast(Model, await self._write_session(_session(row), must_exist=True, revision=row.revision or None))

    async def upsert(self, row: Model) -> Model:
        """Store a row, new or in place of what is there; return it as it is stored."""
        if not isinstance(row, MessageModel):
            return cast(Model, await self._write_session(_session(row), must_exist=False, revision=None))
        if row.message_id is not None:
            try:
                return cast(Model, await self._update_message(row))
            except SessionNotFoundError:
                pass  # it is new, and then its session must be there: `create` tells
        return await self.create(row)

    async def get_or_create(self, row: Model) -> tuple[Model, bool]:
        """Return the row of the same name, and False; or store this one, and True."""
        if isinstance(row, MessageModel):
            wanted = ComparisonFilter.eq("message_id", row.to_record()["message_id"])
            known = [MessageModel.of(one) for one in await self._rows(row.key) if evaluate(wanted, one)]
            return (cast(Model, known[0]), False) if known else (await self.create(row), True)
        session = _session(row)
        try:
            return cast(Model, await self._create_session(session)), True
        except SessionExistsError:
            data = await self.engine.read(session.key, None)
            if data is None:
                raise
            return cast(Model, SessionModel.of(data, session.key.namespace, len(data.messages))), False

    async def delete(self, model: type[SessionModel] | type[MessageModel], *, filters: Filter | None) -> int:
        """
        Delete the rows that match, and with a session its messages; return how many. None deletes every row.

        A session that no longer matches when its turn comes is left, and so is one that a block has open.

        Raises:
            LeaseHeldError: A block has one of the sessions open; the others were deleted first.
        """
        if not _is_sessions(model):
            keys = await self._keys(_of_session(filters))
            return sum([await self._delete_messages(key, filters) for key in keys])
        count, refused = 0, None
        for key in await self._keys(filters):
            try:
                count += await self._delete_session(key, filters)
            except TimeoutError as error:
                refused = refused or error
        if refused is not None:
            refused.add_note(f"{count} other rows were deleted.")
            raise refused
        return count

    async def close(self) -> None:
        """Give back connections and descriptors; the engine may be used again."""
        await self.engine.close()

    # ---- one row at a time -------------------------------------------------------------------------------------

    async def _keys(self, filters: Filter | None) -> list[SessionKey]:
        infos = await self.engine.find(filters=filters, namespace=None)
        return [SessionKey(info.session_id, info.namespace) for info in infos]

    async def _rows(self, key: SessionKey) -> list[dict[str, Any]]:
        data = await self.engine.read(key, None)
        return [] if data is None else rows_of(data, key.namespace)

    async def _create_session(self, row: SessionModel) -> SessionModel:
        try:
            return await self._write_session(row, must_exist=False, revision=0)
        except RevisionConflictError as error:
            raise SessionExistsError(
                f"There is a session {row.session_id!r}: `update` or `upsert` it.", session_id=row.session_id
            ) from error

    async def _write_session(self, row: SessionModel, *, must_exist: bool, revision: int | None) -> SessionModel:
        for name in ("context", "metadata", "extra"):
            value = getattr(row, name)
            if not isinstance(value, dict):
                raise InvalidArgumentError(f"{name} is a dict, not {shown(value)}: pass one.")
            setattr(row, name, storable(value, name))

        def change(session: SessionData) -> None:
            if must_exist and not session.revision:
                raise _unknown(row.session_id)
            row.write_to(session)

        call = self.engine.update(row.key, change, now_s=time.time(), policy=KEEP_ALL, expected_revision=revision)
        data = (await settled(call)).result()
        return SessionModel.of(data, row.key.namespace, len(data.messages))

    async def _create_messages(self, key: SessionKey, rows: Sequence[MessageModel]) -> None:
        key_for(key.session_id)
        records = records_of([row.to_record() for row in rows], time.time())

        # One step, because a session deleted between asking for it and appending would be begun anew.
        def change(session: SessionData) -> None:
            if not session.revision:
                raise _unknown(key.session_id)
            extend(session, records)

        (await settled(self.engine.update(key, change, now_s=time.time(), policy=KEEP_ALL))).result()
        for row, record in zip(rows, records, strict=True):
            row.timestamp = record["timestamp"]

    async def _update_message(self, row: MessageModel) -> MessageModel:
        if row.message_id is None:
            raise InvalidArgumentError("The message has no message_id and cannot be told from others: create it anew.")
        record = records_of([row.to_record()], time.time())[0]

        def change(session: SessionData) -> None:
            for index, message in enumerate(session.messages):
                if message.message_id == row.message_id:
                    session.messages[index] = SessionMessage.from_dict(record)
                    return
            raise _unknown(row.session_id, f" with a message {row.message_id!r}")

        call = self.engine.update(row.key, change, now_s=time.time(), policy=KEEP_ALL)
        (await settled(call)).result()
        return row

    async def _delete_messages(self, key: SessionKey, filters: Filter | None) -> int:
        counts: list[int] = []

        def change(session: SessionData) -> bool:
            rows = rows_of(session, key.namespace)
            kept = [message for message, row in zip(session.messages, rows, strict=True) if not evaluate(filters, row)]
            counts.append(len(rows) - len(kept))
            session.messages = kept
            return bool(counts[-1])

        (await settled(self.engine.update(key, change, now_s=time.time(), policy=KEEP_ALL))).result()
        return counts[-1]

    async def _delete_session(self, key: SessionKey, filters: Filter | None) -> int:
        named = ComparisonFilter.eq("session_id", key.session_id)
        wanted = AndFilter([named, filters]) if filters else named
        async with Acquisition(self._lock, key, "delete", None, None, is_needed=False) as held:
            # It may have been written since it was listed, and then it is no old session any more.
            if not await self.engine.find(filters=wanted, limit=1, namespace=key.namespace):
                return 0
            return int((await settled(self.engine.delete(key, lease=held.lease))).result())


class SQLDatabaseEngine(DatabaseEngine):
    """Rows in a SQL database; `await engine.setup_models()` makes its tables, and nothing else does."""

    @classmethod
    def from_url(cls, url: str) -> SQLDatabaseEngine:
        """
        Return the engine of a database's URL, with or without a driver's name in it.

        Raises:
            InvalidArgumentError: Not the URL of a database. MissingExtraError: Its package is missing.
            TableNotFoundError: With the first call, while there are no tables.
        """
        if scheme_of(url) not in SQL_DIALECTS:
            raise InvalidArgumentError(f"{shown(url)} is no database's URL: pass one like sqlite:///sessions.db.")
        from .sql import AsyncSqlEngine

        return cls(AsyncSqlEngine(url, create=False))


class InMemoryDatabaseEngine(DatabaseEngine):
    """Rows in this process's memory, gone with it."""

    def __init__(self) -> None:
        super().__init__(engine_from_url("memory://"))


class JSONLDatabaseEngine(DatabaseEngine):
    """Rows in a directory, each session an append-only file of lines."""

    def __init__(self, storage_path: str | os.PathLike[str]) -> None:
        from ..engines.jsonl import JsonlEngine

        super().__init__(ThreadedEngine(JsonlEngine(_directory(storage_path))))


class JSONFilesDatabaseEngine(DatabaseEngine):
    """Rows in a directory, each session one JSON file, the default layout of this package."""

    def __init__(self, storage_path: str | os.PathLike[str]) -> None:
        from ..engines.json_files import JsonFilesEngine

        super().__init__(ThreadedEngine(JsonFilesEngine(_directory(storage_path))))


def _directory(storage_path: str | os.PathLike[str]) -> str:
    return directory_of(os.fspath(storage_path))


def _is_sessions(model: Any) -> bool:
    if model not in (SessionModel, MessageModel):
        raise InvalidArgumentError(f"model is SessionModel or MessageModel, not {shown(model)}: pass one of them.")
    return model is SessionModel


def _session(row: Any) -> SessionModel:
    if not isinstance(row, SessionModel):
        raise InvalidArgumentError(f"A row is a SessionModel or a MessageModel, not {shown(row)}: pass one of them.")
    arguments.text(row.user_id, "user_id", none=True)
    key_for(row.session_id)
    return row


def _unknown(session_id: str, what: str = "") -> SessionNotFoundError:
    return SessionNotFoundError(f"There is no session {session_id!r}{what}: create it first.", session_id=session_id)


def _of_session(filters: Filter | None) -> Filter | None:
    """Return what a filter on messages asks of their session, so that not every session is read."""
    parts = filters.filters if isinstance(filters, AndFilter) else [filters]
    names = ("session_id", "user_id", "namespace")
    asked = [part for part in parts if isinstance(part, ComparisonFilter) and part.field in names]
    return AndFilter(asked) if asked else None
