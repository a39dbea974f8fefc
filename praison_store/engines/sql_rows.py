"""Turn records into rows and back, exactly: what a database cannot hold as text is escaped, and JSON stays JSON."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

from ..codec import values
from ..errors import InvalidMessageError, shown
from ..model.exchanges import call_ids, result_ids
from ..model.message import Record
from ..model.recall import text_of
from ..model.session import CompactionCheckpoint, SessionData, SessionInfo
from ..model.session_id import SessionKey, file_stem
from ..model.values import is_unicode

CALL, RESULT, OTHER = 1, 2, 4
PACKED_FROM_BYTES = 1024
Encode = Callable[[Any], bytes]
T = TypeVar("T")
# What decoding raises of bytes that were not written here.
_DAMAGE = (ValueError, TypeError, AttributeError, LookupError, RecursionError, zlib.error)


class DamagedRowError(ValueError):
    """A row that holds what this package never wrote; see `sql_turns.take`."""


def decoding(decode: Callable[..., T]) -> Callable[..., T]:
    """Return a function of rows that tells of a damaged one as DamagedRowError, whatever stumbled over it."""
    @wraps(decode)
    def told(row: Any, *others: Any) -> T:
        try:
            return decode(row, *others)
        except _DAMAGE as error:
            name = getattr(row, "name", None)
            what = "a message" if name is None else f"the session {shown(name)}"
            # Its place and what to do is told where the turn ends.
            raise DamagedRowError(f"the row of {what} is damaged ({error})") from error

    return told


def id_of(key: SessionKey) -> str:
    """Return the primary key of a session; an index holds 64 characters, and no 4,096. Raises InvalidSessionIdError."""
    file_stem(key.session_id)
    if key.namespace:
        file_stem(key.namespace)
    name = f"{len(key.namespace)}:{key.namespace}{key.session_id}"
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def text_in(text: str) -> str:
    """
    Return text without U+0000, which PostgreSQL cannot hold, in the same order by code point; `text_out` gives it back.

    Raises:
        InvalidMessageError: It holds half of a surrogate pair, which no database holds.
    """
    if not is_unicode(text):
        raise InvalidMessageError(f"{shown(text)} holds half of a surrogate pair: remove it.", where="text")
    if "\0" in text or "\1" in text:
        return text.replace("\1", "\1\2").replace("\0", "\1\1")
    return text


def text_out(text: str) -> str:
    """Return the text that `text_in` was given."""
    return text.replace("\1\1", "\0").replace("\1\2", "\1") if "\1" in text else text


def optional_in(text: str | None) -> str | None:
    """Return `text_in` of text; None of None."""
    return None if text is None else text_in(text)


def optional_out(text: str | None) -> str | None:
    """Return `text_out` of text; None of None."""
    return None if text is None else text_out(text)


def encoder(*, extended: bool) -> Encode:
    """Return what writes JSON: the standard library's where a session holds what another store let in."""
    return values.dumps_extended if extended else values.dumps


def message_key(message_id: str) -> str:
    """Return what an index holds of a message's id."""
    return hashlib.sha256(message_id.encode("utf-8", "surrogatepass")).hexdigest()


def message_row(record: Mapping[str, Any], encode: Encode, *, compress: bool) -> dict[str, Any]:
    """
    Return the columns of a message, all but its session and number.

    Shape: `content` is text, or JSON where `is_json`; `metadata` is JSON; `record` is the JSON of every other field;
    `packed` holds a long content's JSON, compressed; `search_text` is the content's lower-case text where the database
    would not find it in `content` itself.
    """
    content, message_id = record.get("content"), record.get("message_id")
    rest = {name: value for name, value in record.items() if name not in ("content", "metadata")}
    row: dict[str, Any] = {
        "role": _readable(str(record.get("role", ""))),
        "content": None, "is_json": 0, "packed": None, "search_text": None,
        "timestamp": _time_of(record.get("timestamp")), "metadata": None, "record": encode(rest).decode(),
        "message_key": None, "exchange": _exchange_of(record), "archived": 0,
    }
    if "metadata" in record:
        row["metadata"] = encode(record["metadata"]).decode()
    if isinstance(message_id, str):
        row["message_key"] = message_key(message_id)
    if "content" in record:
        raw = encode(content)
        if compress and len(raw) > PACKED_FROM_BYTES:
            row["packed"] = zlib.compress(raw)
        else:
            is_text = isinstance(content, str) and is_unicode(content)
            row["is_json"] = 0 if is_text else 1
            row["content"] = text_in(str(content)) if is_text else raw.decode()
            row["search_text"] = _search_text(content)
    row["size_bytes"] = len(row["record"]) + sum(len(row[name] or "") for name in ("content", "metadata", "packed"))
    return row


def _time_of(timestamp: Any) -> float | None:
    if isinstance(timestamp, bool) or not isinstance(timestamp, (int, float)):
        return None
    # The exact value is in the record; this one is for people and for queries of their own.
    return float(timestamp) if -1e300 < timestamp < 1e300 else None


