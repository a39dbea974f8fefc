"""Read, change and write a session in one transaction, rewriting only the messages that are not the same."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..model import portable
from ..model.exchanges import leading_system
from ..model.lease import Lease
from ..model.message import Record, SessionMessage
from ..model.session import SessionData, iso_utc
from ..model.session_id import SessionKey
from ..retention import Policy
from . import sql_leases, sql_operations, sql_window
from .contract import Change
from .refusals import check_revision
from .sql_rows import Encode, encoder, message_row, records_of, session_of, session_row
from .sql_tables import messages as table

_BATCH = 500


def update(
    conn: Connection, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None,
    keep_archive: bool, lease: Lease | None, compress: bool,
) -> tuple[SessionData, bool]:
    """
    Change a session; see `Engine.update`. The flag tells whether there is something to commit.

    Cost: reads the window; writes the messages that changed, and those behind one that was put in between.
    """
    now = iso_utc(now_s)
    row = sql_operations.locked(conn, key, now)
    sql_leases.check(conn, lease)
    check_revision(key, row.revision, expected=expected_revision)
    old = sql_window.rows(conn, row)
    session = session_of(row, records_of(old))
    before, past = list(session.messages), session.past(policy.window_messages)
    # What a message is shows in its JSON only: Python finds 1, 1.0 and True equal, and a reader would not.
    encode_any = encoder(extended=True)
    encoded = [encode_any(message.to_dict()) for message in before]
    session.updated_at, updated_at = "", session.updated_at
    if change(session) is False:
        session.updated_at = updated_at
        return session, False
    session.updated_at = session.updated_at or now  # an import brings its own
    session.session_id = key.session_id
    session.revision = max(session.revision, row.revision) + 1
    plan = _Plan(conn, row, compress, encoder(extended=session.extra.get("extended_json") is True))
    taken = portable.taken_archive(session)
    # What an import archived gets numbers in front of the messages that stay, so that all of those come anew.
    plan.match([] if taken else before, old, encoded, session.messages)
    plan.let_go(old, before, past if keep_archive and policy.archives else [])
    if not keep_archive:
        conn.execute(sa.delete(table).where(table.c.session_id == row.id, table.c.archived == 1))
    sql_operations.insert(conn, row, [plan.archived_row(record) for record in taken])
    plan.write()
    changed = {**plan.counts(session), **session_row(session, plan.encode), "revision": session.revision}
    # With `keep_archive=False` nothing leaves, because there is no archive to go to yet.
    cut = sql_window.after_cut(conn, SimpleNamespace(**{**vars(row), **changed}), policy) if keep_archive else {}
    sql_operations.save(conn, row.id, {**changed, **cut})
    return (_as_stored(conn, row.id) if cut else session), True


def is_changed(result: tuple[SessionData, bool]) -> bool:
    """Tell from what `update` returned whether there is something to commit."""
    return result[1]


def _as_stored(conn: Connection, identity: str) -> SessionData:
    row = sql_operations.row_of(conn, identity)
    return session_of(row, records_of(sql_window.rows(conn, row)))


class _Plan:
    """Which rows of a window stay, change, leave and come, and the counters of the session after that."""

    def __init__(self, conn: Connection, row: SimpleNamespace, compress: bool, encode: Encode) -> None:
        self.conn, self.row, self.compress, self.encode = conn, row, compress, encode
        self.kept: list[tuple[int, int]] = []  # number and size of each row that stays, in order
        self.fresh: list[SessionMessage] = []
        self.bound: int = row.body_seq - 1

    def match(
        self, before: Sequence[SessionMessage], old: Sequence[Any], encoded: Sequence[bytes],
        after: Sequence[SessionMessage],
    ) -> None:
        """
        Keep each message's row as long as the numbers grow; from the first that is new on, all are written anew.

        A number is never given twice, so that what stands in between cannot be counted in.
        """
        known = {id(message): index for index, message in enumerate(before)}
        encode_any = encoder(extended=True)
        last = 0
        for position, message in enumerate(after):
            index = known.get(id(message))
            if index is None or old[index].seq <= last:
                self.fresh = list(after[position:])
                return
            last, size_bytes = old[index].seq, old[index].size_bytes
            if encode_any(message.to_dict()) != encoded[index]:
                row = message_row(message.to_dict(), self.encode, compress=self.compress)
                size_bytes = row["size_bytes"]
                self._replace(last, row)
            self.kept.append((last, size_bytes))

    def _replace(self, seq: int, row: dict[str, Any]) -> None:
        # Removed and put in again, because the index for search follows rows that come and go.
        self.conn.execute(sa.delete(table).where(table.c.session_id == self.row.id, table.c.seq == seq))
        self.conn.execute(sa.insert(table).values(session_id=self.row.id, seq=seq, **row))

    def let_go(
        self, old: Sequence[Any], before: Sequence[SessionMessage], archived: Sequence[SessionMessage]
    ) -> None:
        """Remove the rows no message has any more; those of `archived` messages go to the archive."""
        kept = {seq for seq, _ in self.kept}
        still_there = set(map(id, self.fresh))
        leaving = set(map(id, archived)) - still_there
        gone: list[int] = []
        past: list[int] = []
        for row, message in zip(old, before, strict=True):
            if row.seq not in kept:
                (past if id(message) in leaving else gone).append(row.seq)
        for start in range(0, len(gone), _BATCH):
            numbers = gone[start:start + _BATCH]
            self.conn.execute(sa.delete(table).where(table.c.session_id == self.row.id, table.c.seq.in_(numbers)))
        for start in range(0, len(past), _BATCH):
            numbers = past[start:start + _BATCH]
            chosen = sa.update(table).where(table.c.session_id == self.row.id, table.c.seq.in_(numbers))
            self.conn.execute(chosen.values(archived=1))
        self.bound = max([self.bound, *past])

    def archived_row(self, record: Record) -> dict[str, Any]:
        """Return the row of a message that comes into the archive."""
        return {**message_row(record, self.encode, compress=self.compress), "archived": 1}

    def write(self) -> None:
        """Insert the messages that are new or stand behind one that is."""
        rows = [message_row(message.to_dict(), self.encode, compress=self.compress) for message in self.fresh]
        first = self.row.last_seq + 1
        sql_operations.insert(self.conn, self.row, rows)
        self.kept += [(first + index, row["size_bytes"]) for index, row in enumerate(rows)]

    def counts(self, session: SessionData) -> dict[str, Any]:
        """Return the counters of the session's row."""
        numbers = [seq for seq, _ in self.kept]
        head = sum(1 for seq in numbers if seq <= self.bound)
        after = [seq for seq in numbers if seq > self.bound]
        last_seq = self.row.last_seq
        return {
            "message_count": len(numbers), "size_bytes": sum(size for _, size in self.kept), "last_seq": last_seq,
            "first_seq": numbers[0] if numbers else last_seq + 1, "body_seq": after[0] if after else last_seq + 1,
            "head_messages": head,
            "leading_system": leading_system([message.to_dict() for message in session.messages]),
        }
