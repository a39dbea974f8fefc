"""Leases in a table: claim, renew and release are one conditional statement each, by the database's own clock."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from ..model import arguments
from ..model import lease as model
from ..model.lease import Lease, LeaseRow
from ..model.session_id import SessionKey
from .sql_rows import id_of, optional_out, text_in
from .sql_tables import Number
from .sql_tables import leases as table

_CLOCKS = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
    "mysql": "(UNIX_TIMESTAMP(NOW(6)) + 0E0)",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}


def _now(conn: Connection) -> sa.ColumnElement[float]:
    return sa.literal_column(_CLOCKS[conn.dialect.name], Number)


def is_held(conn: Connection, key: SessionKey, owner: str) -> bool:
    """Tell whether another holds the lease now, so that a claim would find it taken."""
    model.claimed(LeaseRow(), owner, 0.0, 0.0)  # for its refusals
    free = _is_free(_now(conn), sa.literal(text_in(owner), sa.Text))
    return conn.execute(sa.select(table.c.id).where(table.c.id == id_of(key), sa.not_(free))).first() is not None


def _is_free(now: sa.ColumnElement[float], mine: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    # As `LeaseRow.is_held`: one that ends too late was given before the database's clock was set back.
    is_over = sa.or_(table.c.expires_at <= now, table.c.expires_at > now + table.c.ttl + model.CLOCK_SLACK_S)
    return sa.or_(table.c.owner.is_(None), is_over, table.c.owner == mine)


def claim(conn: Connection, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
    """Take the lease on a session; see `Engine.claim`."""
    model.claimed(LeaseRow(), owner, ttl_s, 0.0)  # for its refusals; the database decides
    now, owner_in, identity = _now(conn), text_in(owner), id_of(key)
    ttl = sa.literal(float(ttl_s), Number)
    until = now + ttl
    fresh = {"id": identity, "namespace": text_in(key.namespace), "name": text_in(key.session_id), "owner": owner_in,
             "generation": 1, "expires_at": until, "ttl": ttl}
    mine = sa.literal(owner_in, sa.Text)
    is_free = _is_free(now, mine)
    is_repeat = sa.and_(table.c.owner.is_not(None), table.c.owner == mine, table.c.expires_at > now)
    generation = table.c.generation + sa.case((is_repeat, 0), else_=1)
    statement: Any
    if conn.dialect.name == "mysql":
        # Assigned from left to right, each one reading what those before it left: whose it is decides the time.
        statement = mysql.insert(table).values(fresh).on_duplicate_key_update([
            ("generation", sa.case((is_free, generation), else_=table.c.generation)),
            ("owner", sa.case((is_free, mine), else_=table.c.owner)),
            ("expires_at", sa.case((table.c.owner == mine, until), else_=table.c.expires_at)),
            ("ttl", sa.case((table.c.owner == mine, ttl), else_=table.c.ttl)),
        ])
    else:
        insert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
        statement = insert(table).values(fresh).on_conflict_do_update(
            index_elements=["id"], where=is_free,
            set_={"generation": generation, "owner": mine, "expires_at": until, "ttl": ttl},
        )
    conn.execute(statement)
    # The row stays locked until the commit, so what is read is what the statement left.
    row = _row(conn, identity)
    return Lease(key, owner, row.generation, row.expires_at_s) if row.owner == owner else None


def renew(conn: Connection, lease: Lease, ttl_s: float) -> Lease:
    """Hold a lease longer. Raises LeaseExpiredError where another claimed it."""
    ttl = sa.literal(float(arguments.seconds(ttl_s, "ttl_s")), Number)
    if conn.execute(_held(lease).values(expires_at=_now(conn) + ttl, ttl=ttl)).rowcount != 1:
        raise model.lost(lease)
    row = _row(conn, id_of(lease.key))
    return Lease(lease.key, lease.owner, lease.generation, row.expires_at_s)


def release(conn: Connection, lease: Lease) -> bool:
    """Give a lease back; False where it is another's by now."""
    return conn.execute(_held(lease).values(owner=None, expires_at=0.0)).rowcount == 1


def check(conn: Connection, lease: Lease | None) -> None:
    """Make sure a write is its holder's still, and stays so until it is committed. Raises LeaseExpiredError."""
    if lease is not None:
        model.check(_row(conn, id_of(lease.key), for_update=True), lease)


def _held(lease: Lease) -> sa.Update:
    return sa.update(table).where(
        table.c.id == id_of(lease.key), table.c.owner == text_in(lease.owner), table.c.generation == lease.generation
    )


def _row(conn: Connection, identity: str, *, for_update: bool = False) -> LeaseRow:
    chosen = sa.select(table.c.owner, table.c.generation, table.c.expires_at).where(table.c.id == identity)
    row = conn.execute(chosen.with_for_update() if for_update else chosen).first()
    return LeaseRow() if row is None else LeaseRow(optional_out(row.owner), row.generation, float(row.expires_at))
