"""A session's file as a whole: decode any layout, and turn a session and its old lines into new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import InvalidMessageError
from ..model.message import Record, SessionMessage
from ..model.session import SessionData, wrong_fields
from . import lines, values


class Document(NamedTuple):
    """A decoded file: every field but the messages, the messages, and whether orjson would change them."""

    header: Record
    records: list[Record]
    extended: bool


def decode(raw: bytes) -> Document:
    """
    Return the session in a file of any layout: ours, PraisonAI's, or one written by hand.

    Raises:
        ValueError: Not JSON, or JSON that is no session: no object, no list of messages, a message that is no object;
            or two messages of ours run into one.
    """
    data, extended = values.loads_any(raw)
    if not isinstance(data, dict) or not isinstance(data.get("messages"), list):
        raise ValueError("not a session: no JSON object with a list of messages")
    records = data.pop("messages")
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("not a session: a message is no JSON object")
    lines.checked_header(data)
    if data.get("message_count", len(records)) != len(records) and values.has_twin_names(raw):
        raise ValueError("not what its header counts: a name stands twice, and one of its values would be lost")
    return Document(data, records, extended or data.get("extended_json") is True)


def at_a_glance(raw: bytes, session_id: str) -> tuple[list[Record], int | None] | None:
    """
    Return the messages of a whole file in our layout, and how many lead; None where a closer look is needed.

    Shape: an integer past 64 bits comes as a float, so what is not role or text is read with `decode`.
    Cost: one decoding; nothing is kept for a later write.
    """
    try:
        data = values.loads(raw)
    except ValueError:
        return None
    if type(data) is not dict or data.get("session_id") != session_id or "revision" not in data:
        return None
    records, leading = data.get("messages"), data.get("leading_messages")
    if type(records) is not list or len(records) != data.get("message_count") or wrong_fields(data):
        return None
    return (records, leading) if all(type(record) is dict for record in records) else None


def recovered(header: Record, records: list[Record]) -> Document:
    """Return the document of what was saved of a damaged file."""
    wrong = wrong_fields(header)
    kept = {name: value for name, value in header.items() if name not in wrong}
    return decode(values.dumps_extended({**kept, "messages": records}))


def as_lines(document: Document, session_id: str, now_iso: str, archived_bytes: int) -> lines.LineFile:
    """
    Return a decoded document in the layout of one message per line.

    Args:
        archived_bytes: how long the session's archive is; used where the document does not say how much is its own,
            because another store dropped the field. Better an unfinished move's messages twice than an archive lost.
    Source: a file without `revision` (PraisonAI's) counts as written once for each message it holds or archived.
    """
    header, records, extended = document
    archived = header.get("archived_messages")
    written = len(records) + (len(archived) if isinstance(archived, list) else 0)
    filled = {
        **header,
        "session_id": session_id,
        "created_at": header.get("created_at") or now_iso,
        "updated_at": header.get("updated_at") or now_iso,
        "archived_bytes": header.get("archived_bytes", archived_bytes),
        "revision": max(header.get("revision") or written, 1),  # 0 is a session that was never written
    }
    encode = values.dumps_extended if extended else _encode_stored
    return lines.build(filled, [encode(record) for record in records], extended=extended)


def encode_all(records: Sequence[Record], *, extended: bool = False) -> list[bytes]:
    """Return each message as the line it takes in a file. Raises InvalidMessageError."""
    dumps = values.dumps_extended if extended else values.dumps
    return [dumps(record) for record in records]


def _encode_stored(record: Record) -> bytes:
    """Return the line of a message that is stored already, in another layout; it may nest deeper than a new one."""
    try:
        return values.dumps(record)
    except InvalidMessageError:
        return values.dumps_extended(record)


def session_of(file: lines.LineFile) -> SessionData:
    """Return a file's session, decoded. Raises ValueError where a message is damaged."""
    header = file.header()
    del header["archived_bytes"]  # a matter of the file, not of the session
    return SessionData.from_dict({**header, "messages": file.records()})


def whole_of(file: lines.LineFile) -> tuple[SessionData, list[Record], int]:
    """Return a file's session, the messages PraisonAI archived inside it, and how long our archive of it is."""
    session = session_of(file)
    inside = session.extra.get("archived_messages")
    return session, [record for record in inside or () if isinstance(record, dict)], file.archived_bytes


def archive_title(file: lines.LineFile) -> bytes:
    """Return the line an archive begins with: whose it is, by what other stores keep and a later session has not."""
    header = file.header()
    return values.dumps({"archive_of": header.get("session_id"), "created_at": header.get("created_at")}) + b"\n"


def is_archive_of(raw: bytes, header: Record) -> bool:
    """Tell whether an archive is a session's, by its title; a session that lost its `created_at` is believed."""
    created_at = header.get("created_at")
    try:
        title = values.loads(raw[: raw.find(b"\n") + 1])
    except ValueError:
        return not created_at
    return not created_at or (isinstance(title, dict) and title.get("created_at") == created_at)


def archived_records(raw: bytes) -> tuple[list[Record], int]:
    """Return the whole messages of an archive, and how many of its lines are damaged."""
    records, damaged = [], 0
    for number, line in enumerate(raw.split(b"\n")):
        try:
            record = values.loads_any(line)[0]
        except ValueError:
            record = None
        is_title = number == 0 and isinstance(record, dict) and "archive_of" in record and "role" not in record
        if not isinstance(record, dict):
            damaged += bool(line)
        elif not is_title:
            records.append(record)
    return records, damaged


def changed_file(
    session: SessionData, file: lines.LineFile, before: list[SessionMessage], *, archived_bytes: int
) -> lines.LineFile:
    """
    Return the file of a changed session; a message that is the same keeps the bytes it has.

    Args:
        before: the message objects `session_of(file)` returned, in their order.
        archived_bytes: how much of the archive stays the session's.
    Cost: decodes the old lines once more, to see which message was changed in place.
    """
    extended = file.extended or session.extra.get("extended_json") is True
    old = dict(zip(map(id, before), zip(file.lines(), file.records(), strict=True), strict=False))
    dumps = values.dumps_extended if extended else values.dumps
    encoded = []
    for message in session.messages:
        line, record = old.get(id(message), (b"", None))
        now = message.to_dict()
        is_same = record is not None and _encode_stored(_as_read(record)) == _encode_stored(now)
        encoded.append(line if is_same else dumps(now))
    revision = max(session.revision, file.revision)
    header = {**session.header(), "revision": revision, "archived_bytes": archived_bytes}
    return lines.build(header, encoded, extended=extended)


def lines_of(file: lines.LineFile, before: list[SessionMessage], chosen: list[SessionMessage]) -> bytes:
    """Return the lines of some of the messages `session_of(file)` returned, each with its newline."""
    wanted = set(map(id, chosen))
    kept = [line for line, message in zip(file.lines(), before, strict=True) if id(message) in wanted]
    return b"".join(line + b"\n" for line in kept)


def _as_read(record: Record) -> Record:
    # A record without metadata or time comes back with their empty values; that is no change. Encoded forms are
    # compared, because Python finds 1, 1.0 and True equal, and a reader would not.
    return SessionMessage.from_dict(record).to_dict()
