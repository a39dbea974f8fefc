"""One turn at a database: begin, work, commit; and what each failure of it means to the caller."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool

from ..disk import files, seam
from ..errors import (
    CorruptSessionError,
    LockTimeoutError,
    OutcomeUnknownError,
    SessionStoreError,
    StoreReadError,
    StoreWriteError,
)
from . import sql_direct, sql_tables
from .contract import Capabilities
from .sql_rows import DamagedRowError
from .sql_tables import Schema

T = TypeVar("T")
Work = Callable[[Connection], T]
TRIES = 6
_WAL_TRIES = 100
_making = Lock()

# SQLSTATE of PostgreSQL, number of MySQL and MariaDB.
_AGAIN = {"40001", "40P01", 1213, 1020}
_WAITED = {"55P03", 1205, 1204}
_NO_TABLE = {"42P01", 1146}
# Of a write that failed SQLite takes nothing; of any other failure at a commit nobody knows what reached the disk.
_NOT_TAKEN = "SQLITE_IOERR_WRITE"
_LONGEST_MS = 2**31 - 1  # 24 days; each of the databases takes as many milliseconds or more


class Unreachable(exc.SQLAlchemyError):
    """A server that could not be reached, told by a driver as an error of the system's."""


class Place(NamedTuple):
    """Where an engine writes, without the password, and how long it waits there."""

    shown: str
    lock_timeout_s: float


def place_of(url: URL, lock_timeout_s: float) -> Place:
    """Return the place of a URL."""
    plain = url.set(drivername=url.get_backend_name(), query={})
    return Place(plain.render_as_string(hide_password=True), lock_timeout_s)


