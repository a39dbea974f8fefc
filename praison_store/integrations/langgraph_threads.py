"""
Threads of LangGraph as sessions: a list of checkpoints for each thread, and what each of them holds apart.

Shape: a thread is one session, whose records name its checkpoints in the order they were put. What a checkpoint holds
(its state, its metadata, the writes that follow it) is a session of its own, written before the thread names it. So a
step writes one state and a window of short names, however long the thread; and the name is what makes a state visible.
Considered and not taken: states in the thread's own session; a window of a hundred states is written with each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ..errors import RevisionConflictError
from ..model.message import Record, SessionMessage, records_of
from ..model.session import SessionData
from ..model.session_id import SessionKey, key_of
from ..retention import policy_named
from ..store import DefaultSessionStore
from .transcript import Transcript, store_or_default

NAMESPACE = "praison_store:langgraph"  # no user's name: those of the manager are its own
_FIELD = "langgraph"
_NAMES, _KEEP_ALL = policy_named("archive", 100), policy_named("keep_all", 1)


class Entry(NamedTuple):
    """
    A checkpoint as its thread names it.

    Shape: `loaded` is the checkpoint its run began with; `merged` tells that it holds another run's messages too;
    `metadata` is serialised.
    """

    ns: str
    checkpoint_id: str
    parent: str | None
    loaded: str | None
    merged: bool
    metadata: Sequence[str]

    @classmethod
    def of(cls, record: Record) -> Entry:
        """Return the entry of a record."""
        told = record[_FIELD]
        return cls(told["ns"], record["content"], told["parent"], told["loaded"], told["merged"], told["metadata"])

    def record(self) -> Record:
        """Return the record of an entry."""
        told = self._asdict()
        return {"role": "checkpoint", "content": told.pop("checkpoint_id"), "message_id": self.place, _FIELD: told}

    @property
    def place(self) -> str:
        """Name the session of what the checkpoint holds: another one for every pair of namespace and id."""
        name = self.checkpoint_id.replace("%", "%25").replace(":", "%3A")
        return f"{name}:{self.ns}" if self.ns else name


class Held(NamedTuple):
    """What a checkpoint holds, serialised: `state` has `checkpoint`, `metadata`, `parent`, `loaded` and `raw`."""

    state: Record
    writes: list[Record]


class Threads:
    """
    The threads of a store.

    Promise: a thread's order is the order of commits, whatever the clocks of the processes; `commit` succeeds only
    where nothing was committed since the list it was decided by.
    """

    def __init__(self, store: DefaultSessionStore | None) -> None:
        self._store = store_or_default(store)
        self._engine = self._store.engine

    # ---- the list of a thread ---------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the ids of all threads. Cost: one look at each."""
        return [info.session_id for info in self._engine.find(namespace=NAMESPACE)]

    def entries(self, thread: str) -> list[Entry]:
        """Return every checkpoint of a thread, the last one put last."""
        whole = self._engine.whole(_key(thread))
        return [] if whole is None else _entries(whole[0].transcript(whole[1])[0])

    def newest(self, thread: str, ns: str, place: str | None = None) -> tuple[int, list[Entry]]:
        """
        Return the revision of a thread, and checkpoints of a namespace, the last one put first.

        Args:
            place: where the checkpoint is that is put again; only those in front of it are returned.
        Returns:
            At least the newest, where there is one. Cost: reads the window, and the whole list where it has none.
        """
        session = self._engine.read(_key(thread), None)
        if session is None:
            return 0, []
        found = _of(ns, _entries(message.to_dict() for message in session.messages), place)
        if found:
            return session.revision, found
        whole = self._engine.whole(_key(thread))
        if whole is None:
            return 0, []
        return whole[0].revision, _of(ns, _entries(whole[0].transcript(whole[1])[0]), place)

    def commit(self, thread: str, entry: Entry, revision: int) -> bool:
        """Name a checkpoint, in the place it has or behind all others; False where another was named meanwhile."""
        now_s = time.time()
        [record] = records_of([entry.record()], now_s)
        change = partial(_named, message=SessionMessage.from_dict(record))
        try:
            self._engine.update(_key(thread), change, now_s=now_s, policy=_NAMES, expected_revision=revision)
        except RevisionConflictError:
            return False
        return True

    def add(self, thread: str, entries: Sequence[Entry]) -> None:
        """Name checkpoints behind all others, in one write; those that are named already stay where they are."""
        now_s = time.time()
        records = records_of([entry.record() for entry in entries], now_s)
        if records:
            self._engine.append(_key(thread), records, now_s=now_s, policy=_NAMES)

    def forget(self, thread: str, gone: Callable[[list[Entry]], Iterable[Entry]]) -> None:
        """Take checkpoints from a thread, all in one step, then what they hold."""
        places: set[str] = set()

        def shortened(records: list[Record]) -> list[Record] | None:
            places.clear()
            places.update(entry.place for entry in gone(_entries(records)))
            return [record for record in records if record["message_id"] not in places] if places else None

        Transcript(_key(thread), self._store, keeps_all=True).change(shortened)
        for place in places:
            self._engine.delete(_held_key(thread, place))

    def delete(self, thread: str) -> None:
        """Forget a thread in one step, then everything its checkpoints hold, also what was never named."""
        self._engine.delete(_key(thread))
        for info in list(self._engine.find(namespace=_held_key(thread, "-").namespace)):
            self._engine.delete(_held_key(thread, info.session_id))

    # ---- what a checkpoint holds ------------------------------------------------------------------------------

    def holds(self, thread: str, place: str) -> bool:
        """Tell whether something is held in a place."""
        return self._engine.exists(_held_key(thread, place))

    def held(self, thread: str, place: str) -> Held | None:
        """Return what a checkpoint holds; None where there is no such checkpoint."""
        session = self._engine.read(_held_key(thread, place), None)
        states: list[Record] = []
        writes: list[Record] = []
        for message in session.messages if session else ():
            (states if message.role == "checkpoint" else writes).append(message.extra[_FIELD])
        return Held(states[-1], writes) if states else None

    def hold(self, thread: str, place: str, state: Record) -> None:
        """Keep a checkpoint's state; the writes that came before it stay."""
        now_s = time.time()
        [record] = records_of([{"role": "checkpoint", "content": None, _FIELD: state}], now_s)
        change = partial(_stated, message=SessionMessage.from_dict(record))
        self._engine.update(_held_key(thread, place), change, now_s=now_s, policy=_KEEP_ALL)

    def write(self, thread: str, place: str, writes: Sequence[Record]) -> None:
        """Add writes to a checkpoint, all in one write; one that has its index already stays, a special one is new."""
        now_s = time.time()
        records = [{"role": "write", "content": None, _FIELD: write} for write in writes]
        for record, write in zip(records, writes, strict=True):
            if write["idx"] >= 0:
                record["message_id"] = f"{write['idx']}:{write['task_id']}"
        if records:
            self._engine.append(_held_key(thread, place), records_of(records, now_s), now_s=now_s, policy=_KEEP_ALL)

    def copy(self, thread: str, target: str, place: str) -> bool:
        """Copy what a checkpoint holds to another thread, which keeps its own; False where there is nothing to copy."""
        session = self._engine.read(_held_key(thread, place), None)
        if session is None:
            return False
        change = partial(_copied, messages=session.messages)
        self._engine.update(_held_key(target, place), change, now_s=time.time(), policy=_KEEP_ALL)
        return True


