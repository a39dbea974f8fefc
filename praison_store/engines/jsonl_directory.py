"""List and search a directory of logs, reading no more of each than its end and its session line."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from ..disk import atomic, files, lock, log
from ..errors import LockTimeoutError, SessionStoreError
from ..model.session import SessionInfo
from ..model.session_id import SessionKey, file_stem
from . import json_leases, jsonl_log
from . import jsonl_format as form
from .json_check import VacuumReport
from .json_directory import SessionFile, directories, directory_of, session_files

logger = logging.getLogger("praison_store")
SUFFIX = ".jsonl"
_TEMPORARY = re.compile(r"(?P<log>.+\.jsonl)\.[0-9a-f]{16}\.tmp")


def path_of(directory: str, key: SessionKey) -> str:
    """Return where a session's log is. Raises InvalidSessionIdError."""
    return f"{directory_of(directory, key.namespace)}/{file_stem(key.session_id)}{SUFFIX}"


def log_files(places: Sequence[str]) -> list[SessionFile]:
    """Return the plain files named like logs, the most recently written first. Raises StoreReadError."""
    found = [file for place in places for file in session_files(place, SUFFIX)]
    return sorted(found, key=lambda file: (-file.mtime_ns, file.name))


def newest_first(places: Sequence[str]) -> Iterator[SessionInfo]:
    """
    Yield sessions, the most recently written first; a damaged or foreign log is told in the log record and left out.

    Cost: one look at each name, and for each session that is asked for one read at its log's end and of its line.
    """
    # File systems count in ticks of milliseconds; within one, the sessions' own time decides.
    for _tick, together in groupby(log_files(places), key=lambda file: file.mtime_ns):
        infos = [info_of(file) for file in together]
        yield from sorted((info for info in infos if info), key=lambda info: info.updated_at, reverse=True)


def info_of(file: SessionFile) -> SessionInfo | None:
    """Return what a log's end and session line tell; None where it is no session of that name, or not written yet."""
    path = file.path
    try:
        view = jsonl_log.open_view(path, None)
        if view is None:
            return None
        try:
            session, namespace, _line = view.session_line()
            info = form.info_of(session, view.known(), view.size_bytes, namespace)
        finally:
            view.held.close()
        if file_stem(info.session_id) + SUFFIX == file.name:
            return info
        logger.warning("%s holds the session %r and was left out: give it that session's name", path, info.session_id)
    except (SessionStoreError, jsonl_log.DamagedLogError) as error:
        logger.warning("%s was left out: %s", path, error)
    return None


def vacuum(directory: str, lock_timeout_s: float) -> VacuumReport:
    """
    Remove the temporary files of writers that died.

    Raises:
        StoreReadError, StoreWriteError: Something could not be looked at or removed; the rest stays as it is.
    """
    report = VacuumReport()
    for place in directories(directory, None):
        leases = f"{place}/{json_leases.DIRECTORY}"
        for folder, names in ((place, sorted(files.names_in(place))), (leases, json_leases.names(place))):
            for name in names:
                ours = _TEMPORARY.fullmatch(name)
                if not ours:
                    continue
                path = f"{folder}/{name}"
                # Who has both turns is the session's only writer, so whatever is unfinished there now is nobody's.
                try:
                    with (
                        lock.exclusive(f"{place}/{ours['log']}", timeout_s=lock_timeout_s),
                        log.writing(f"{place}/{ours['log']}", timeout_s=lock_timeout_s, durability="process"),
                    ):
                        _count_removed(path, report, os.path.relpath(path, directory))
                except LockTimeoutError:
                    continue  # somebody is writing; the next vacuum will find it
    return report


def _count_removed(path: str, report: VacuumReport, name: str) -> None:
    signature = files.signature_of(path)
    if signature is not None and atomic.remove(path):
        report.removed.append(name)
        report.freed_bytes += signature[2]


def keys_with(places: Sequence[str], terms: Sequence[str]) -> Iterator[SessionKey]:
    """Yield the keys of sessions whose log may hold one of the lower-case terms. Cost: one read of each log."""
    needles = jsonl_log.needles_of(list(terms))
    for file in log_files(places):
        try:
            found = jsonl_log.holds(files.bytes_of(file.path), needles)
        except SessionStoreError as error:
            logger.warning("%s was left out: %s", file.path, error)
            continue
        info = info_of(file) if found else None
        if info is not None:
            yield SessionKey(info.session_id, info.namespace)