def options_of(url: URL, pool_size: int, lock_timeout_s: float) -> dict[str, Any]:
    """Return how an engine of a URL is made, but for the kind of its pool."""
    if not _is_memory(url):
        # No overflow: what SQLAlchemy opens beyond the pool it closes after one turn, and under load most are beyond.
        return {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": max(lock_timeout_s, 0.1)}
    # A database in memory is its connection's; one connection, lent to one caller at a time, is one database.
    return {"pool_size": 1, "max_overflow": 0, "pool_timeout": max(lock_timeout_s, 0.1),
            "connect_args": {"check_same_thread": False}}


def pool_class_of(*, awaited: bool) -> Any:
    """Return the pool of an engine: the same for every database, where SQLAlchemy chooses others for SQLite."""
    return AsyncAdaptedQueuePool if awaited else QueuePool


def _is_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def make_file(url: URL) -> None:
    """
    Make a SQLite file and its directory, for the owner alone, where they are missing; its logs follow its mode.

    Raises:
        StoreWriteError: The directory cannot be made.
    """
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or _is_memory(url) or name.startswith("file:"):
        return
    if "/" in name:
        files.make_directory(name.rpartition("/")[0] or "/")
    # Closing a descriptor gives up every lock this process has on the file, so nobody opens it in between, and one
    # that is there is not opened at all.
    with _making:
        try:
            seam.close(seam.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
        except OSError:
            return  # there already; or SQLite tells why it cannot be opened


def listen(engine: Engine, lock_timeout_s: float) -> None:
    """Prepare each new connection of an engine, and begin transactions as SQLite needs it."""
    dialect = engine.dialect.name

    def prepared(connection: Any, _record: Any) -> None:
        try:
            _prepare(connection, dialect, lock_timeout_s)
        except BaseException:
            connection.close()  # the pool has not heard of it yet, so nobody else would
            raise

    event.listen(engine, "connect", prepared)
    event.listen(engine, "begin", _begin)


def _prepare(connection: Any, dialect: str, lock_timeout_s: float) -> None:
    if dialect == "sqlite":
        connection.isolation_level = None  # or the driver begins transactions by itself, and too late
        getattr(connection, "driver_connection", connection).text_factory = _text_or_bytes
    cursor = connection.cursor()
    try:
        if dialect == "sqlite":
            _prepare_sqlite(cursor, lock_timeout_s)
        elif dialect == "postgresql":
            cursor.execute(f"SET lock_timeout = {max(1, _milliseconds(lock_timeout_s))}")
            connection.commit()  # or the setting goes with the first transaction that is rolled back
        else:
            whole_s = max(1, _milliseconds(lock_timeout_s) // 1000)
            cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {whole_s}")
            # Its default locks the gap where a session is not yet, and two that are new stop each other.
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            # Its clock reads local time, where an hour comes twice when summer ends: leases would last or end.
            cursor.execute("SET SESSION time_zone = '+00:00'")
    finally:
        cursor.close()


def _text_or_bytes(raw: bytes) -> str | bytes:
    # Text that is damaged stays bytes, over which its row's decoder stumbles; the driver would hide all other rows.
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _milliseconds(time_s: float) -> int:
    return min(round(time_s * 1000), _LONGEST_MS)


def _begin(conn: Connection) -> None:
    writes = conn.get_execution_options().get("writes")
    if conn.dialect.name == "sqlite":
        # A write takes its turn at once: one that read first is refused where another wrote in between.
        sql_direct.begin(conn, "BEGIN IMMEDIATE" if writes else "BEGIN")
    elif conn.dialect.name == "mysql" and not writes:
        conn.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # several tables, one state


def _prepare_sqlite(cursor: Any, lock_timeout_s: float) -> None:
    cursor.execute(f"PRAGMA busy_timeout = {_milliseconds(lock_timeout_s)}")
    for left in range(_WAL_TRIES, -1, -1):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.fetchall()
            break
        except Exception as error:
            if "locked" not in str(error) or not left:
                raise
            # Two that open a new file at once: SQLite refuses one without waiting, but a turn of its own does wait.
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("COMMIT")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")


def take(
    conn: Connection, work: Work[T], *, writes: bool, place: Place, keeps: Callable[[T], bool] | None = None
) -> T:
    """
    Run work in one transaction, committed if it writes, and rolled back with whatever it raises.

    Args:
        keeps: tells from the result whether there is something to commit; None commits.
    Raises:
        OutcomeUnknownError: The connection broke while committing. CorruptSessionError: A row of it is damaged.
    """
    try:
        return _taken(conn, work, writes=writes, place=place, keeps=keeps)
    except DamagedRowError as error:
        raise CorruptSessionError(
            f"{place.shown}: {error}. Nothing was changed: restore the row from a backup, or delete the session.",
            path=place.shown,
        ) from error


def _taken(
    conn: Connection, work: Work[T], *, writes: bool, place: Place, keeps: Callable[[T], bool] | None
) -> T:
    conn.execution_options(writes=writes)
    if conn.dialect.name == "postgresql" and (not writes or "isolation_level" in conn.get_execution_options()):
        conn.execution_options(isolation_level="READ COMMITTED" if writes else "REPEATABLE READ")
    with conn.begin() as transaction:
        result = work(conn)
        if not writes or (keeps is not None and not keeps(result)):
            transaction.rollback()
            return result
        try:
            transaction.commit()
        except exc.DBAPIError as error:
            name = getattr(error.orig, "sqlite_errorname", "")
            if error.connection_invalidated or (name.startswith("SQLITE_IOERR") and name != _NOT_TAKEN):
                raise OutcomeUnknownError(
                    f"{place.shown}: the commit was not answered ({_text_of(error)}); the change may be stored. "
                    f"Read the session again, or retry with the same message_id.", path=place.shown,
                ) from error
            raise
        return result


def prepare(conn: Connection, place: Place, *, make: bool) -> Schema:
    """Return the tables' schema; make them first where they are missing. For the first turn of an engine."""
    found = take(conn, lambda conn: sql_tables.check(conn, place.shown), writes=False, place=place)
    if found is not None:
        return found
    if not make:
        raise sql_tables.absent("sessions", place.shown)
    return make_tables(conn, place)


def make_tables(conn: Connection, place: Place) -> Schema:
    """Make the tables that are missing; see `sql_tables.create`."""
    def work(conn: Connection) -> Schema:
        return sql_tables.create(conn, place.shown, place.lock_timeout_s)

    return take(conn, work, writes=True, place=place)


def translated(error: Exception, place: Place, *, writes: bool, tries_left: int) -> SessionStoreError | None:
    """
    Return what a failure of SQLAlchemy means; None where the turn is to be taken again, because nothing was stored.

    Shape: a deadlock, a lost race, and a connection that broke before the commit were rolled back by the database.
    """
    if isinstance(error, exc.TimeoutError):
        return _waited(place, "a connection of the pool", error)
    code, text = _code_of(error), _text_of(error)
    if code in _NO_TABLE or "no such table" in text:
        return sql_tables.absent("sessions", place.shown)
    if code in _WAITED or "database is locked" in text or "database table is locked" in text:
        return _waited(place, "its turn", error)
    broken = isinstance(error, exc.DBAPIError) and error.connection_invalidated
    lost_race = isinstance(error, exc.IntegrityError) and writes
    if tries_left and (code in _AGAIN or broken or lost_race):
        return None
    if code in _AGAIN:
        return _waited(place, f"its turn, {TRIES} times", error)
    if writes:
        message = f"{place.shown}: nothing was stored ({text}). The session is as it was."
        return StoreWriteError(message, path=place.shown, errno=_errno_of(error))
    message = f"{place.shown} could not be read ({text}). Nothing was changed."
    return StoreReadError(message, path=place.shown, errno=_errno_of(error))


def _waited(place: Place, what: str, error: Exception) -> LockTimeoutError:
    return LockTimeoutError(
        f"{place.shown}: waited {place.lock_timeout_s:g} s for {what} ({_text_of(error)}). Nothing was "
        f"written: try again, or pass a longer lock_timeout.",
        path=place.shown, waited_s=place.lock_timeout_s, holder=(),
    )


def _text_of(error: Exception) -> str:
    """Return what a database or driver said, in one line."""
    cause = getattr(error, "orig", error)
    said = [part for part in getattr(cause, "args", ()) if isinstance(part, str)]
    return " ".join((said[-1] if said else str(cause)).replace("\\n", " ").replace("\\t", " ").split())


def _errno_of(error: Exception) -> int | None:
    cause = getattr(error, "orig", error)
    if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL":
        return errno.ENOSPC  # SQLite tells no number of its other causes
    number = getattr(cause, "errno", None)
    return number if isinstance(number, int) else None


def _code_of(error: Exception) -> Any:
    cause = getattr(error, "orig", error)
    number = cause.args[0] if getattr(cause, "args", ()) else None
    return number if isinstance(number, int) else getattr(cause, "sqlstate", None)  # MySQL's states tell too little


def capabilities_of(url: URL) -> Capabilities:
    """Return what an engine of a URL promises."""
    dialect, in_memory = url.get_backend_name(), _is_memory(url)
    # MariaDB's full-text index knows whole words only, and a search is for any part of one.
    return Capabilities(
        f"sql+{dialect}", durable=not in_memory, shared=not in_memory, constant_append=True,
        full_text=dialect != "mysql",
    )
