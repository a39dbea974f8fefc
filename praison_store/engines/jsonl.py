"""Sessions as append-only logs: a message costs the same however long its session is."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import TypeVar

from ..disk import files, lock, log, seam
from ..errors import LockTimeoutError, OutcomeUnknownError, SessionStoreError, StoreReadError, StoreWriteError
from ..model.exchanges import newest_window
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record, llm_message
from ..model.selection import OrderBy, selected
from ..model.session import SessionData, SessionInfo, iso_utc
from ..model.session_id import SessionKey
from ..retention import Policy
from . import json_leases, jsonl_directory, jsonl_log, jsonl_plan, jsonl_repair
from . import jsonl_format as form
from .contract import Capabilities, Change
from .json_check import VacuumReport
from .json_directory import directories
from .jsonl_ids import IdIndex
from .jsonl_log import DamagedLogError, LogView
from .refusals import check_revision

T = TypeVar("T")
logger = logging.getLogger("praison_store")
_KEEP = Policy(None, 0, archives=False)
_REPAIRS = 3


class JsonlEngine:
    """
    Sessions as logs `<id>.jsonl` in one directory; see `jsonl_format` for what stands in them.

    Args:
        directory: made if it is missing, for the owner alone.
        lock_timeout_s: 0 or more seconds a write waits for its turn.
        durability: `full` (log flushed, and its name when it is new), `ordered` (as `full`, but for the name of a log
            that is written anew) or `process` (no flush).
    Raises:
        StoreWriteError: The directory cannot be made.
    Promise: writers of one session take turns by a lock on its log; readers wait for none, except half a second
    beside a write that does not finish. A change given to `update` may be made twice, where a damage was found between.
    """

    capabilities = Capabilities("jsonl", constant_append=True)

    def __init__(self, directory: str, *, lock_timeout_s: float = 5.0, durability: str = "full") -> None:
        self.directory = os.path.abspath(directory)
        files.make_directory(self.directory)
        seam.prepare()
        self._lock_timeout_s = lock_timeout_s
        self._durability = durability
        self._ids = IdIndex()
        self._leases = json_leases.LeaseFiles(lock_timeout_s, durability)

    # ---- reading ---------------------------------------------------------------------------------------------

    def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Return the newest messages as a model API takes them; see `Engine.history`."""

        def decode(view: LogView) -> list[Record]:
            at_end = view.newest(newest) if newest else None
            if at_end is not None:
                return [llm_message(record) for record in at_end]
            records = view.records(view.window().all())
            leading, start = newest_window(records, newest, view.known().leading_messages) if newest else (0, 0)
            return [llm_message(record) for record in records[:leading] + records[start:]]

        def of_session(session: SessionData, _archive: list[Record]) -> list[Record]:
            return session.get_chat_history(newest)

        return self._reading(key, decode, of_session) or []

    def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Return a session with its newest messages; see `Engine.read`."""
        session = self._reading(key, lambda view: view.session(), lambda session, _archive: session)
        return session.newest(newest) if session and newest else session

    def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Return a session with all its messages, and its archive; see `Engine.whole`."""

        def decode(view: LogView) -> tuple[SessionData, list[Record]]:
            session, _window, archive = view.whole()
            return session, view.records(archive)

        return self._reading(key, decode, lambda session, archive: (session, archive))

    def exists(self, key: SessionKey) -> bool:
        """Tell whether the session has a log with a finished write."""
        return self._reading(key, lambda view: True, lambda session, archive: True) is not None

    # ---- writing: one turn each ------------------------------------------------------------------------------

    def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Store messages behind those that are there; the hot path. See `Engine.append`."""
        lines = [form.message_line(message) for message in messages]
        updated_at = iso_utc(now_s)

        def write(turn: log.writing, view: LogView) -> int:
            check_revision(key, view.mark.revision if view.mark else 0, least=least_revision)
            added = self._ids.not_stored(view, lines, messages)
            if view.mark is None:
                session = SessionData(key.session_id, created_at=updated_at, updated_at=updated_at)
                turn.replace(jsonl_plan.anew(session, added, [], policy, updated_at, 1, key.namespace))
                return 1
            revision = view.mark.revision + 1
            if lines and not added:
                return revision - 1
            window = view.window()
            moved = jsonl_plan.checkpoint_moved(window, key.namespace)
            plan = jsonl_plan.behind(window, added, policy, updated_at, moved, revision)
            if plan is None:
                self._write_anew(turn, view, key, added, policy, updated_at)
            else:
                turn.append(view.mark.end, plan.lines)
                if plan.mark.wants_rewrite():
                    self._compact(turn, view.path, key)
            return revision

        return self._writing(key, lease, write)

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Read, change and write a session in one turn; see `Engine.update`."""

        def write(turn: log.writing, view: LogView) -> SessionData:
            now, mark = iso_utc(now_s), view.mark
            entries = view.window().all() if mark else []
            session = SessionData(key.session_id, created_at=now, updated_at=now)
            if mark:
                session = view.decoded(view.header()[0], entries)
            check_revision(key, session.revision, expected=expected_revision)
            before = jsonl_plan.Before(session, entries, policy)
            session.updated_at, updated_at = "", session.updated_at
            if change(session) is False:
                session.updated_at = updated_at
                return session
            session.updated_at = session.updated_at or now  # an import brings its own
            session.revision = max(session.revision, before.revision) + 1
            lines, is_longer = before.lines_now(session)
            gone = before.gone(session) if keep_archive and policy.archives else []
            gone += jsonl_plan.archive_lines(session)
            plan = None
            if mark and keep_archive and is_longer and not gone:
                plan = jsonl_plan.behind(
                    view.window(), lines[len(entries):], policy, session.updated_at,
                    jsonl_plan.changed_line(session, view.header()[1], key.namespace), session.revision,
                )
            if plan is not None and mark:
                turn.append(mark.end, plan.lines)
                if plan.mark.wants_rewrite():
                    self._compact(turn, view.path, key)
                return session
            archive = [entry.line + b"\n" for entry in view.whole().archive] if mark and keep_archive else []
            whole = jsonl_plan.anew(
                session, lines, archive + gone, policy, session.updated_at, session.revision, key.namespace)
            turn.replace(whole)
            return session

        return self._writing(key, lease, write)

    def delete(self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None) -> bool:
        """
        Remove a session's log, durably; see `Engine.delete`.

        Raises:
            CorruptSessionError: The log is damaged and nothing of it can be saved; it was not removed.
        """

        def remove(turn: log.writing, view: LogView) -> bool:
            if view.mark is None:
                return False
            check_revision(key, view.mark.revision, expected=expected_revision)
            turn.remove()
            return True

        if files.signature_of(self._path(key)) is None:
            if lease is not None:
                json_leases.check(self._path(key), lease)
            return False
        return self._writing(key, lease, remove)

    # ---- the directory ---------------------------------------------------------------------------------------

    def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> Iterator[SessionInfo]:
        """Yield sessions; see `Engine.find`. Cost: without filters and order, two reads of each log returned."""
        infos = jsonl_directory.newest_first(directories(self.directory, namespace))
        return selected(((info.record(), info) for info in infos), filters, order_by, limit, offset)

    def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> Iterator[tuple[SessionData, list[Record]]]:
        """Yield sessions that may hold one of the terms; see `Engine.search`."""
        for key in jsonl_directory.keys_with(directories(self.directory, namespace), terms):
            try:
                found = self.whole(key)
            except SessionStoreError as error:
                logger.warning("%r was left out: %s", key.session_id, error)
                continue
            if found is not None:
                yield found

    def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Return how many sessions match. Cost: two reads of each log."""
        return sum(1 for _ in self.find(filters=filters, namespace=namespace))

    def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Take the lease on a session; see `Engine.claim`."""
        return self._leases.claim(self._path(key), key, owner, ttl_s)

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease longer; see `Engine.renew`."""
        return self._leases.renew(self._path(lease.key), lease, ttl_s)

    def release(self, lease: Lease) -> bool:
        """Give a lease back; see `Engine.release`."""
        return self._leases.release(self._path(lease.key), lease)

    def vacuum(self) -> VacuumReport:
        """Remove what nobody needs; see `jsonl_directory.vacuum`."""
        return jsonl_directory.vacuum(self.directory, 0.0)

    def close(self) -> None:
        """Give back the descriptors of the known message ids; the engine may be used again."""
        self._ids.close()

    # ---- the steps -------------------------------------------------------------------------------------------

    def _path(self, key: SessionKey) -> str:
        return jsonl_directory.path_of(self.directory, key)

    def _reading(
        self, key: SessionKey, use: Callable[[LogView], T], of_saved: Callable[[SessionData, list[Record]], T]
    ) -> T | None:
        """Use a log as it stands; a damaged one is repaired first, or where that cannot be now, what is whole of it."""
        path, damage = self._path(key), ""
        for _ in range(_REPAIRS):
            try:
                view = jsonl_log.open_view(path, key)
                if view is None:
                    return None
                try:
                    return use(view)
                finally:
                    view.held.close()
            except DamagedLogError as error:
                damage = str(error)
            try:
                self._repair(path, key)
            except (StoreWriteError, LockTimeoutError) as error:
                # A reader on a read-only mount, or beside a stopped writer, still gets its messages (D1).
                logger.warning("%s is damaged and could not be repaired now: %s", path, error)
                break
        found = jsonl_repair.served(path, key, damage)
        return None if found is None else of_saved(*found)

    def _repair(self, path: str, key: SessionKey) -> None:
        with log.writing(path, timeout_s=0.0, durability=self._durability) as turn:
            try:
                view = self._view(turn, path, key)
                if view.mark is not None:
                    view.whole()  # another may have repaired it meanwhile
                    view.session()  # a mark that counts right may still point to a wrong place
            except DamagedLogError as error:
                jsonl_repair.repair(turn, path, key, str(error))

    def _writing(self, key: SessionKey, lease: Lease | None, write: Callable[[log.writing, LogView], T]) -> T:
        """Write to a log in its turn; a damaged one is repaired first."""
        path, damage = self._path(key), ""
        # Leases change under a lock of their own, since they are claimed before there is a log; who writes under one
        # holds that too, so that no claim comes between the check and the write.
        leased = nullcontext() if lease is None else lock.exclusive(path, timeout_s=self._lock_timeout_s)
        with leased:
            for _ in range(_REPAIRS):
                with log.writing(path, timeout_s=self._lock_timeout_s, durability=self._durability) as turn:
                    json_leases.check(path, lease)
                    try:
                        return write(turn, self._view(turn, path, key))
                    except DamagedLogError as error:
                        damage = str(error)
                        jsonl_repair.repair(turn, path, key, damage)
        raise jsonl_repair.corrupt(path, damage)

    def _view(self, turn: log.writing, path: str, key: SessionKey) -> LogView:
        """Return the log to write to, in its turn: as it stands at its last mark, or new."""
        view, rest = jsonl_log.view_of(path, turn.held, turn.size_bytes)
        if jsonl_log.checked(view, rest):
            view.check_id(key)
        return view

    def _write_anew(
        self, turn: log.writing, view: LogView, key: SessionKey, added: list[bytes], policy: Policy, updated_at: str
    ) -> None:
        session, window, archive = view.whole()
        lines, archived = ([entry.line + b"\n" for entry in part] for part in (window, archive))
        turn.replace(jsonl_plan.anew(
            session, lines + added, archived, policy, updated_at, session.revision + 1, key.namespace))

    def _compact(self, turn: log.writing, path: str, key: SessionKey) -> None:
        """Write a log without what is dead in it. What was appended is stored; a failure here only leaves it long."""
        try:
            view, _rest = jsonl_log.view_of(path, turn.held, turn.size_bytes)
            session, window, archive = view.whole()
            lines, archived = ([entry.line + b"\n" for entry in part] for part in (window, archive))
            turn.replace(jsonl_plan.anew(
                session, lines, archived, _KEEP, session.updated_at, session.revision, key.namespace))
        except OutcomeUnknownError:
            raise  # the log's name may go back to the old file, and what is appended from now on with the new one
        except (DamagedLogError, StoreReadError, StoreWriteError) as error:
            logger.warning("%s could not be written anew and stays as long as it is: %s", path, error)