def _key(thread: str) -> SessionKey:
    return SessionKey(key_of(thread).session_id, NAMESPACE)


def _held_key(thread: str, place: str) -> SessionKey:
    return SessionKey(place, f"{NAMESPACE}/{thread}")


def _entries(records: Iterable[Record]) -> list[Entry]:
    # By place: a checkpoint put again after its name had left for the archive is named twice.
    return list({entry.place: entry for entry in map(Entry.of, records)}.values())


def _of(ns: str, entries: Iterable[Entry], place: str | None) -> list[Entry]:
    def in_front() -> Iterator[Entry]:
        for entry in entries:
            if entry.place == place:
                return
            if entry.ns == ns:
                yield entry

    return list(in_front())[::-1]


def _named(session: SessionData, message: SessionMessage) -> None:
    for at, there in enumerate(session.messages):
        if there.message_id == message.message_id:
            session.messages[at] = message
            return
    session.messages.append(message)


def _stated(session: SessionData, message: SessionMessage) -> None:
    session.messages = [*(there for there in session.messages if there.role != "checkpoint"), message]


def _copied(session: SessionData, messages: Sequence[SessionMessage]) -> bool:
    if any(there.role == "checkpoint" for there in session.messages):
        return False  # copied before, and the thread went on from it since
    written = {there.message_id for there in session.messages if there.message_id is not None}
    session.messages += [message for message in messages if message.message_id not in written]
    return True
