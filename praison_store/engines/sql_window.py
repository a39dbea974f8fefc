"""Read a session's window, all of it or its newest messages, and let go of what the policy does not keep."""

from __future__ import annotations

from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..codec import values
from ..model.exchanges import call_ids, newest_window, result_ids
from ..model.message import Record
from ..model.session import CompactionCheckpoint
from ..retention import Policy
from .sql_rows import CALL, RESULT, decoding, encoder, records_of, text_out
from .sql_tables import messages as table

COLUMNS = (
    table.c.seq, table.c.content, table.c.is_json, table.c.packed, table.c.metadata, table.c.record, table.c.exchange,
    table.c.size_bytes,
)
_MARKS = (table.c.seq, table.c.exchange, table.c.size_bytes)
_PLAIN = (table.c.role, table.c.content, table.c.is_json, table.c.exchange)


def _statements(columns: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    """Return the window's rows in a range of numbers, the oldest of them, and the newest, each built once."""
    window = sa.select(*columns).where(
        table.c.session_id == sa.bindparam("identity"), table.c.archived == 0,
        table.c.seq.between(sa.bindparam("low", type_=sa.BigInteger), sa.bindparam("high", type_=sa.BigInteger)),
    )
    most = sa.bindparam("most", type_=sa.BigInteger)
    ranged = window.order_by(table.c.seq)
    return ranged, ranged.limit(most), window.order_by(table.c.seq.desc()).limit(most)


_STATEMENTS = {columns: _statements(columns) for columns in (COLUMNS, _MARKS, _PLAIN)}


class Newest(NamedTuple):
    """What is shown of a window: its rows, and the cut of the whole window they stand for."""

    rows: list[Any]
    leading: int
    start: int


def lead_of(session: Any) -> int:
    """Return how many system messages lead a session: counted at its first cut, or as they stand."""
    counted = session.leading_messages
    return int(session.leading_system if counted is None else counted)


def rows(
    conn: Connection, session: Any, first: int | None = None, newest: int | None = None,
    columns: tuple[Any, ...] = COLUMNS,
) -> list[Any]:
    """
    Return rows of the window, oldest first: all, the `first` of them, or the `newest` behind those that lead.

    Cost: what is returned. The messages that lead, and those behind the archive, are two ranges of the primary key, so
    the archive between them is not read.
    """
    ranged, oldest, latest = _STATEMENTS[columns]
    given = {"identity": session.id, "low": session.body_seq, "high": session.last_seq}
    if newest is not None:
        wanted = min(newest, session.message_count - session.head_messages)
        found = _all(conn, ranged, {**given, "low": max(session.body_seq, session.last_seq - wanted + 1)})
        return found if len(found) == wanted else _all(conn, latest, {**given, "most": wanted})[::-1]
    wanted = session.message_count if first is None else min(first, session.message_count)
    found = []
    if session.head_messages:
        head = {**given, "low": session.first_seq, "high": session.body_seq - 1}
        found = _all(conn, oldest, {**head, "most": min(wanted, session.head_messages)})
    missing = wanted - len(found)
    if missing and first is not None:
        # A range of numbers, and not only a limit: a planner without statistics reads and sorts the session for that.
        some = _all(conn, ranged, {**given, "high": session.body_seq + missing - 1})
        if len(some) == missing:
            return found + some
    return found + _all(conn, oldest, {**given, "most": missing}) if missing else found


def _all(conn: Connection, statement: Any, given: dict[str, Any]) -> list[Any]:
    # By `all`, which asks the driver once; iterating asks it for each row, which costs more than the row.
    return list(conn.execute(statement, given).all())


def plain(conn: Connection, session: Any, newest: int | None) -> list[Record] | None:
    """
    Return the newest messages as a model takes them, from two columns; None where one of them has more to show.

    Cost: what is returned, with no JSON decoded. Without tools among them no exchange is cut, so no cut is looked for.
    """
    leading = 0
    if not newest or session.message_count <= newest:
        found = rows(conn, session, columns=_PLAIN)
    else:
        leading = min(lead_of(session), newest - 1)
        found = rows(conn, session, first=leading, columns=_PLAIN) if leading else []
        found += rows(conn, session, newest=newest - leading, columns=_PLAIN)
    return _plainly(found)


@decoding
def _plainly(found: list[Any]) -> list[Record] | None:
    shown = []
    for role, content, is_json, exchange in found:
        if content is None or is_json or exchange:
            return None
        if "\1" in content or "\1" in role:
            role, content = text_out(role), text_out(content)  # noqa: PLW2901 - seldom, and then the same two
        shown.append({"role": role, "content": content})
    return shown


def newest_rows(conn: Connection, session: Any, newest: int | None) -> Newest:
    """
    Return the rows `SessionData.newest` keeps; it is that function's decision, made of as few rows as it needs.

    Cost: the newest rows; where a tool's result stands among them without its call, twice as many until it is found.
    """
    count = session.message_count
    if not newest or count <= newest:
        return Newest(rows(conn, session), 0, 0)
    lead = lead_of(session)
    leading = min(lead, newest - 1)
    wanted = newest - leading
    while wanted < count - leading:
        tail = rows(conn, session, newest=wanted)
        if _is_decided(tail):
            # Nothing in the tail points out of it, so the cut within it is the cut of the whole.
            cut = _cut_of(tail, newest - leading)
            head = rows(conn, session, first=leading) if leading else []
            return Newest(head + tail[cut:], leading, count - len(tail) + cut)
        wanted *= 2
    whole = rows(conn, session)
    leading, start = newest_window(records_of(whole), newest, lead)
    return Newest(whole[:leading] + whole[start:], leading, start)


def _cut_of(tail: list[Any], limit: int) -> int:
    if not any(row.exchange for row in tail):
        return len(tail) - limit
    return newest_window(records_of(tail), limit, 0)[1]


def _is_decided(tail: list[Any]) -> bool:
    """Tell whether every result in the newest rows has its call, or what shows that it has none, among them."""
    if not any(row.exchange & RESULT for row in tail):
        return True
    known: set[str] = set()
    opened = False
    for record in records_of(tail):
        calls, results = call_ids(record), result_ids(record)
        if any(answered is not None and repr(answered) not in known for answered in results):
            return False
        if None in results and not opened:
            return False
        known.update(repr(call) for call in calls if call is not None)
        opened = opened or bool(calls or record.get("tool_calls")) or not results
    return True


def after_cut(conn: Connection, session: Any, policy: Policy) -> dict[str, Any]:
    """
    Let go of what a policy does not keep of a session's window, and return the columns that change.

    Args:
        session: the row as it is after the write, `message_count` and `last_seq` counted up.
    Cost: the rows that leave and those that lead; where a call of a tool is among them, the whole window.
    """
    if not policy.overflows(session.message_count):
        return {}
    leading, start, window = _simple_cut(conn, session, policy) or _whole_cut(conn, session, policy)
    if start == leading:
        return {}
    gone, first_kept = window[leading:start], window[start].seq
    theirs = (table.c.session_id == session.id, table.c.seq.between(gone[0].seq, gone[-1].seq), table.c.archived == 0)
    if policy.archives:
        conn.execute(sa.update(table).where(*theirs).values(archived=1))
    else:
        conn.execute(sa.delete(table).where(*theirs))
    changed = {
        "message_count": session.message_count - len(gone), "leading_messages": leading, "head_messages": leading,
        "body_seq": first_kept, "size_bytes": session.size_bytes - sum(row.size_bytes for row in gone),
    }
    if not leading:
        changed["first_seq"] = first_kept
    if session.last_compaction is not None:
        changed["last_compaction"] = compaction_after(session.last_compaction, leading, start)
    return changed


@decoding
def compaction_after(text: str, leading: int, start: int) -> str:
    """Return the JSON of a checkpoint after a cut."""
    before: Record = values.loads_any(text.encode())[0]
    moved = CompactionCheckpoint.from_dict(before).after_cut(leading, start)
    return encoder(extended=True)({**before, "message_index": moved.message_index}).decode()


def _simple_cut(conn: Connection, session: Any, policy: Policy) -> tuple[int, int, list[Any]] | None:
    """Return the cut and the rows up to it, where no call is in front of it; None where a closer look is due."""
    # What `Policy.cut` decides on plain messages, without a list of them for every message that is added.
    counted, window = session.leading_messages, policy.window_messages or session.message_count
    limit = window if counted is None else max(window, counted + 1)
    if session.message_count <= limit:
        return None
    leading = min(lead_of(session), limit - 1)
    start = session.message_count - (limit - leading)
    front = rows(conn, session, first=start + 1, columns=_MARKS)
    if len(front) <= start or any(row.exchange & CALL for row in front[:start]):
        return None
    return leading, start, front


def _whole_cut(conn: Connection, session: Any, policy: Policy) -> tuple[int, int, list[Any]]:
    window = rows(conn, session)
    leading, start = policy.cut(records_of(window), session.leading_messages)
    return leading, start, window
