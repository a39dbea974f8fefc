"""List and search a directory of session files without decoding what nobody asked for."""

from __future__ import annotations

import heapq
import logging
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..codec import document, lines, values
from ..disk import archive_log, files, seam
from ..errors import InvalidArgumentError, StoreReadError, shown
from ..model.session import SessionInfo
from ..model.session_id import STEM_BYTES, SessionKey, file_stem, id_of_stem

logger = logging.getLogger("praison_store")
SUFFIX = ".json"
_NAMESPACE = "@"
_HEAD_BYTES = 8192
_EVERY_BYTE = 1 << 62


class SessionFile(NamedTuple):
    """A session's file as its directory shows it."""

    mtime_ns: int
    name: str
    size_bytes: int
    directory: str

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{self.directory}/{self.name}"


def session_directory(session_dir: object = None) -> str:
    """Return the directory a store is meant to use, as a path; see `DefaultSessionStore`."""
    if session_dir is None:
        session_dir = os.environ.get("PRAISON_SESSION_DIR") or os.path.join("~", ".praison", "sessions")
    path = os.fspath(session_dir) if isinstance(session_dir, os.PathLike) else session_dir
    if not isinstance(path, str) or not path or "\0" in path:
        message = f"session_dir is the path of a directory, not {shown(session_dir)}: pass one, or None."
        raise InvalidArgumentError(message)
    return os.path.expanduser(path)


def session_files(directory: str, suffix: str = SUFFIX) -> Iterator[SessionFile]:
    """Yield the plain files whose names end like those of sessions, in no order. Raises StoreReadError."""
    try:
        with seam.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(suffix) and entry.is_file(follow_symlinks=False):
                    try:
                        state = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # removed since the directory was read
                    yield SessionFile(state.st_mtime_ns, entry.name, state.st_size, directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise files.unreadable(directory, error) from error


def directory_of(directory: str, namespace: str) -> str:
    """Return where the sessions of a namespace are. Raises StoreReadError where something else stands there (D8)."""
    if not namespace:
        return directory
    place = f"{directory}/{_NAMESPACE}{file_stem(namespace)}"
    if files.is_planted(place):
        raise StoreReadError(f"{place} is no directory of its own: remove it. Nothing was changed.", path=place)
    return place


def directories(directory: str, namespace: str | None) -> list[str]:
    """Return where the sessions of a namespace are, or of all for None. Raises StoreReadError."""
    if namespace is not None:
        return [directory_of(directory, namespace)]
    named = (f"{directory}/{name}" for name in sorted(files.names_in(directory)) if name.startswith(_NAMESPACE))
    return [directory, *(place for place in named if not files.is_planted(place))]


def newest_first(places: Sequence[str]) -> Iterator[SessionInfo]:
    """
    Yield sessions, the most recently written first; a damaged or foreign file is told in the log and left out.

    Cost: one look at each name, and one read of each header that is asked for.
    """
    # A heap gives up the newest one by one, so that sorting ten thousand names is not paid for fifty.
    heap = [(-file.mtime_ns, file.name, file) for place in places for file in session_files(place)]
    heapq.heapify(heap)
    while heap:
        yield from _written_together(heap)


def _written_together(heap: list[tuple[int, str, SessionFile]]) -> list[SessionInfo]:
    """Take the newest files of one time stamp from the heap; file systems count in ticks of milliseconds."""
    tick = heap[0][0]
    infos = []
    while heap and heap[0][0] == tick:
        infos.append(info_of(heapq.heappop(heap)[2]))
    return sorted((info for info in infos if info is not None), key=lambda info: info.updated_at, reverse=True)


def info_of(file: SessionFile) -> SessionInfo | None:
    """Return what a file's header tells; None, with a log record, where it is no session of that name."""
    path = file.path
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
        info.namespace = _namespace_of(file.directory, info)
        if file_stem(info.session_id) == stem:
            return info
        logger.warning("%s holds the session %r: adopt it with `praison-store import`", path, info.session_id)
    except (StoreReadError, ValueError) as error:
        logger.warning("%s was left out: %s", path, error)
    return None


def _namespace_of(directory: str, info: SessionInfo) -> str:
    name = os.path.basename(directory)
    if not name.startswith(_NAMESPACE):
        return ""
    known = id_of_stem(name[len(_NAMESPACE) :])
    return known or info.user_id or ""  # a hashed name tells no namespace, but the session has its user


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
    header.pop("archived_bytes", None)  # a matter of the file, not of the session
    return SessionInfo.from_header(header, count, size_bytes)


def _info_of_whole(path: str, size_bytes: int) -> SessionInfo:
    whole = document.decode(files.bytes_of(path))
    whole.header.pop("archived_bytes", None)
    return SessionInfo.from_header(whole.header, len(whole.records), size_bytes)


def keys_with(places: Sequence[str], terms: Sequence[str]) -> Iterator[SessionKey]:
    """
    Yield the keys of sessions whose bytes, archive included, may hold one of the lower-case terms.

    Cost: one read of each file; none is decoded unless its layout is another store's.
    """
    needles = [values.dumps(term)[1:-1] for term in terms]
    for file in (file for place in places for file in session_files(place)):
        path = file.path
        archive = archive_log.path_of(path)
        try:
            raw = files.bytes_of(path)
            archived = archive_log.read(archive, _EVERY_BYTE)
            # Another store may write letters as \\uXXXX, which no search for bytes finds; those are decoded.
            if lines.parse_head(raw[:_HEAD_BYTES]) is None or _holds(raw, needles) or _holds(archived, needles):
                info = info_of(file)
                if info is not None:
                    yield SessionKey(info.session_id, info.namespace)
        except (StoreReadError, ValueError) as error:
            logger.warning("%s was left out: %s", path, error)


def _holds(raw: bytes, needles: Sequence[bytes]) -> bool:
    if raw.isascii():
        lowered = raw.lower()
        return any(needle in lowered for needle in needles)
    text = raw.decode("utf-8", "replace").lower()
    return any(needle.decode() in text for needle in needles)
