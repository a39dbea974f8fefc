"""Look at every file of a directory and tell what is wrong; remove what nobody needs."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field

from ..codec import document, lines
from ..disk import archive_log, atomic, files, lock, mounts, quarantine, seam
from ..errors import CorruptSessionError, InvalidSessionIdError, LockTimeoutError, StoreReadError, StoreWriteError
from ..model.session_id import SessionKey, file_stem, id_of_stem
from . import json_directory, json_leases, json_repair

_TEMPORARY = re.compile(r"(?P<session>.+\.json)\.[0-9a-f]{16}\.tmp")
# PraisonAI's store names its temporary files so; only their age tells that no writer will finish them.
_FOREIGN_TEMPORARY = re.compile(r"tmp\w+\.tmp")
_OLD_S = 3600.0
_DIRECTORIES = (archive_log.DIRECTORY, quarantine.DIRECTORY, json_leases.DIRECTORY)


@dataclass
class Problem:
    """
    One thing that is wrong.

    Shape: `code` names the invariant or the kind; `path` is relative to the directory; `repaired` tells whether
    `check(repair=True)` mended it, `saved` and `lost` count messages (None: not known).
    """

    code: str
    path: str
    message: str
    repaired: bool = False
    saved: int | None = None
    lost: int | None = None


@dataclass
class CheckReport:
    """
    What `check` saw: how many sessions and messages, and every problem. `ok` when there is none left.

    Shape: `file_system` is the kind the directory is on, "" where the system does not tell; `not_promised` says what
    cannot be promised on that kind, a sentence each.
    """

    directory: str
    sessions: int = 0
    messages: int = 0
    archived: int = 0
    file_system: str = ""
    not_promised: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True when nothing is wrong, or all of it was repaired."""
        return all(problem.repaired for problem in self.problems)


@dataclass
class VacuumReport:
    """What `vacuum` removed: names relative to the directory, and the bytes they took."""

    removed: list[str] = field(default_factory=list)
    freed_bytes: int = 0


class _Checker:
    """Look at one place: the directory itself, or that of a namespace in it."""

    def __init__(self, report: CheckReport, place: str, lock_timeout_s: float, repair: bool) -> None:
        self.report, self.directory, self.repair, self.lock_timeout_s = report, place, repair, lock_timeout_s
        self.prefix = _prefix(report.directory, place)

    def problem(self, code: str, name: str, message: str, **more: int | bool | None) -> None:
        problem = Problem(code, self.prefix + name, message, **more)  # type: ignore[arg-type] # fields of Problem
        self.report.problems.append(problem)

    def run(self) -> None:
        for name in sorted(files.names_in(self.directory)):
            path = os.path.join(self.directory, name)
            try:
                self._look_at(name, path, seam.lstat(path))
            except FileNotFoundError:
                continue  # removed since the directory was read
            except (OSError, LockTimeoutError) as error:
                self.problem("unreadable", name, str(error))
        looks = {archive_log.DIRECTORY: self._archives_without_session, json_leases.DIRECTORY: self._leases}
        for part, look in looks.items():
            try:
                look()
            except StoreReadError as error:
                self.problem("unreadable", part, str(error))

    def _leases(self) -> None:
        for name in json_leases.names(self.directory):
            if name.endswith(".json"):
                try:
                    json_leases.row_of(os.path.join(self.directory, name))
                except CorruptSessionError as error:
                    self.problem("D5", f"{json_leases.DIRECTORY}/{name}", str(error))

    def _look_at(self, name: str, path: str, state: os.stat_result) -> None:
        if name in _DIRECTORIES or (name.startswith("@") and not self.prefix):
            if not stat.S_ISDIR(state.st_mode):
                self.problem("D8", name, "is no directory: remove it")
            return
        if name.endswith((".json", ".json.lock")):
            if not stat.S_ISREG(state.st_mode):
                self.problem("D8", name, "is no plain file: remove it")
                return
            if os.name == "posix" and name.endswith(".json") and state.st_mode & 0o077 and _is_ours(path):
                self.problem("D8", name, f"others may read it (mode {state.st_mode & 0o777:o}): chmod 600")
            if name.endswith(".json"):
                self._look_at_session(name, path)
        elif _is_temporary(name) and seam.time() - state.st_mtime > _OLD_S:
            self.problem("leftover", name, "is a temporary file no writer will finish: run vacuum")

    def _look_at_session(self, name: str, path: str) -> None:
        stem = name.removesuffix(".json")
        raw = files.bytes_of(path)
        if not raw and files.signature_of(path) is None:
            return  # deleted since the directory was read
        try:
            whole = document.decode(raw)
        except ValueError as error:
            self._damaged(name, path, stem, str(error))
            return
        stored_id = str(whole.header.get("session_id") or "") or stem
        try:
            if file_stem(stored_id) != stem:
                self.problem("D4", name, f"holds the session {stored_id!r}: adopt it with `praison-store import`")
                return
        except InvalidSessionIdError as error:
            self.problem("D4", name, str(error))
            return
        self.report.sessions += 1
        self.report.messages += len(whole.records)
        file = lines.parse(raw)
        if file is None and "message_count" in whole.header and whole.header["message_count"] != len(whole.records):
            self.problem(
                "D5", name, f"its header counts {whole.header['message_count']} messages, it holds {len(whole.records)}"
            )
        if file is not None:
            self._look_at_archive(stem, file)

    def _look_at_archive(self, stem: str, file: lines.LineFile) -> None:
        name = f"{archive_log.DIRECTORY}/{stem}.jsonl"
        raw = archive_log.read(os.path.join(self.directory, name), file.archived_bytes)
        if len(raw) < file.archived_bytes:
            self.problem("D9", name, f"has {len(raw)} of the {file.archived_bytes} bytes its session counts")
        records, damaged = document.archived_records(raw)
        self.report.archived += len(records)
        if damaged or (raw and not raw.endswith(b"\n")):
            self.problem("D5", name, f"{damaged or 1} archived messages are damaged", lost=damaged or 1)

    def _damaged(self, name: str, path: str, stem: str, damage: str) -> None:
        session_id = id_of_stem(stem)
        if not self.repair or session_id is None:
            advice = "run check with repair" if session_id is not None else "only its own id can name it: read it by id"
            self.problem("D5", name, f"is damaged ({damage}): {advice}")
            return
        try:
            # Whoever repairs has the session's turn, so that no write of another process comes in between.
            with lock.exclusive(path, timeout_s=self.lock_timeout_s):
                repaired = json_repair.repair_stored(path, SessionKey(session_id))
        except (CorruptSessionError, StoreWriteError, StoreReadError) as error:
            self.problem("D5", name, str(error), saved=0)
            return
        if repaired is None:
            return  # deleted since the directory was read
        saved, lost, kept_as = repaired
        self.report.sessions += 1
        self.report.messages += saved
        if not kept_as:
            return  # whole by now: somebody was in the middle of saving it
        known = "an unknown number" if lost is None else str(lost)
        self.problem(
            "D5", name, f"was damaged ({damage}): {saved} messages saved, {known} lost, damaged file kept as {kept_as}",
            repaired=True, saved=saved, lost=lost,
        )

    def _archives_without_session(self) -> None:
        for name in sorted(archive_log.names(self.directory)):
            if _is_gone(os.path.join(self.directory, name.removesuffix("l"))):
                text = "is the archive of a session that is gone: run vacuum"
                self.problem("leftover", f"{archive_log.DIRECTORY}/{name}", text)


