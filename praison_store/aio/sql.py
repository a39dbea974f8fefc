"""Sessions in a database, awaited: the drivers are asyncio's, and what they run is `engines.sql_operations`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from functools import partial
from threading import Lock
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from ..engines import sql_urls
from ..engines.contract import Change
from ..errors import LockTimeoutError, SessionStoreError, StoreWriteError
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy

try:
    from sqlalchemy.engine import Connection
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
except ModuleNotFoundError as missing_package:
    raise sql_urls.missing(missing_package) from missing_package

from ..engines import sql_changes, sql_filters, sql_leases, sql_operations, sql_search, sql_turns
from ..engines.sql_tables import Schema
from ..engines.sql_turns import Work
from .cancellation import settled

logger = logging.getLogger("praison_store")
T = TypeVar("T")


class _Pool(NamedTuple):
    """The connections of one event loop, and the generator the loop closes when it ends."""

    engine: AsyncEngine
    keeper: AsyncGenerator[None, None]


class AsyncSqlEngine:
    """
    Sessions in the tables of a database, awaited; see `SqlEngine` for the arguments.

    Promise: each event loop has connections of its own, closed by `close`, or with the loop where it is ended as
    `asyncio.run` ends it. A cancelled call is done, or undone, before its cancellation goes on.
    """

    def __init__(
        self, url: str, *, lock_timeout_s: float = 5.0, pool_size: int = 15, compress: bool = False, create: bool = True
    ) -> None:
        self._url = sql_urls.database_url(url, awaited=True)
        self._place = sql_turns.place_of(self._url, lock_timeout_s)
        self._compress, self._create = compress, create
        self._options = sql_turns.options_of(self._url, pool_size, lock_timeout_s)
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool] = WeakKeyDictionary()
        self._mutex = Lock()
        self._schema: Schema | None = None
        self.capabilities = sql_turns.capabilities_of(self._url)
        self._new_engine()  # makes no connection, but tells of a driver that is missing
        sql_turns.make_file(self._url)

    # ---- reading ---------------------------------------------------------------------------------------------

    async def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Await form of `Engine.history`; see there."""
        return await self._read(partial(sql_operations.history, key=key, newest=newest))

    async def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Await form of `Engine.read`; see there."""
        return await self._read(partial(sql_operations.read, key=key, newest=newest))

    async def exists(self, key: SessionKey) -> bool:
        """Await form of `Engine.exists`; see there."""
        return await self._read(partial(sql_operations.exists, key=key))

    async def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Await form of `Engine.whole`; see there."""
        return await self._read(partial(sql_operations.whole, key=key))

    # ---- writing ---------------------------------------------------------------------------------------------

    async def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Await form of `Engine.append`; see there."""
        return await self._write(partial(
            sql_operations.append, key=key, messages=messages, now_s=now_s, policy=policy, lease=lease,
            compress=self._compress, least_revision=least_revision,
        ))

    async def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Await form of `Engine.update`; `change` is a plain function, called in the event loop. See there."""
        work = partial(
            sql_changes.update, key=key, change=change, now_s=now_s, policy=policy,
            expected_revision=expected_revision, keep_archive=keep_archive, lease=lease, compress=self._compress,
        )
        session, _ = await self._run(work, writes=True, keeps=sql_changes.is_changed)
        return session

    async def delete(
        self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None
    ) -> bool:
        """Await form of `Engine.delete`; see there."""
        return await self._write(partial(
            sql_operations.delete, key=key, lease=lease, expected_revision=expected_revision))

    # ---- all sessions ----------------------------------------------------------------------------------------

    async def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> list[SessionInfo]:
        """Await form of `Engine.find`, as a list; see there."""
        return await self._read(partial(
            sql_filters.find, filters=filters, order_by=order_by, limit=limit, offset=offset, namespace=namespace
        ))

    async def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Await form of `Engine.count`; see there."""
        return await self._read(partial(sql_filters.count, filters=filters, namespace=namespace))

    async def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> list[tuple[SessionData, list[Record]]]:
        """Await form of `Engine.search`, as a list of one moment; see there."""
        search = (await self._ready(writes=False)).search
        if await self._read(partial(sql_search.wants_indexing, search=search)):
            try:
                await self._write(sql_search.index_more)
            except (StoreWriteError, LockTimeoutError) as error:
                logger.warning("messages were searched without an index: %s", error)
        return await self._read(partial(sql_search.found, terms=terms, namespace=namespace, search=search))

    # ---- leases ----------------------------------------------------------------------------------------------

    async def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Await form of `Engine.claim`; see there."""
        is_sqlite = self._url.get_backend_name() == "sqlite"
        if is_sqlite and await self._read(partial(sql_leases.is_held, key=key, owner=owner)):
            return None
        return await self._write(partial(sql_leases.claim, key=key, owner=owner, ttl_s=ttl_s))

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Await form of `Engine.renew`; see there."""
        return await self._write(partial(sql_leases.renew, lease=lease, ttl_s=ttl_s))

    async def release(self, lease: Lease) -> bool:
        """Await form of `Engine.release`; see there."""
        return await self._write(partial(sql_leases.release, lease=lease))

    # ---- the engine itself -----------------------------------------------------------------------------------

    async def setup_models(self) -> None:
        """Await form of `SqlEngine.setup_models`; see there."""
        self._schema = await self._attempts(lambda conn: sql_turns.make_tables(conn, self._place), writes=True)

    async def close(self) -> None:
        """Close the connections of the running event loop; the engine may be used again."""
        with self._mutex:
            pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await _finished(pool.keeper.aclose())

    def _new_engine(self) -> AsyncEngine:
        try:
            engine = create_async_engine(
                self._url, poolclass=sql_turns.pool_class_of(awaited=True), **self._options
            )
        except ModuleNotFoundError as error:
            raise sql_urls.missing(error) from error
        sql_turns.listen(engine.sync_engine, self._place.lock_timeout_s)
        return engine

    async def _own_engine(self) -> AsyncEngine:
        """Return the engine of the running loop; a connection of one loop cannot be awaited in another."""
        loop = asyncio.get_running_loop()
        with self._mutex:
            pool = self._pools.get(loop)
            if pool is None:
                engine = self._new_engine()
                pool = self._pools[loop] = _Pool(engine, _kept(engine))
                is_new = True
            else:
                is_new = False
        if is_new:
            if not self.capabilities.durable:
                self._schema = None  # a database in memory is its loop's own
            await anext(pool.keeper)  # from now on the loop closes it at its end
        return pool.engine

    async def _ready(self, *, writes: bool) -> Schema:
        """Return the tables' schema, with the tables there; `writes` says what is told of a failure."""
        await self._own_engine()  # first, because in a new loop a database in memory has no tables yet
        if self._schema is None:
            self._schema = await self._attempts(
                lambda conn: sql_turns.prepare(conn, self._place, make=self._create), writes=writes)
        return self._schema

    async def _read(self, work: Work[T]) -> T:
        return await self._run(work, writes=False)

    async def _write(self, work: Work[T]) -> T:
        return await self._run(work, writes=True)

    async def _run(self, work: Work[T], *, writes: bool, keeps: Callable[[T], bool] | None = None) -> T:
        """Take one turn, and again where the database undid it."""
        def turn(conn: Connection) -> T:
            return sql_turns.take(conn, work, writes=writes, place=self._place, keeps=keeps)

        await self._ready(writes=writes)
        return await self._attempts(turn, writes=writes)

    async def _attempts(self, turn: Work[T], *, writes: bool) -> T:
        engine = await self._own_engine()
        for tries_left in range(sql_turns.TRIES - 1, -1, -1):
            try:
                return await _finished(_taken(engine, turn))
            except SQLAlchemyError as error:
                told = sql_turns.translated(error, self._place, writes=writes, tries_left=tries_left)
                if told is not None:
                    raise told from error
        raise SessionStoreError("unreachable: the last try tells what failed")


async def _taken(engine: AsyncEngine, turn: Work[T]) -> T:
    connecting = engine.connect()
    try:
        conn = await connecting.start()
    except OSError as error:
        raise sql_turns.Unreachable(str(error)) from error
    try:
        return await conn.run_sync(turn)
    finally:
        await conn.close()


async def _kept(engine: AsyncEngine) -> AsyncGenerator[None, None]:
    """Close an engine's connections when the loop that started this generator ends it."""
    try:
        yield
    finally:
        await engine.dispose()


async def _finished(work: Coroutine[Any, Any, T]) -> T:
    """
    Await work to its end, whoever is cancelled meanwhile.

    A transaction stopped while it commits is neither done nor undone, and the database goes on with it behind us.
    """
    return (await settled(work)).result()
