"""What an engine does with one session, each call a plain function of a connection in a transaction."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from ..errors import LockTimeoutError
from ..model.exchanges import leading_system
from ..model.lease import Lease
from ..model.message import Record, llm_message
from ..model.session import SessionData, iso_utc
from ..model.session_id import SessionKey
from ..retention import Policy
from . import sql_direct, sql_leases, sql_window
from .refusals import check_revision
from .sql_rows import (
    check_counts,
    encoder,
    id_of,
    message_key,
    message_row,
    records_of,
    session_of,
    session_row,
    text_in,
)
from .sql_tables import messages as table
from .sql_tables import sessions

logger = logging.getLogger("praison_store")
_CLOCKS = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
    "mysql": "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)",
    # Its clock counts milliseconds and its writers take turns, so that two in one are told apart by counting on.
    "sqlite": "max(CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), "
              "(SELECT coalesce(max(written), 0) + 1 FROM sessions))",
}
_TRIES = 20
_BATCH = 500  # SQLite takes 32,766 values in one statement, PostgreSQL 65,535
# Built once, because building a statement costs more than running it.
_ROW = sa.select(sessions).where(sessions.c.id == sa.bindparam("identity"))
_ROW_LOCKED = _ROW.with_for_update()
_ADDED = sa.insert(table)
_SAVED = {
    dialect: sa.update(sessions).where(sessions.c.id == sa.bindparam("identity")).values(
        written=sa.literal_column(clock, sa.BigInteger))
    for dialect, clock in _CLOCKS.items()
}


# ---- reading -----------------------------------------------------------------------------------------------------


def history(conn: Connection, key: SessionKey, newest: int | None) -> list[Record]:
    """Return the newest messages as a model API takes them; see `Engine.history`."""
    row = row_of(conn, id_of(key))
    if row is None:
        return []
    shown = sql_window.plain(conn, row, newest)
    if shown is not None:
        return shown
    return [llm_message(record) for record in records_of(sql_window.newest_rows(conn, row, newest).rows)]


def read(conn: Connection, key: SessionKey, newest: int | None) -> SessionData | None:
    """Return a session with its newest messages; see `Engine.read`."""
    row = row_of(conn, id_of(key))
    if row is None:
        return None
    found = sql_window.newest_rows(conn, row, newest)
    session = session_of(row, records_of(found.rows))
    if found.start != found.leading:
        session.leading_messages = found.leading
        if session.last_compaction is not None:
            session.last_compaction = session.last_compaction.after_cut(found.leading, found.start)
    return session


def exists(conn: Connection, key: SessionKey) -> bool:
    """Tell whether a session is there."""
    return conn.execute(sa.select(sessions.c.id).where(sessions.c.id == id_of(key))).first() is not None


def whole(conn: Connection, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
    """Return a session with all its messages, and its archive; see `Engine.whole`."""
    return whole_of(conn, id_of(key))


def whole_of(conn: Connection, identity: str) -> tuple[SessionData, list[Record]] | None:
    """Return the session of a primary key as `whole` does; None where it is gone."""
    row = row_of(conn, identity)
    if row is None:
        return None
    session = session_of(row, records_of(sql_window.rows(conn, row)))
    past = sa.select(*sql_window.COLUMNS).where(table.c.session_id == identity, table.c.archived == 1)
    return session, records_of(list(conn.execute(past.order_by(table.c.seq))))


# ---- writing -----------------------------------------------------------------------------------------------------


def append(
    conn: Connection, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy,
    lease: Lease | None, compress: bool, least_revision: int,
) -> int:
    """
    Store messages behind those that are there; the hot path. See `Engine.append`.

    Cost: four statements, whatever the length of the session; those of the policy where it cuts.
    """
    encode = encoder(extended=False)
    now = iso_utc(now_s)
    session = locked(conn, key, now)
    sql_leases.check(conn, lease)
    check_revision(key, session.revision, least=least_revision)
    added = _not_stored(conn, session.id, messages) if any("message_id" in one for one in messages) else messages
    if messages and not added:
        return int(session.revision)
    insert(conn, session, [message_row(record, encode, compress=compress) for record in added])
    lead = leading_system(added)
    if session.leading_system == session.message_count:
        session.leading_system += lead
    session.message_count += len(added)
    changed = {
        "revision": session.revision + 1, "updated_at": now, "message_count": session.message_count,
        "size_bytes": session.size_bytes, "last_seq": session.last_seq, "leading_system": session.leading_system,
        **sql_window.after_cut(conn, session, policy),
    }
    save(conn, session.id, changed)
    return int(changed["revision"])


def delete(
    conn: Connection, key: SessionKey, *, lease: Lease | None, expected_revision: int | None = None
) -> bool:
    """Forget a session; see `Engine.delete`. Its lease stays, so that the generation goes on counting."""
    identity = id_of(key)
    row = row_of(conn, identity, for_update=True)
    sql_leases.check(conn, lease)  # of a session that is gone too; behind the row's lock, as every write locks them
    if row is None:
        return False
    check_revision(key, row.revision, expected=expected_revision)
    conn.execute(sa.delete(table).where(table.c.session_id == identity))
    conn.execute(sa.delete(sessions).where(sessions.c.id == identity))
    return True


# ---- the steps, for `sql_changes` too ----------------------------------------------------------------------------


def row_of(conn: Connection, identity: str, *, for_update: bool = False) -> SimpleNamespace | None:
    """Return the row of a session; None where there is none. Raises DamagedRowError where a count is none."""
    row = sql_direct.first(conn, _ROW_LOCKED if for_update else _ROW, {"identity": identity})
    if row is not None:
        check_counts(row)
    return row


def locked(conn: Connection, key: SessionKey, now: str) -> SimpleNamespace:
    """
    Return the row of a session, locked until the commit; one that is unknown is made first, with revision 0.

    Raises:
        LockTimeoutError: Others made and deleted it again and again.
    """
    identity = id_of(key)
    for _ in range(_TRIES):
        row = row_of(conn, identity, for_update=True)
        if row is not None:
            return row
        fresh = SessionData(key.session_id, created_at=now, updated_at=now)
        values = {
            "id": identity, "namespace": text_in(key.namespace), "name": text_in(key.session_id), "revision": 0,
            "message_count": 0, "leading_system": 0, "size_bytes": 0, "last_seq": 0, "first_seq": 1, "body_seq": 1,
            "head_messages": 0, "written": 0, **session_row(fresh, encoder(extended=False)),
        }
        # Another may make it at the same moment; then this waits for the other's commit, and finds the other's row.
        # On PostgreSQL it locks nothing then, and a third may delete that row before it is found.
        conn.execute(_insert_or_ignore(conn).values(values))
    row = row_of(conn, identity, for_update=True)
    if row is not None:
        return row
    shown = conn.engine.url.render_as_string(hide_password=True)
    raise LockTimeoutError(
        f"{shown}: {key.session_id!r} was made and deleted by others {_TRIES} times, each time first. Nothing was "
        f"written: try again.", path=shown, waited_s=0.0, holder=(),
    )


def _insert_or_ignore(conn: Connection) -> Any:
    if conn.dialect.name == "mysql":
        # IGNORE would turn errors of other columns into warnings; this one changes nothing and hides nothing.
        return mysql.insert(sessions).on_duplicate_key_update(id=sessions.c.id)
    kind = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    return kind(sessions).on_conflict_do_nothing(index_elements=["id"])


def insert(conn: Connection, session: SimpleNamespace, rows: list[dict[str, Any]]) -> None:
    """Insert rows with the next numbers; the session's `last_seq` and `size_bytes` follow."""
    for row in rows:
        session.last_seq += 1
        session.size_bytes += row["size_bytes"]
        row["session_id"], row["seq"] = session.id, session.last_seq
    if rows:
        sql_direct.write(conn, _ADDED, rows)


def save(conn: Connection, identity: str, changed: Mapping[str, Any]) -> None:
    """Write columns of a session's row, as its newest write of all."""
    sql_direct.write(conn, _SAVED[conn.dialect.name], [{"identity": identity, **changed}])


def _not_stored(conn: Connection, identity: str, messages: Sequence[Record]) -> list[Record]:
    """Return the messages whose id is not stored, in the window or the archive; those without one all are new."""
    ids = {message["message_id"]: message_key(message["message_id"]) for message in messages
           if message.get("message_id") is not None}
    keys, stored = list(ids.values()), dict[Any, Record]()
    for start in range(0, len(keys), _BATCH):
        chosen = sa.select(*sql_window.COLUMNS).where(table.c.session_id == identity,
                                                      table.c.message_key.in_(keys[start:start + _BATCH]))
        stored.update((record["message_id"], record) for record in records_of(list(conn.execute(chosen))))
    kept = []
    for message in messages:
        message_id = message.get("message_id")
        if message_id in stored:
            if llm_message(stored[message_id]) != llm_message(message):
                logger.warning("message_id %r is taken by another message: not stored", message_id)
            continue
        if message_id is not None:
            stored[message_id] = message
        kept.append(message)
    return kept
