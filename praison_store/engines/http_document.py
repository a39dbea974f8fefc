"""A session as a service keeps it: one JSON document, its archive inside, and who wrote it last. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NoReturn

from ..codec import values
from ..errors import StoreReadError
from ..model.lease import Lease, LeaseRow
from ..model.message import Record, SessionMessage, llm_message
from ..model.session import SessionData, SessionInfo, iso_utc, wrong_fields
from ..model.session_id import SessionKey
from ..retention import Policy
from .contract import Change
from .http_wire import Answer

logger = logging.getLogger("praison_store")
ARCHIVE, WRITES = "archived_messages", "recent_writes"
_ACCESSED = "last_accessed"  # a service's own note of `updated_at`, as 004 documents it; no field of the session
_MOST_WRITES = 64
_INFO_FIELDS = tuple(one.name for one in fields(SessionInfo) if one.name != "extra")


@dataclass
class Stored:
    """
    A session as it was read.

    Shape: `etag` is None where there is none yet; `writes` are pairs of a revision and the id of the write that made
    it, the newest last. By them a writer whose answer got lost finds out whether its write is in place. `extended`
    tells that it needs the standard library's JSON to be exact.
    """

    session: SessionData
    archived: list[Record] = field(default_factory=list)
    etag: str | None = None
    writes: list[tuple[int, str]] = field(default_factory=list)
    extended: bool = False

    @property
    def revision(self) -> int:
        """Return the revision; 0 for a session that is not there."""
        return 0 if self.etag is None else self.session.revision


def unwritten(key: SessionKey, now_s: float) -> Stored:
    """Return what a session is that nobody wrote yet."""
    now = iso_utc(now_s)
    return Stored(SessionData(key.session_id, created_at=now, updated_at=now))


def stored_of(answer: Answer, key: SessionKey, url: str) -> Stored:
    """
    Return the session of an answer.

    Raises:
        StoreReadError: It is no session, or another's. A damaged one never looks like an empty one (D5).
    """
    data, extended = _decoded(answer, url)
    records = data.get("messages")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        _refuse(url, "it has no list of messages")
    data.pop(_ACCESSED, None)
    archived, writes = data.pop(ARCHIVE, None) or [], data.pop(WRITES, None) or []
    if wrong := wrong_fields(data):
        _refuse(url, f"{', '.join(wrong)} are of a wrong kind")
    if not isinstance(archived, list) or not all(isinstance(record, dict) for record in archived):
        _refuse(url, f"{ARCHIVE} is no list of messages")
    if data.setdefault("session_id", key.session_id) != key.session_id:
        _refuse(url, "it is another session's")
    session = SessionData.from_dict(data)
    session.revision = max(session.revision, 1)  # 0 is a session that was never written
    # A weak tag fits no If-Match; it is what a proxy that compresses makes of a strong one.
    etag = (answer.etag or f'"{session.revision}"').removeprefix("W/")
    return Stored(session, archived, etag, [pair for pair in map(_write_of, writes) if pair], extended)


def _write_of(pair: Any) -> tuple[int, str] | None:
    if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int) and isinstance(pair[1], str):
        return pair[0], pair[1]
    return None


def apply(stored: Stored, change: Change, *, now_s: float, policy: Policy, keep_archive: bool) -> bool:
    """Make a change and apply the policy (D9), in place; False where there is nothing to write."""
    session = stored.session
    behind = session.past(policy.window_messages) if keep_archive and policy.archives else []
    session.updated_at, updated_at, revision = "", session.updated_at, stored.revision
    if change(session) is False:
        session.updated_at = updated_at
        return False
    session.updated_at = session.updated_at or iso_utc(now_s)  # an import brings its own
    kept = set(map(id, session.messages))
    stored.archived = [
        *(stored.archived if keep_archive else ()),
        *(session.extra.get(ARCHIVE) or ()),
        *(message.to_dict() for message in behind if id(message) not in kept),
    ]
    # A change may be made again after another's write, so what it brought along is not changed in place.
    session.extra = {name: value for name, value in session.extra.items() if name not in (ARCHIVE, WRITES)}
    if policy.overflows(len(session.messages)):
        _cut(stored, policy)
    session.revision = max(session.revision, revision) + 1
    return True


def _cut(stored: Stored, policy: Policy) -> None:
    session = stored.session
    records = [message.to_dict() for message in session.messages]
    leading, start = policy.cut(records, session.leading_messages)
    if start <= leading:
        return
    if policy.archives:
        stored.archived += records[leading:start]
    session.messages = session.messages[:leading] + session.messages[start:]
    session.leading_messages = leading
    if session.last_compaction is not None:
        session.last_compaction = session.last_compaction.after_cut(leading, start)


def encoded(stored: Stored, before: int, write_id: str) -> bytes:
    """Return the document of a changed session; `before` is the revision that was read, 0 where nothing was there."""
    session = stored.session
    # Where a service or another client dropped the list, it begins anew with the version that was read.
    known = [*stored.writes] if any(revision == before for revision, _ in stored.writes) else [(before, "")]
    data = session.to_dict()
    data[ARCHIVE] = stored.archived
    data[WRITES] = [*known, (session.revision, write_id)][-_MOST_WRITES:]
    data[WRITES] = [list(pair) for pair in data[WRITES]]
    if stored.extended or session.extra.get("extended_json") is True:
        return values.dumps_extended(data)
    return values.dumps(data, "session")


def fresh(stored: Stored, messages: Sequence[Record]) -> list[Record]:
    """Return the messages whose id is not stored yet, in the window or the archive; those without one all are."""
    taken: dict[Any, Record] = {}
    if any("message_id" in message for message in messages):
        taken = {m.message_id: m.to_dict() for m in stored.session.messages if m.message_id is not None}
        taken |= {m["message_id"]: m for m in stored.archived if m.get("message_id") is not None}
    kept = []
    for message in messages:
        message_id = message.get("message_id")
        if message_id is not None and message_id in taken:
            if llm_message(taken[message_id]) != llm_message(message):
                logger.warning(
                    "%r: message_id %r is taken by another message: not stored", stored.session.session_id, message_id
                )
            continue
        if message_id is not None:
            taken[message_id] = message
        kept.append(message)
    return kept


def adding(records: Sequence[Record]) -> Change:
    """Return the change that puts messages behind those that are there."""

    def change(session: SessionData) -> None:
        session.messages.extend(map(SessionMessage.from_dict, records))

    return change


def listing_of(answer: Answer, url: str) -> tuple[list[SessionInfo], int]:
    """Return the rows of a listing, and how many there are in all. Raises StoreReadError."""
    data, _ = _decoded(answer, url)
    rows, total = data.get("sessions"), data.get("total")
    if not isinstance(rows, list) or isinstance(total, bool) or not isinstance(total, int):
        _refuse(url, "it is no listing with sessions and total")
    return [_info_of(row, url) for row in rows], total


def _info_of(row: Any, url: str) -> SessionInfo:
    if not isinstance(row, dict) or not isinstance(row.get("session_id"), str) or wrong_fields(row):
        _refuse(url, "a row of it is no session")
    known = {name: row[name] for name in _INFO_FIELDS if row.get(name) is not None}
    unknown = {name: value for name, value in row.items() if name not in (*_INFO_FIELDS, "extra", _ACCESSED)}
    extra = row.get("extra")
    info = SessionInfo(**{"message_count": 0, "size_bytes": 0, **known})
    info.extra = {**unknown, **(extra if isinstance(extra, dict) else {})}
    return info


def json_bytes(data: Record) -> bytes:
    """Return the body of a small request."""
    return values.dumps(data, "request")


def lease_of(answer: Answer, key: SessionKey, url: str) -> Lease:
    """Return the lease of an answer; its owner is empty where it was released. Raises StoreReadError."""
    data, _ = _decoded(answer, url)
    try:
        row = LeaseRow.from_dict(data)
    except ValueError:
        _refuse(url, "it is no lease")
    return Lease(key, row.owner or "", row.generation, row.expires_at_s)


def _decoded(answer: Answer, url: str) -> tuple[dict[str, Any], bool]:
    try:
        data, extended = values.loads_any(answer.body)
    except ValueError:
        _refuse(url, "it is not JSON")
    if not isinstance(data, dict):
        _refuse(url, "it is no JSON object")
    return data, extended


def _refuse(url: str, why: str) -> NoReturn:
    raise StoreReadError(
        f"What {url} answered is not what this package keeps there: {why}. Nothing was written; see that the URL is "
        f"that of a session service.", path=url,
    )