def check(directory: str, lock_timeout_s: float, repair: bool) -> CheckReport:
    """
    Verify what a directory can show: whole files (D5), their own ids (D4), archives (D9), kinds and rights (D8).

    Args:
        repair: save what can be saved of damaged files; each is kept in `.quarantine` first.
    Raises:
        StoreReadError: The directory cannot be read.
    Cost: reads and decodes every file.
    """
    report = CheckReport(directory)
    report.file_system, report.not_promised = mounts.file_system_of(directory)
    for place in json_directory.directories(directory, None):
        _Checker(report, place, lock_timeout_s, repair).run()
    return report


def vacuum(directory: str) -> VacuumReport:
    """
    Remove temporary files whose writer is dead, archives of sessions that are gone, and locks of such sessions that
    were not used for an hour.

    Raises:
        StoreReadError, StoreWriteError: Something could not be looked at or removed; the rest stays as it is.
    """
    report = VacuumReport()
    for place in json_directory.directories(directory, None):
        _vacuum(place, _prefix(directory, place), report)
    return report


def _vacuum(place: str, prefix: str, report: VacuumReport) -> None:
    for name in sorted(files.names_in(place)):
        path = os.path.join(place, name)
        ours = _TEMPORARY.fullmatch(name)
        if ours:
            # Who has the session's turn is its only writer, so whatever temporary file is there now is nobody's.
            _remove_in_turn(os.path.join(place, ours["session"]), path, report, prefix + name)
        elif _FOREIGN_TEMPORARY.fullmatch(name) and _is_old(path):
            _count_removed(path, report, prefix + name)
        elif name.endswith(".json.lock") and _is_old(path) and _is_gone(path.removesuffix(".lock")):
            _remove_in_turn(path.removesuffix(".lock"), path, report, prefix + name)
    for name in sorted(archive_log.names(place)):
        session_path = os.path.join(place, name.removesuffix("l"))
        if _is_gone(session_path):
            archived = f"{archive_log.DIRECTORY}/{name}"
            _remove_in_turn(session_path, os.path.join(place, archived), report, prefix + archived)
    for name in json_leases.names(place):
        unfinished = _TEMPORARY.fullmatch(name)
        if unfinished:
            lease = f"{json_leases.DIRECTORY}/{name}"
            session_path = os.path.join(place, unfinished["session"])
            _remove_in_turn(session_path, os.path.join(place, lease), report, prefix + lease)


def _prefix(directory: str, place: str) -> str:
    """Return what stands in front of a name in a place, relative to the directory."""
    return "" if place == directory else f"{os.path.basename(place)}/"


def _remove_in_turn(session_path: str, path: str, report: VacuumReport, name: str) -> None:
    try:
        with lock.exclusive(session_path, timeout_s=0.0):
            is_gone = _is_gone(session_path)
            if path.endswith(".tmp") or is_gone:
                _count_removed(path, report, name)
            if is_gone:
                atomic.remove(session_path + ".lock")  # made by our own turn; who waits for it opens a new one
    except LockTimeoutError:
        return  # somebody is writing; the next vacuum will find it


def _count_removed(path: str, report: VacuumReport, name: str) -> None:
    signature = files.signature_of(path)
    if signature is not None and atomic.remove(path):
        report.removed.append(name)
        report.freed_bytes += signature[2]


def _is_gone(path: str) -> bool:
    """
    Tell whether there is no such name, and not merely no answer: what is left of a session that is gone is removed.

    Raises:
        StoreReadError: The system does not tell.
    """
    return files.signature_of(path) is None


def _is_temporary(name: str) -> bool:
    return bool(_TEMPORARY.fullmatch(name) or _FOREIGN_TEMPORARY.fullmatch(name))


def _is_old(path: str) -> bool:
    signature = files.signature_of(path)
    return signature is not None and seam.time() - signature[3] / 1e9 > _OLD_S


def _is_ours(path: str) -> bool:
    try:
        return lines.parse_head(files.bytes_of(path)) is not None
    except ValueError:
        return True  # a head of ours, damaged
