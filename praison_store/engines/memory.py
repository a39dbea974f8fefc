"""Sessions in this process's memory: for tests, for scripts, and for what need not outlive the program."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..codec import values
from ..disk import seam
from ..model import lease as leases
from ..model import portable
from ..model.filters import Filter
from ..model.lease import Lease, LeaseRow
from ..model.message import Record, SessionMessage, llm_message
from ..model.selection import OrderBy, selected
from ..model.session import SessionData, SessionInfo, iso_utc
from ..model.session_id import SessionKey, file_stem
from ..retention import Policy
from .contract import Capabilities, Change
from .forks import renew_in_child
from .refusals import check_revision

logger = logging.getLogger("praison_store")


@dataclass
class _Kept:
    """A session as it is kept: with its archive, the ids of both, and how long they are as JSON."""

    session: SessionData
    archive: list[Record] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    size_bytes: int = 0

    def count_anew(self) -> None:
        """Collect the ids and the size of all messages."""
        records = [message.to_dict() for message in self.session.messages] + self.archive
        self.ids = {record["message_id"] for record in records if record.get("message_id") is not None}
        self.size_bytes = sum(map(_size_bytes, records))

    def of_id(self, message_id: str) -> Record | None:
        """Return the message of an id."""
        records = [*self.archive, *(message.to_dict() for message in self.session.messages)]
        return next((record for record in records if record.get("message_id") == message_id), None)


class MemoryEngine:
    """
    Sessions in a dict, gone with the process.

    Promise: usable from any number of threads; what comes in and what goes out are copies; a lease ends by a clock
    that nobody sets.
    """

    capabilities = Capabilities("memory", durable=False, shared=False, constant_append=True)

    def __init__(self) -> None:
        self._mutex = threading.RLock()
        self._kept: dict[SessionKey, _Kept] = {}  # the most recently written last
        self._leases: dict[SessionKey, LeaseRow] = {}
        # Leases tell their end in seconds since 1970, but a clock that is set must neither end nor prolong one.
        self._epoch_s = seam.time() - seam.monotonic()
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Take a new mutex in a forked child, which must not share one that another thread may have held."""
        self._mutex = threading.RLock()

    # ---- reading ---------------------------------------------------------------------------------------------

    def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Return the newest messages as a model API takes them; see `Engine.history`."""
        with self._mutex:
            kept = self._kept.get(_checked(key))
            if kept is None:
                return []
            session = kept.session.newest(newest) if newest else kept.session
            return [copy.deepcopy(llm_message(message.to_dict())) for message in session.messages]

    def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Return a session with its newest messages; see `Engine.read`."""
        with self._mutex:
            kept = self._kept.get(_checked(key))
            if kept is None:
                return None
            return copy.deepcopy(kept.session.newest(newest) if newest else kept.session)

    def exists(self, key: SessionKey) -> bool:
        """Tell whether the session is there."""
        with self._mutex:
            return _checked(key) in self._kept

    def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Return a session with all its messages, and its archive; see `Engine.whole`."""
        with self._mutex:
            kept = self._kept.get(_checked(key))
            return None if kept is None else copy.deepcopy((kept.session, kept.archive))

    # ---- writing ---------------------------------------------------------------------------------------------

    def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Store messages whose id is not there yet; see `Engine.append`."""
        added = copy.deepcopy(list(messages))
        size_bytes = sum(len(values.dumps(record)) for record in added)  # refuses what no file could hold
        with self._mutex:
            kept = self._held(key, lease)
            known = kept is not None
            kept = kept or _Kept(_new_session(key, now_s))
            check_revision(key, kept.session.revision, least=least_revision)
            fresh = _not_stored(kept, added, key)
            if added and not fresh:
                return kept.session.revision
            if not known:
                self._kept[key] = kept
            kept.session.messages += map(SessionMessage.from_dict, fresh)
            kept.size_bytes += size_bytes
            kept.ids |= {record["message_id"] for record in fresh if record.get("message_id") is not None}
            if len(fresh) < len(added):
                kept.count_anew()
            kept.session.updated_at = iso_utc(now_s)
            self._cut(kept, policy)
            return self._written(key, kept)

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Read, change and write a session in one turn; see `Engine.update`."""
        with self._mutex:
            before = self._held(key, lease)
            session = copy.deepcopy(before.session) if before else _new_session(key, now_s)
            check_revision(key, session.revision, expected=expected_revision)
            revision, past = session.revision, session.past(policy.window_messages)
            past_records = [copy.deepcopy(message.to_dict()) for message in past]
            session.updated_at, updated_at = "", session.updated_at
            if change(session) is False:
                session.updated_at = updated_at
                return session
            session.updated_at = session.updated_at or iso_utc(now_s)  # an import brings its own
            session.revision = max(session.revision, revision)
            after = _Kept(copy.deepcopy(session), list(before.archive) if before and keep_archive else [])
            if keep_archive and policy.archives:
                here = set(map(id, session.messages))
                gone = [record for message, record in zip(past, past_records, strict=True) if id(message) not in here]
                after.archive += gone
            after.archive += portable.taken_archive(after.session)
            after.count_anew()
            self._cut(after, policy)
            self._written(key, after)
            return copy.deepcopy(after.session)

    def delete(self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None) -> bool:
        """Forget a session; see `Engine.delete`."""
        with self._mutex:
            kept = self._held(key, lease)
            if kept is not None:
                check_revision(key, kept.session.revision, expected=expected_revision)
            return self._kept.pop(key, None) is not None

    # ---- all sessions ----------------------------------------------------------------------------------------

    def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> Iterator[SessionInfo]:
        """Yield sessions; see `Engine.find`."""
        with self._mutex:
            infos = [self._info(key) for key in reversed(self._keys(namespace))]
        return selected(((info.record(), info) for info in infos), filters, order_by, limit, offset)

    def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> Iterator[tuple[SessionData, list[Record]]]:
        """Yield sessions that may hold one of the terms; see `Engine.search`."""
        needles = [values.dumps_extended(term)[1:-1].decode() for term in terms]
        for key in self._keys(namespace):
            found = self.whole(key)
            if found is not None:
                text = values.dumps_extended([found[0].to_dict(), found[1]]).decode().lower()
                if any(needle in text for needle in needles):
                    yield found

    def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Return how many sessions match; see `Engine.count`."""
        if filters is None:
            return len(self._keys(namespace))
        return sum(1 for _ in self.find(filters=filters, namespace=namespace))

    # ---- leases ----------------------------------------------------------------------------------------------

    def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Take the lease on a session; see `Engine.claim`."""
        with self._mutex:
            row = leases.claimed(self._leases.get(_checked(key), LeaseRow()), owner, ttl_s, self._now_s())
            return None if row is None else self._leased(key, row)

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease longer; see `Engine.renew`."""
        with self._mutex:
            row = leases.renewed(self._leases.get(lease.key, LeaseRow()), lease, ttl_s, self._now_s())
            return self._leased(lease.key, row)

    def release(self, lease: Lease) -> bool:
        """Give a lease back; see `Engine.release`."""
        with self._mutex:
            row = leases.released(self._leases.get(lease.key, LeaseRow()), lease)
            return row is not None and bool(self._leased(lease.key, row))

    def close(self) -> None:
        """Do nothing: what is kept ends with the engine."""

    # ---- the steps -------------------------------------------------------------------------------------------

    def _now_s(self) -> float:
        return self._epoch_s + seam.monotonic()

    def _held(self, key: SessionKey, lease: Lease | None) -> _Kept | None:
        _checked(key)
        if lease is not None:
            leases.check(self._leases.get(key, LeaseRow()), lease)
        return self._kept.get(key)

    def _leased(self, key: SessionKey, row: LeaseRow) -> Lease:
        self._leases[key] = row
        return Lease(key, row.owner or "", row.generation, row.expires_at_s)

    def _cut(self, kept: _Kept, policy: Policy) -> None:
        session = kept.session
        if not policy.overflows(len(session.messages)):
            return
        records = [message.to_dict() for message in session.messages]
        leading, start = policy.cut(records, session.leading_messages)
        if start == leading:
            return
        if policy.archives:
            kept.archive += records[leading:start]
        del session.messages[leading:start]
        session.leading_messages = leading
        if session.last_compaction is not None:
            session.last_compaction = session.last_compaction.after_cut(leading, start)
        if not policy.archives:
            kept.count_anew()

    def _written(self, key: SessionKey, kept: _Kept) -> int:
        self._kept.pop(key, None)
        self._kept[key] = kept
        kept.session.revision += 1
        return kept.session.revision

    def _keys(self, namespace: str | None) -> list[SessionKey]:
        if namespace:
            file_stem(namespace)
        with self._mutex:
            return [key for key in self._kept if namespace is None or key.namespace == namespace]

    def _info(self, key: SessionKey) -> SessionInfo:
        kept = self._kept[key]
        header = copy.deepcopy(kept.session.header())
        return SessionInfo.from_header(header, len(kept.session.messages), kept.size_bytes, key.namespace)


def _checked(key: SessionKey) -> SessionKey:
    """Return a key that every engine could store. Raises InvalidSessionIdError."""
    file_stem(key.session_id)
    if key.namespace:
        file_stem(key.namespace)
    return key


def _new_session(key: SessionKey, now_s: float) -> SessionData:
    now = iso_utc(now_s)
    return SessionData(key.session_id, created_at=now, updated_at=now)


def _size_bytes(record: Record) -> int:
    return len(values.dumps_extended(record))


def _not_stored(kept: _Kept, added: list[Record], key: SessionKey) -> list[Record]:
    """Return the messages whose id is new; those without one all are."""
    fresh: dict[str, Record] = {}
    new: list[Record] = []
    for record in added:
        message_id = record.get("message_id")
        if message_id is not None:
            stored = fresh.get(message_id) or (kept.of_id(message_id) if message_id in kept.ids else None)
            if stored is not None:
                if llm_message(stored) != llm_message(record):
                    logger.warning(
                        "%r: message_id %r is taken by another message: not stored", key.session_id, message_id)
                continue
            fresh[message_id] = record
        new.append(record)
    return new
