"""Sessions in a database: SQLite, PostgreSQL, MySQL or MariaDB. The calls; what they do is in `sql_operations`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from threading import Lock
from typing import TypeVar

from ..errors import LockTimeoutError, SessionStoreError, StoreWriteError
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy
from . import sql_urls
from .contract import Change

try:
    import sqlalchemy as sa
    from sqlalchemy.engine import Connection, Engine
    from sqlalchemy.pool import Pool
except ModuleNotFoundError as missing_package:
    raise sql_urls.missing(missing_package) from missing_package

from . import sql_changes, sql_filters, sql_leases, sql_operations, sql_search, sql_turns
from .forks import renew_in_child
from .sql_tables import Schema
from .sql_turns import Work

logger = logging.getLogger("praison_store")
T = TypeVar("T")


class SqlEngine:
    """
    Sessions in the tables of a database.

    Args:
        url: see `sql_urls.database_url`. lock_timeout_s: how long a write waits for its turn, and for a connection.
        pool_size: how many connections there are at most; each is opened when it is wanted, and kept.
        compress: keep contents over 1 KiB compressed.
        create: make missing tables with the first call; False leaves that to `setup_models`.
    Promise: one transaction a call. Usable from several threads, and in a forked child.
    Raises:
        InvalidArgumentError: No URL of a database. MissingExtraError: SQLAlchemy or the driver is missing.
    """

    def __init__(
        self, url: str, *, lock_timeout_s: float = 5.0, pool_size: int = 15, compress: bool = False, create: bool = True
    ) -> None:
        parsed = sql_urls.database_url(url, awaited=False)
        self._place = sql_turns.place_of(parsed, lock_timeout_s)
        self._compress, self._create = compress, create
        try:
            self._engine: Engine = sa.create_engine(
                parsed, poolclass=sql_turns.pool_class_of(awaited=False),
                **sql_turns.options_of(parsed, pool_size, lock_timeout_s),
            )
        except ModuleNotFoundError as error:
            raise sql_urls.missing(error) from error
        sql_turns.make_file(parsed)  # behind what may be refused, so that nothing is left of that
        sql_turns.listen(self._engine, lock_timeout_s)
        self._schema: Schema | None = None
        self._mutex = Lock()
        self._process, self._inherited = os.getpid(), list[Pool]()
        self.capabilities = sql_turns.capabilities_of(parsed)
        renew_in_child(self)

    # ---- reading ---------------------------------------------------------------------------------------------

    def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Return the newest messages as a model API takes them; see `Engine.history`."""
        return self._read(partial(sql_operations.history, key=key, newest=newest))

    def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Return a session with its newest messages; see `Engine.read`."""
        return self._read(partial(sql_operations.read, key=key, newest=newest))

    def exists(self, key: SessionKey) -> bool:
        """Tell whether a session is there; see `Engine.exists`."""
        return self._read(partial(sql_operations.exists, key=key))

    def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Return a session with all its messages, and its archive; see `Engine.whole`."""
        return self._read(partial(sql_operations.whole, key=key))

    # ---- writing ---------------------------------------------------------------------------------------------

    def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Store messages behind those that are there; see `Engine.append`."""
        return self._write(partial(
            sql_operations.append, key=key, messages=messages, now_s=now_s, policy=policy, lease=lease,
            compress=self._compress, least_revision=least_revision,
        ))

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Read, change and write a session; see `Engine.update`. `change` runs again where a deadlock undid it."""
        work = partial(
            sql_changes.update, key=key, change=change, now_s=now_s, policy=policy,
            expected_revision=expected_revision, keep_archive=keep_archive, lease=lease, compress=self._compress,
        )
        session, _ = self._run(work, writes=True, keeps=sql_changes.is_changed)
        return session

    def delete(self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None) -> bool:
        """Forget a session; see `Engine.delete`."""
        return self._write(partial(
            sql_operations.delete, key=key, lease=lease, expected_revision=expected_revision))

    # ---- all sessions ----------------------------------------------------------------------------------------

    def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> Iterator[SessionInfo]:
        """Yield sessions; see `Engine.find`."""
        return iter(self._read(partial(
            sql_filters.find, filters=filters, order_by=order_by, limit=limit, offset=offset, namespace=namespace
        )))

    def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Return how many sessions match; see `Engine.count`."""
        return self._read(partial(sql_filters.count, filters=filters, namespace=namespace))

    def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> Iterator[tuple[SessionData, list[Record]]]:
        """Yield sessions that hold one of the terms; see `Engine.search`. Each is read when it is asked for."""
        search = self._ready(writes=False).search
        if self._read(partial(sql_search.wants_indexing, search=search)):
            try:
                self._write(sql_search.index_more)
            except (StoreWriteError, LockTimeoutError) as error:
                logger.warning("messages were searched without an index: %s", error)  # it finds the same, only later
        for identity in self._read(partial(sql_search.ids, terms=terms, namespace=namespace, search=search)):
            found = self._read(partial(sql_search.whole_of, identity=identity))
            if found is not None:
                yield found

    # ---- leases ----------------------------------------------------------------------------------------------

    def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Take the lease on a session; see `Engine.claim`."""
        # SQLite has one turn for all writers, and many who wait for a lease would take it from whoever holds that.
        if self._engine.dialect.name == "sqlite" and self._read(partial(sql_leases.is_held, key=key, owner=owner)):
            return None
        return self._write(partial(sql_leases.claim, key=key, owner=owner, ttl_s=ttl_s))

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease longer; see `Engine.renew`."""
        return self._write(partial(sql_leases.renew, lease=lease, ttl_s=ttl_s))

    def release(self, lease: Lease) -> bool:
        """Give a lease back; see `Engine.release`."""
        return self._write(partial(sql_leases.release, lease=lease))

    # ---- the engine itself -----------------------------------------------------------------------------------

    def setup_models(self) -> None:
        """Make the tables that are missing; safe while other processes do the same."""
        self._schema = self._attempts(lambda conn: sql_turns.make_tables(conn, self._place), writes=True)

    def close(self) -> None:
        """Close the connections; the engine may be used again."""
        self._own_engine().dispose()
        self._schema = None  # a database in memory is gone by now

    def _own_engine(self) -> Engine:
        if self._process != os.getpid():
            with self._mutex:
                if self._process != os.getpid():  # or another thread did it, and its connections are in use
                    # A forked child has copies of its parent's connections; closing one would close the parent's.
                    self._inherited.append(self._engine.pool)
                    self._engine.dispose(close=False)
                    if not self.capabilities.durable:
                        self._schema = None  # a database in memory stayed with the parent's connection
                    self._process = os.getpid()
        return self._engine

    def renew_after_fork(self) -> None:
        """Take a new mutex in a forked child: another thread of the parent may have held the old one."""
        self._mutex = Lock()

    def _ready(self, *, writes: bool) -> Schema:
        """Return the tables' schema, with the tables there; `writes` says what is told of a failure."""
        self._own_engine()  # forgets the schema where it stayed with the parent
        if self._schema is None:
            self._schema = self._attempts(
                lambda conn: sql_turns.prepare(conn, self._place, make=self._create), writes=writes)
        return self._schema

    def _read(self, work: Work[T]) -> T:
        return self._run(work, writes=False)

    def _write(self, work: Work[T]) -> T:
        return self._run(work, writes=True)

    def _run(self, work: Work[T], *, writes: bool, keeps: Callable[[T], bool] | None = None) -> T:
        """Take one turn, and again where the database undid it."""
        self._ready(writes=writes)
        def turn(conn: Connection) -> T:
            return sql_turns.take(conn, work, writes=writes, place=self._place, keeps=keeps)

        return self._attempts(turn, writes=writes)

    def _attempts(self, turn: Work[T], *, writes: bool) -> T:
        for tries_left in range(sql_turns.TRIES - 1, -1, -1):
            try:
                with self._own_engine().connect() as conn:
                    return turn(conn)
            except sa.exc.SQLAlchemyError as error:
                told = sql_turns.translated(error, self._place, writes=writes, tries_left=tries_left)
                if told is not None:
                    raise told from error
        raise SessionStoreError("unreachable: the last try tells what failed")
