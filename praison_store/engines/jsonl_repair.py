"""Save what is whole of a damaged log: its copy kept, its messages saved, the caller told (D5)."""

from __future__ import annotations

import logging

from ..disk import files, log, quarantine, seam
from ..errors import CorruptSessionError
from ..model.message import Record
from ..model.session import SessionData, iso_utc
from ..model.session_id import SessionKey
from ..retention import Policy
from . import jsonl_format as form
from . import jsonl_plan

logger = logging.getLogger("praison_store")
_KEEP = Policy(None, 0, archives=False)


def repair(turn: log.writing, path: str, key: SessionKey, damage: str) -> None:
    """
    Put what is whole of a damaged log in its place; the caller has the turn, and loses it: the log is another file.

    Raises:
        CorruptSessionError: No whole message is left. StoreWriteError: The damaged log stands as it stood.
    """
    raw = log.read_at(turn.held, path, 0, log.state_of(turn.held, path).st_size)
    _saved(path, key, raw, damage, path)  # refuses before anything is kept
    kept_as = quarantine.keep(path, raw)
    turn.replace(_saved(path, key, raw, damage, kept_as))
    logger.warning("%s was damaged (%s): what is whole was saved, the damaged file kept as %s", path, damage, kept_as)


def served(path: str, key: SessionKey, damage: str) -> tuple[SessionData, list[Record]] | None:
    """
    Return what is whole of a damaged log that cannot be repaired now; None where it was deleted meanwhile.

    Raises:
        CorruptSessionError: No whole message is left.
    """
    raw = files.bytes_of(path)
    if not raw:
        return None
    lines = b"".join(_saved(path, key, raw, damage, path))
    contents, mark = form.replay(lines), form.last_mark(lines, 0)
    assert mark is not None  # nosec B101 # put there by `_saved`
    assert contents.session is not None  # nosec B101 # and this with it
    window = [form.record_of(entry.line) for entry in contents.window]
    session = SessionData.from_dict({**form.header_of(contents.session, mark), "messages": window})
    return session, [form.record_of(entry.line) for entry in contents.archive]


def _saved(path: str, key: SessionKey, raw: bytes, damage: str, kept_as: str) -> list[bytes]:
    """
    Return the lines of a log with everything that is whole of a damaged one.

    A message behind the last mark is saved too where its line is whole: better one that was never acknowledged than
    the loss of one that was, and whose mark is damaged. Not so in a last write with zeros in it: a loss of power left
    them, so that nobody was told of that write, and it is there as a whole or not at all.
    """
    sound = form.without_torn_write(raw)
    is_torn, raw = len(sound) < len(raw), sound
    contents, mark = form.replay(raw), form.newest_mark(raw)
    if contents.damage:
        damage = contents.damage[0]
    if contents.session is not None and contents.session["session_id"] != key.session_id:
        raise corrupt(path, f"it holds the session {contents.session['session_id']!r}; {damage}")
    if contents.session is None and mark is None:
        raise corrupt(path, f"no line of it is a log's own; {damage}")
    was_empty = is_torn and mark is not None and not mark.messages and not mark.archived
    if not contents.window and not contents.archive and not was_empty:
        raise corrupt(path, damage)
    now = iso_utc(seam.time())
    session = SessionData.from_dict(contents.session or {"session_id": key.session_id, "created_at": now})
    session.leading_messages = mark.leading_messages if mark else None
    session.metadata = {**session.metadata, "recovered_from": kept_as}
    window, archive = ([entry.line + b"\n" for entry in part] for part in (contents.window, contents.archive))
    return jsonl_plan.anew(
        session, window, archive, _KEEP, mark.updated_at if mark else now,
        (mark.revision if mark else len(window)) + 1, key.namespace,
    )


def corrupt(path: str, damage: str) -> CorruptSessionError:
    """Return the error of a log of which nothing can be saved."""
    return CorruptSessionError(
        f"{path} is damaged and no whole message can be saved: {damage}. The file was left as it is: restore it from "
        f"a backup, or move it away to start anew.", path=path,
    )