def _exchange_of(record: Mapping[str, Any]) -> int:
    """Return the marks of a message's tool fields; OTHER where role and content alone do not show it."""
    calls, role = bool(call_ids(record) or record.get("tool_calls")), record.get("role")
    is_other = record.get("tool_call_id") is not None or not isinstance(role, str) or not is_unicode(role)
    return CALL * calls + RESULT * bool(result_ids(record)) + OTHER * is_other


def _search_text(content: Any) -> str | None:
    """Return the text a search reads; None where the content serves, because only ASCII letters change their case."""
    text = text_of(content)
    if text.isascii() and isinstance(content, str):
        return None
    lowered = text.lower()
    if not isinstance(content, str):
        return _readable(lowered)
    is_ascii_fold = lowered.encode("utf-8", "surrogatepass") == text.encode("utf-8", "surrogatepass").lower()
    return None if is_ascii_fold and is_unicode(text) else _readable(lowered)


def _readable(text: str) -> str:
    return text_in(text if is_unicode(text) else text.encode("utf-8", "replace").decode())


@decoding
def unpacked(row: Any) -> Any:
    """Return the content of a row that holds it compressed."""
    return values.loads_any(zlib.decompress(row.packed))[0]


def content_of(row: Any) -> Any:
    """Return the content of a row that has one."""
    if row.packed is not None:
        return unpacked(row)
    return values.loads_any(row.content.encode())[0] if row.is_json else text_out(row.content)


def has_content(row: Any) -> bool:
    """Tell whether a row's record has the field `content`."""
    return row.content is not None or row.packed is not None


@decoding
def records_of(rows: Sequence[Any]) -> list[Record]:
    """Return the records of rows, each equal to what was stored. Cost: one decoding for all of them."""
    joined = ",".join(f"{row.record},{row.metadata or 'null'}" for row in rows)
    decoded = values.loads_any(f"[{joined}]".encode())[0]
    records = []
    for index, row in enumerate(rows):
        rest = decoded[2 * index]
        if type(rest) is not dict:
            raise ValueError(f"record is no object but {shown(rest)}")
        record: Record = {"role": rest.pop("role")} if "role" in rest else {}
        if has_content(row):
            record["content"] = content_of(row)
        if "timestamp" in rest:
            record["timestamp"] = rest.pop("timestamp")
        if row.metadata is not None:
            record["metadata"] = decoded[2 * index + 1]
        record.update(rest)
        records.append(record)
    return records


def session_row(session: SessionData, encode: Encode) -> dict[str, Any]:
    """Return the columns that hold a session's own fields."""
    checkpoint = session.last_compaction
    return {
        "agent_name": optional_in(session.agent_name), "user_id": optional_in(session.user_id),
        "created_at": text_in(session.created_at), "updated_at": text_in(session.updated_at),
        "parent_id": optional_in(session.parent_id), "leading_messages": session.leading_messages,
        "metadata": encode(session.metadata).decode(), "context": encode(session.context).decode(),
        "extra": encode(session.extra).decode(),
        "last_compaction": None if checkpoint is None else encode(checkpoint.to_dict()).decode(),
    }


@decoding
def session_of(row: Any, records: Sequence[Record]) -> SessionData:
    """Return the session of its row and its messages."""
    metadata, context, extra, compaction = values.loads_any(
        f"[{row.metadata},{row.context},{row.extra},{row.last_compaction or 'null'}]".encode()
    )[0]
    _check_objects(metadata, context, extra, compaction or {})
    session = SessionData.from_dict({"revision": row.revision, "messages": records})
    session.session_id = text_out(row.name)
    session.created_at, session.updated_at = text_out(row.created_at), text_out(row.updated_at)
    session.agent_name, session.user_id = optional_out(row.agent_name), optional_out(row.user_id)
    session.parent_id, session.leading_messages = optional_out(row.parent_id), row.leading_messages
    session.metadata, session.context, session.extra = metadata, context, extra
    session.last_compaction = None if compaction is None else CompactionCheckpoint.from_dict(compaction)
    return session


@decoding
def info_of(row: Any) -> SessionInfo:
    """Return the summary of a session's row."""
    metadata, context, extra = values.loads_any(f"[{row.metadata},{row.context},{row.extra}]".encode())[0]
    _check_objects(metadata, context, extra)
    check_counts(row)
    return SessionInfo(
        text_out(row.name), row.message_count, row.size_bytes, text_out(row.created_at), text_out(row.updated_at),
        optional_out(row.agent_name), optional_out(row.user_id), metadata, optional_out(row.parent_id),
        row.revision, extra, context, text_out(row.namespace),
    )


def _check_objects(*found: Any) -> None:
    for one in found:
        if type(one) is not dict:
            raise ValueError(f"a column holds no object but {shown(one)}")


def check_counts(row: Any) -> None:
    """Raise DamagedRowError where a count of a session's row is no number: SQLite keeps whatever is put there."""
    counts = (row.revision, row.message_count, row.leading_system, row.size_bytes, row.last_seq, row.first_seq,
              row.body_seq, row.head_messages)
    if any(type(count) is not int for count in counts):
        raise DamagedRowError(f"the row of the session {shown(row.name)} is damaged (a count is no number)")
