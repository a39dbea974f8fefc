"""List and search a directory of session files without decoding what nobody asked for."""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..codec import document, lines, values
from ..disk import archive_log, files, seam
from ..errors import StoreReadError
from ..model.session import SessionInfo
from ..model.session_id import STEM_BYTES, file_stem

logger = logging.getLogger("praison_store")
SUFFIX = ".json"
_HEAD_BYTES = 8192
_EVERY_BYTE = 1 << 62


class SessionFile(NamedTuple):
    """A session's file as its directory shows it."""

    mtime_ns: int
    name: str
    size_bytes: int


def session_files(directory: str) -> Iterator[SessionFile]:
    """Yield the plain files named like sessions, in no order. Raises StoreReadError."""
    try:
        with seam.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                    try:
                        state = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # removed since the directory was read
                    yield SessionFile(state.st_mtime_ns, entry.name, state.st_size)
    except FileNotFoundError:
        return
    except OSError as error:
        raise files.unreadable(directory, error) from error


def find(directory: str, *, limit: int | None, agent_name: str | None) -> Iterator[SessionInfo]:
    """
    Yield sessions, the most recently written first; a damaged or foreign file is told in the log and left out.

    Cost: one look at each name, and one read of each header that is returned (or compared, with `agent_name`).
    """
    # A heap gives up the newest one by one, so that sorting ten thousand names is not paid for fifty.
    newest_first = [(-file.mtime_ns, file.name, file) for file in session_files(directory)]
    heapq.heapify(newest_first)
    found = 0
    while newest_first:
        for info in _written_together(directory, newest_first):
            if agent_name is None or info.agent_name == agent_name:
                yield info
                found += 1
                if found == limit:
                    return


def _written_together(directory: str, newest_first: list[tuple[int, str, SessionFile]]) -> list[SessionInfo]:
    """Take the newest files of one time stamp from the heap; file systems count in ticks of milliseconds."""
    tick = newest_first[0][0]
    infos = []
    while newest_first and newest_first[0][0] == tick:
        infos.append(info_of(directory, heapq.heappop(newest_first)[2]))
    return sorted((info for info in infos if info is not None), key=lambda info: info.updated_at, reverse=True)


def info_of(directory: str, file: SessionFile) -> SessionInfo | None:
    """Return what a file's header tells; None, with a log record, where it is no session of that name."""
    path = f"{directory}/{file.name}"
    try:
        opened = files.open_to_read(path)
        if opened is None:
            return None
        held, state = opened
        try:
            info = _info_of_head(_head_bytes(held, path), state.st_size)
            if info is None:
                info = _info_of_whole(path, state.st_size)
        finally:
            held.close()
        stem = file.name[: -len(SUFFIX)]
        info.session_id = info.session_id or stem
        if file_stem(info.session_id) == stem:
            return info
        logger.warning("%s holds the session %r: adopt it with `praison-store import`", path, info.session_id)
    except (StoreReadError, ValueError) as error:
        logger.warning("%s was left out: %s", path, error)
    return None


def _head_bytes(held: files.HeldFile, path: str) -> bytes:
    """Return a file up to its first newline and a little more."""
    raw = piece = files.read_all(held, path, _HEAD_BYTES)
    while piece and b"\n" not in piece:
        piece = files.read_all(held, path, len(raw))
        raw += piece
    return raw


def warn_of_twin(path: str, session_id: str) -> None:
    """Tell of a file in which PraisonAI's store, which maps many ids to one name, keeps the session that is missing."""
    name = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in session_id)
    twin = f"{os.path.dirname(path)}/{name}{SUFFIX}"
    if twin == path or len(os.fsencode(name)) > STEM_BYTES:
        return
    try:
        if files.signature_of(twin) is None:
            return
        stored_id = document.decode(files.bytes_of(twin)).header.get("session_id")
    except (StoreReadError, ValueError):
        return  # a hint fails no call
    if stored_id == session_id:
        logger.warning("%s holds %r, written by another store: adopt it with `praison-store import`", twin, session_id)


def _info_of_head(raw: bytes, size_bytes: int) -> SessionInfo | None:
    head = lines.parse_head(raw)
    if head is None:
        return None
    header, count = head
    return SessionInfo.from_header(header, count, size_bytes)


def _info_of_whole(path: str, size_bytes: int) -> SessionInfo:
    whole = document.decode(files.bytes_of(path))
    return SessionInfo.from_header(whole.header, len(whole.records), size_bytes)


def ids_with(directory: str, terms: Sequence[str]) -> Iterator[str]:
    """
    Yield the ids of sessions whose bytes, archive included, may hold one of the lower-case terms.

    Cost: one read of each file; none is decoded unless its layout is another store's.
    """
    needles = [values.dumps(term)[1:-1] for term in terms]
    for file in session_files(directory):
        path = f"{directory}/{file.name}"
        archive = f"{directory}/{archive_log.DIRECTORY}/{file.name[: -len(SUFFIX)]}.jsonl"
        try:
            raw = files.bytes_of(path)
            archived = archive_log.read(archive, _EVERY_BYTE)
            # Another store may write letters as \\uXXXX, which no search for bytes finds; those are decoded.
            if lines.parse_head(raw[:_HEAD_BYTES]) is None or _holds(raw, needles) or _holds(archived, needles):
                info = info_of(directory, file)
                if info is not None:
                    yield info.session_id
        except (StoreReadError, ValueError) as error:
            logger.warning("%s was left out: %s", path, error)


def _holds(raw: bytes, needles: Sequence[bytes]) -> bool:
    if raw.isascii():
        lowered = raw.lower()
        return any(needle in lowered for needle in needles)
    text = raw.decode("utf-8", "replace").lower()
    return any(needle.decode() in text for needle in needles)
