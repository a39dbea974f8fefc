"""The default engine: each session one JSON file in a directory, shared by any number of processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ..codec import document, lines, values
from ..codec.lines import LineFile, Splice
from ..disk import archive_log, atomic, files, lock, seam
from ..errors import SessionStoreError
from ..model.exchanges import newest_window
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record, llm_message
from ..model.selection import OrderBy, selected
from ..model.session import SessionData, SessionInfo, iso_utc
from ..model.session_id import SessionKey, file_stem
from ..retention import Policy
from . import json_check, json_directory, json_leases, json_repair, json_repeats, json_window
from .cache import Entry, SessionCache, newest_of, plain_of
from .contract import Capabilities, Change
from .refusals import check_revision

T = TypeVar("T")
Whole = tuple[SessionData, list[Record]]
logger = logging.getLogger("praison_store")
_SNAPSHOT_TRIES = 5


class JsonFilesEngine:
    """
    Sessions as files `<id>.json` in one directory.

    Args:
        directory: made if it is missing, for the owner alone.
        lock_timeout_s: 0 or more seconds a write waits for its turn.
        durability: `full`, `ordered` or `process`; see `disk.atomic.replace_bytes`.
    Raises:
        StoreWriteError: The directory cannot be made.
    Promise: readers take no lock; writers of one session take turns; a file of another layout is read whole and
    comes back in ours with the next write.
    """

    capabilities = Capabilities("json_files")

    def __init__(self, directory: str, *, lock_timeout_s: float = 5.0, durability: str = "full") -> None:
        self.directory = os.path.abspath(directory)
        files.make_directory(self.directory)
        seam.prepare()
        self._lock_timeout_s = lock_timeout_s
        self._durability = durability
        self._cache = SessionCache()
        self._leases = json_leases.LeaseFiles(lock_timeout_s, durability)

    # ---- reading ---------------------------------------------------------------------------------------------

    def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Return the newest messages as a model API takes them; see `Engine.history`."""
        path = self._path(key)
        signature = self._signature(path, key)
        if signature is None:
            return []
        if self._cache.is_first_sight(path, signature):
            fresh = self._glimpsed(path, key, newest)
            if fresh is not None:
                return fresh
        entry = self._cache.get(path, signature) or self._read(path, key, locked=False)
        if entry is None:
            return []
        with self._cache.mutex:
            plain = entry.plain_window(newest)
        return self._decoded_history(path, key, entry, newest) if plain is None else [one.copy() for one in plain]

    def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Return a session with its newest messages; see `Engine.read`."""
        path = self._path(key)
        entry = self._current(path, key)
        if entry is None:
            return None
        session = self._decoded(path, key, entry, document.session_of)
        return session.newest(newest) if newest else session

    def whole(self, key: SessionKey) -> Whole | None:
        """
        Return a session with all its messages and its archive; see `Engine.whole`.

        An archive another store keeps inside the file comes last: ours takes it over with each move. Ours is the
        session's as long as its file is the same, so both are read again where it is not, at last in one's own turn.
        """
        path = self._path(key)
        for _ in range(_SNAPSHOT_TRIES):
            before = files.signature_of(path)
            found, lacks = self._whole_now(path, key, locked=False)
            if files.signature_of(path) == before:
                break
        else:
            with lock.exclusive(path, timeout_s=self._lock_timeout_s):
                found, lacks = self._whole_now(path, key, locked=True)
        if lacks:
            logger.warning("%s: the archive lacks %d bytes, %d lines in it are damaged", path, *lacks)
        return found

    def exists(self, key: SessionKey) -> bool:
        """Tell whether the session has a file of its own."""
        return self._current(self._path(key), key) is not None

    # ---- writing: one turn each -------------------------------------------------------------------------------

    def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Store messages behind those that are there; the hot path. See `Engine.append`."""
        path = self._path(key)                                                      # model/session_id
        added = document.encode_all(messages)                                       # codec
        with lock.exclusive(path, timeout_s=self._lock_timeout_s):                  # disk
            json_leases.check(path, lease)
            entry = self._load(path, key, now_s)                                    # codec
            check_revision(key, entry.file.revision, least=least_revision)
            if any("message_id" in message for message in messages):
                added, messages = json_repeats.not_stored(path, entry.file, added, messages)
                if not added:
                    return entry.file.revision
            entry, splice = self._cut(path, key, entry, added, policy, now_s)       # retention
            self._write(path, entry, splice, policy, messages)                      # disk
            return splice.file.revision

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Read, change and write a session in one turn; see `Engine.update`."""
        path = self._path(key)                                                      # model/session_id
        with lock.exclusive(path, timeout_s=self._lock_timeout_s) as turn:          # disk
            json_leases.check(path, lease)
            file, session = self._session(path, key, now_s)                         # codec
            check_revision(key, session.revision, expected=expected_revision)
            before, past = list(session.messages), session.past(policy.window_messages)
            session.updated_at, updated_at = "", session.updated_at
            if change(session) is False:                                            # store
                session.updated_at = updated_at
                return session
            turn.check()
            session.updated_at = session.updated_at or iso_utc(now_s)  # an import brings its own
            archived_bytes = file.archived_bytes if keep_archive else 0
            changed = document.changed_file(session, file, before, archived_bytes=archived_bytes)
            if keep_archive:
                splice = json_window.splice_of(changed, [], policy, changed.updated_at)  # retention
                kept = set(map(id, session.messages))
                splice.past += document.lines_of(file, before, [m for m in past if id(m) not in kept])
            else:
                # Nothing may leave in this write: the archive is still the old session's until the file is replaced.
                splice = Splice(changed, 0, 0, [], changed.updated_at)
            self._write(path, Entry(changed), splice, policy, [])                   # disk
            if not keep_archive:
                if self._durability == "ordered":
                    atomic.flush_names(path)  # or the old session comes back after a loss of power, without its archive
                archive_log.remove(archive_log.path_of(path))
            session.revision = splice.file.revision
            return session

    def delete(self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None) -> bool:
        """
        Remove a session's file, durably, then its archive; see `Engine.delete`.

        Raises CorruptSessionError where the file is damaged; it was not removed.
        """
        path = self._path(key)
        if lease is None and files.signature_of(path) is None:
            return False
        with lock.exclusive(path, timeout_s=self._lock_timeout_s):
            json_leases.check(path, lease)
            if (entry := self._current(path, key, locked=True)) is None:
                return False
            check_revision(key, entry.file.revision, expected=expected_revision)
            self._cache.drop(path)
            atomic.remove(path)
            if self._durability != "process":
                atomic.flush_names(path)
            archive_log.remove(archive_log.path_of(path))
            return True

    # ---- the directory ----------------------------------------------------------------------------------------

    def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> Iterator[SessionInfo]:
        """Yield sessions; see `Engine.find`. Cost: without filters and order, one read of each header returned."""
        infos = json_directory.newest_first(json_directory.directories(self.directory, namespace))
        return selected(((info.record(), info) for info in infos), filters, order_by, limit, offset)

    def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> Iterator[tuple[SessionData, list[Record]]]:
        """Yield sessions that may hold one of the terms; see `Engine.search`."""
        for key in json_directory.keys_with(json_directory.directories(self.directory, namespace), terms):
            try:
                found = self.whole(key)
            except SessionStoreError as error:
                logger.warning("%r was left out: %s", key.session_id, error)
                continue
            if found is not None:
                yield found

    def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Return how many sessions match; without filters, how many files there are."""
        if filters is not None:
            return sum(1 for _ in self.find(filters=filters, namespace=namespace))
        places = json_directory.directories(self.directory, namespace)
        return sum(1 for place in places for _ in json_directory.session_files(place))

    def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Take the lease on a session; see `Engine.claim`."""
        return self._leases.claim(self._path(key), key, owner, ttl_s)

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease longer; see `Engine.renew`."""
        return self._leases.renew(self._path(lease.key), lease, ttl_s)

    def release(self, lease: Lease) -> bool:
        """Give a lease back; see `Engine.release`."""
        return self._leases.release(self._path(lease.key), lease)

    def check(self, repair: bool) -> json_check.CheckReport:
        """Tell what is wrong in the directory; see `json_check.check`."""
        report = json_check.check(self.directory, self._lock_timeout_s, repair)
        self._cache.clear()
        return report

    def vacuum(self) -> json_check.VacuumReport:
        """Remove what nobody needs; see `json_check.vacuum`."""
        return json_check.vacuum(self.directory)

    def invalidate(self, key: SessionKey | None = None) -> None:
        """Forget what is cached of one session, or of all."""
        if key is None:
            self._cache.clear()
        else:
            self._cache.drop(self._path(key))

    def close(self) -> None:
        """Give back the cache's descriptors; the engine may be used again."""
        self._cache.clear()

    # ---- the steps --------------------------------------------------------------------------------------------

    def _path(self, key: SessionKey) -> str:
        return f"{json_directory.directory_of(self.directory, key.namespace)}/{file_stem(key.session_id)}.json"

    def _current(self, path: str, key: SessionKey, *, locked: bool = False) -> Entry | None:
        """Return the session as its file stands now: from the cache where the file is proven unchanged (D10)."""
        signature = self._signature(path, key)
        if signature is None:
            return None
        return self._cache.get(path, signature) or self._read(path, key, locked=locked)

    def _signature(self, path: str, key: SessionKey) -> files.Signature | None:
        signature = files.signature_of(path)
        if signature is None:
            self._cache.drop(path)
            json_directory.warn_of_twin(path, key.session_id)
        return signature

    def _glimpsed(self, path: str, key: SessionKey, newest: int | None) -> list[Record] | None:
        """Return the history of a file that is not worth keeping yet; None where it needs a closer look."""
        opened = files.open_to_read(path)
        if opened is None:
            return None
        held, state = opened
        try:
            seen = document.at_a_glance(files.read_all(held, path, state.st_size), key.session_id)
        finally:
            held.close()
        plain = seen and plain_of(seen[0])
        return newest_of(plain, newest, seen[1]) if seen and plain is not None else None

    def _decoded_history(self, path: str, key: SessionKey, entry: Entry, newest: int | None) -> list[Record]:
        records, file = self._decoded(path, key, entry, lambda file: (file.records(), file))
        with self._cache.mutex:
            if entry.file.revision == file.revision:
                entry.plain = plain_of(records)
        leading, start = newest_window(records, newest, file.leading) if newest else (0, 0)
        return [llm_message(record) for record in records[:leading] + records[start:]]

    def _read(self, path: str, key: SessionKey, *, locked: bool) -> Entry | None:
        opened = files.open_to_read(path)
        if opened is None:
            return None
        held, state = opened
        try:
            raw = files.read_all(held, path, state.st_size)
            file = lines.parse(raw) or json_repair.other_layout(path, raw, key, self._cache.last_revision(path))
            if file is not None and file.id_json != values.dumps(key.session_id):
                json_repair.refuse_other_id(path, key, file)
                file = None
        except BaseException:
            held.close()
            raise
        if file is None:
            held.close()
            return self._repaired(path, key, locked=locked)
        if not files.CAN_HOLD:
            return Entry(file)
        entry = Entry(file, held, files.signature(state))
        self._cache.put(path, entry)
        return entry

    def _load(self, path: str, key: SessionKey, now_s: float) -> Entry:
        """Return the session to write to, under its lock: as it stands, or new with revision 0."""
        return self._current(path, key, locked=True) or _new_entry(key, now_s)

    def _session(self, path: str, key: SessionKey, now_s: float) -> tuple[LineFile, SessionData]:
        """Return the session to change, under its lock, with the lines it was decoded from."""
        entry = self._load(path, key, now_s)
        return self._decoded(path, key, entry, lambda file: (file, document.session_of(file)), locked=True)

    def _cut(
        self, path: str, key: SessionKey, entry: Entry, added: list[bytes], policy: Policy, now_s: float
    ) -> tuple[Entry, Splice]:
        """Decide which messages leave; a damaged one among them is repaired first."""
        now = iso_utc(now_s).encode()
        try:
            return entry, json_window.splice_of(entry.file, added, policy, now)
        except ValueError:
            entry = self._repaired(path, key, locked=True) or _new_entry(key, now_s)
            return entry, json_window.splice_of(entry.file, added, policy, now)

    def _decoded(
        self, path: str, key: SessionKey, entry: Entry, decode: Callable[[LineFile], T], *, locked: bool = False
    ) -> T:
        """Decode a session; a damaged line in it is repaired first. The mutex is never held while decoding."""
        with self._cache.mutex:
            file = entry.file if locked else entry.file.copy()
        try:
            return decode(file)
        except ValueError:
            return decode((self._repaired(path, key, locked=locked) or _new_entry(key, 0.0)).file)

    def _whole_now(self, path: str, key: SessionKey, *, locked: bool) -> tuple[Whole | None, tuple[int, int] | None]:
        """Return the session and its archive as they stand, and how many bytes and lines the archive lacks."""
        entry = self._current(path, key, locked=locked)
        if entry is None:
            return None, None
        session, inside, committed_bytes = self._decoded(path, key, entry, document.whole_of, locked=locked)
        raw = archive_log.read(archive_log.path_of(path), committed_bytes)
        archived, damaged = document.archived_records(raw)
        missing = committed_bytes - len(raw)
        return (session, [*archived, *inside]), (missing, damaged) if damaged or missing > 0 else None

    def _repaired(self, path: str, key: SessionKey, *, locked: bool) -> Entry | None:
        self._cache.drop(path)
        return json_repair.repaired(path, key, locked=locked)

    def _write(
        self, path: str, entry: Entry, splice: Splice, policy: Policy, fresh: Sequence[Record]
    ) -> None:
        """Store a splice: what leaves goes into the archive first, then the new file takes the old one's place."""
        durability = self._durability
        try:
            if policy.archives and (splice.start or splice.past) and (removed := splice.removed()):
                splice.archived_bytes = archive_log.append(
                    archive_log.path_of(path), removed, splice.archived_bytes,
                    title=document.archive_title(splice.file), durability=durability,
                )
            chunks = splice.chunks()
            held, signature = atomic.replace_bytes(path, chunks, durability=durability)
            del chunks
            with self._cache.mutex:
                if entry.file is splice.file:
                    entry.follow(splice.leading, splice.start, fresh)
                else:
                    entry.plain = None
                splice.commit()
                entry.file = splice.file
                if files.CAN_HOLD:
                    entry.held, entry.signature = held, signature
                    self._cache.put(path, entry)
        except BaseException:
            # Whether the file is the old one or the new one, only the disk can tell now (D10).
            self._cache.drop(path)
            raise


def _new_entry(key: SessionKey, now_s: float) -> Entry:
    now = iso_utc(now_s)
    return Entry(lines.build({"session_id": key.session_id, "created_at": now, "updated_at": now}, []))
