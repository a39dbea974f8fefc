"""Serve what is whole of a damaged session file: its copy kept, its messages saved, the caller told (D5)."""

from __future__ import annotations

import logging

from ..codec import document, salvage, values
from ..codec.lines import LineFile
from ..disk import archive_log, atomic, files, lock, quarantine, seam
from ..errors import CorruptSessionError, InvalidSessionIdError, LockTimeoutError, StoreWriteError
from ..model.session import iso_utc
from ..model.session_id import SessionKey
from .cache import Entry

logger = logging.getLogger("praison_store")


def other_layout(path: str, raw: bytes, key: SessionKey, last_revision: int) -> LineFile | None:
    """
    Return a file of another layout (PraisonAI's, one edited by hand) in ours; None where it is damaged.

    Args:
        last_revision: the newest revision seen of this session; ours are dropped by other stores, and the next one
            must be higher all the same.
    """
    try:
        whole = document.decode(raw)
    except ValueError:
        return None
    file = _as_lines(path, whole, key.session_id)
    if "revision" not in whole.header and last_revision:
        file.revision = max(file.revision, last_revision + 1)
    stored_id = whole.header.get("session_id")
    if stored_id and stored_id != key.session_id:
        file = _as_lines(path, whole, str(stored_id))  # refused by its reader (D4)
    return file


def _as_lines(path: str, whole: document.Document, session_id: str) -> LineFile:
    archive = b""
    if "archived_bytes" not in whole.header:
        archive = archive_log.whole(archive_log.path_of(path))
        archive = archive if document.is_archive_of(archive, whole.header) else b""
    return document.as_lines(whole, session_id, iso_utc(seam.time()), len(archive))


def repaired(path: str, key: SessionKey, *, locked: bool) -> Entry | None:
    """
    Repair a session's file, or where it cannot be written now, serve what can be saved of it.

    Args:
        locked: the caller has the session's turn. A reader does not wait for one (D1).
    Returns:
        None where the session was deleted meanwhile.
    Raises:
        CorruptSessionError: No whole message is left. The file stands as it stood.
    """
    if locked:
        return _repair(path, key, store=True)[0]
    try:
        with lock.exclusive(path, timeout_s=0.0):
            return _repair(path, key, store=True)[0]
    except (StoreWriteError, LockTimeoutError) as error:
        # A reader on a read-only mount, or beside a stopped writer, still gets its messages (D1).
        logger.warning("%s is damaged and could not be repaired now: %s", path, error)
        return _repair(path, key, store=False)[0]


def repair_stored(path: str, key: SessionKey) -> tuple[int, int | None, str] | None:
    """
    Repair a session's file; the caller has its lock.

    Returns:
        How many messages were saved, how many are known lost (None: not known), and the damaged file's new name: ""
        where it is whole by now. None where it was deleted meanwhile.
    Raises:
        CorruptSessionError: No whole message is left. The file stands as it stood.
    """
    entry, lost, kept_as = _repair(path, key, store=True)
    return None if entry is None else (entry.file.count, lost, kept_as)


def _repair(path: str, key: SessionKey, *, store: bool) -> tuple[Entry | None, int | None, str]:
    if files.signature_of(path) is None:
        return None, None, ""  # deleted meanwhile
    raw = files.bytes_of(path)
    try:
        document.decode(raw)
    except ValueError as error:
        damage = str(error)
    else:
        whole = other_layout(path, raw, key, 0)
        assert whole is not None  # nosec B101 # decode() just read it
        return Entry(whole), None, ""
    header, records, lost = salvage.salvage(raw)
    if not records:
        raise CorruptSessionError(
            f"{path} is damaged and no whole message can be saved: {damage}. The file was left as it is: restore it "
            f"from a backup, or move it away to start anew.", path=path,
        )
    stored_id = header.get("session_id")
    if stored_id and stored_id != key.session_id:
        raise CorruptSessionError(
            f"{path} is damaged and holds the session {stored_id!r}, not {key.session_id!r}. The file was left as it "
            f"is: move it away.", path=path,
        )
    kept_as = quarantine.keep(path, raw) if store else path
    metadata = header.get("metadata")
    header["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "recovered_from": kept_as}
    file = _as_lines(path, document.recovered(header, records), key.session_id)
    if store:
        file.revision += 1
        atomic.replace_bytes(path, [file.bytes_whole()], durability="full")[0].close()
        logger.warning(
            "%s was damaged (%s): %d messages saved, %s lost, the damaged file kept as %s",
            path, damage, len(records), "an unknown number" if lost is None else lost, kept_as,
        )
    return Entry(file), lost, kept_as


def refuse_other_id(path: str, key: SessionKey, file: LineFile) -> None:
    """Refuse a file that belongs to another id (D4); one whose id is damaged goes on to repair."""
    try:
        other = values.loads(file.id_json)
    except ValueError:
        return
    if other == key.session_id:
        return  # written by hand with other escapes; decoding the whole file finds nothing wrong
    raise InvalidSessionIdError(
        f"{path} holds the session {other!r}, so {key.session_id!r} cannot be stored there: pick another id, or adopt "
        f"the file with `praison-store import`.", session_id=key.session_id,
    )
