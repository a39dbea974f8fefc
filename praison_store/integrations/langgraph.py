"""Threads of LangGraph: `graph.compile(checkpointer=PraisonSaver())`."""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ..aio.threads import in_thread
from ..errors import InvalidArgumentError, shown
from ..store import DefaultSessionStore
from .extras import missing_extra

try:
    from langgraph.checkpoint.base import (
        WRITES_IDX_MAP,
        BaseCheckpointSaver,
        Checkpoint,
        CheckpointTuple,
        get_checkpoint_metadata,
        writes_sort_key,
    )
except ModuleNotFoundError as error:
    raise missing_extra(error, "langgraph", "langgraph", "langchain_core") from error
from .langgraph_merge import merged_checkpoint
from .langgraph_threads import Entry, Held, Threads

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import ChannelVersions, CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol


class _LoadedId(str):
    """
    The id of a checkpoint as a run loaded it; `newest` tells whether it was its thread's newest then.

    LangGraph hands it back with the first checkpoint the run puts, and ids of its own with those that follow: so a
    run that goes on with the thread is told from one that goes back in time, and equal to any other text it is.
    """

    newest: bool

    def __new__(cls, checkpoint_id: str, newest: bool = False) -> _LoadedId:
        loaded = super().__new__(cls, checkpoint_id)
        loaded.newest = newest
        return loaded


class _Place(NamedTuple):
    """Where a config points; `checkpoint_id` as it came."""

    thread: str
    ns: str
    checkpoint_id: str | None

    def entry(self, checkpoint_id: str | None = None) -> Entry:
        return Entry(self.ns, str.__str__(checkpoint_id or self.checkpoint_id or ""), None, None, False, [])


class PraisonSaver(BaseCheckpointSaver[str]):
    """
    Checkpoints of LangGraph, usable where its SqliteSaver is.

    Promise: what was put comes back as it was, for every process, from the moment `put` returns. When several runs
    continue one thread at once, its newest checkpoint holds the messages of all of them, where LangGraph's own savers
    keep those of the last: each channel that is a list of messages with ids is merged, by id, into what the thread has
    by then. What one run deleted stays deleted; what one run added stays together and in order.
    Args:
        store: any store; None is the JSON files of this process.
        serde: LangGraph's; it may encrypt.
        merge: names of the channels to merge, none for a saver that is like LangGraph's own; None is every list of
            messages, apart from LangGraph's internal channels.
    Raises:
        InvalidArgumentError: A store or names that cannot be meant.
    Errors: SessionStoreError where a call could not do its work; nothing was put.
    Shape: checkpoints are listed in the order they were put, which is that of their ids while one run puts them.
    Not promised: other channels, messages without ids and DeltaChannel are those of the run that put last, and so are
    tasks and interrupts that wait. A run that began at a checkpoint with later ones is a fork, and its first checkpoint
    is stored as it is. A merged channel keeps the version its run gave it, so that nothing runs twice for it.
    """

    def __init__(
        self, store: DefaultSessionStore | None = None, *, serde: SerializerProtocol | None = None,
        merge: Collection[str] | None = None,
    ) -> None:
        super().__init__(serde=serde)
        if isinstance(merge, str) or not isinstance(merge, (Collection, type(None))):
            raise InvalidArgumentError(f"merge is names of channels, not {shown(merge)}: pass a list, or None.")
        self._threads = Threads(store)
        self._merge = merge

    # ---- reading ----------------------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint a config names, the thread's newest where it names none; None where there is none."""
        place = _place(config)
        newest = self._threads.newest(place.thread, place.ns)[1]
        for entry in [place.entry()] if place.checkpoint_id else newest:
            held = self._threads.held(place.thread, entry.place)
            if held is not None:
                return self._told(place.thread, entry, held, newest[:1])
        return None

    def list(
        self, config: RunnableConfig | None, *, filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None, limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """
        Yield checkpoints, the last one put first; those of several threads by their ids.

        Args:
            config: a thread, and the namespace and checkpoint where it names them; None is every thread.
            filter: values the metadata has. before: a checkpoint, of any namespace; only smaller ids are listed.
        Cost: one read for each checkpoint yielded, and one of each thread's list.
        """
        asked = dict(config["configurable"]) if config else {}
        threads = [_place(config).thread] if config else self._threads.names()
        below = before["configurable"].get("checkpoint_id") if before else None
        rows = []
        for thread in threads:
            newest: dict[str, Entry] = {}
            for entry in reversed(self._threads.entries(thread)):
                rows.append((thread, entry, [newest.setdefault(entry.ns, entry)]))
        if config is None:
            rows.sort(key=lambda row: row[1].checkpoint_id, reverse=True)
        left = limit
        for thread, entry, head in rows:
            if left is not None and left <= 0:
                return
            if asked.get("checkpoint_ns") not in (None, entry.ns):
                continue
            if (asked.get("checkpoint_id") or entry.checkpoint_id) != entry.checkpoint_id:
                continue
            if (below and entry.checkpoint_id >= below) or not self._fits(entry, filter):
                continue
            held = self._threads.held(thread, entry.place)
            if held is not None:
                left = None if left is None else left - 1
                yield self._told(thread, entry, held, head)

    def get_next_version(self, current: str | None, channel: None) -> str:
        """Return a version behind another; two runs that count from the same one get different ones."""
        number = int(str(current).partition(".")[0]) + 1 if current is not None else 1
        return f"{number:032}.{random.randrange(10**16):016}"  # nosec B311 # no secret

    # ---- writing ----------------------------------------------------------------------------------------------

    def put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """
        Store a checkpoint as its thread's newest, with the messages other runs added meanwhile; return its config.

        Cost: writes the state and a window of names; where another run was faster, two states are read as well.
        """
        place = _place(config)
        told = self._dumped(get_checkpoint_metadata(config, metadata))
        entry = place.entry(checkpoint["id"])._replace(parent=_plain(place.checkpoint_id), metadata=told)
        fork = metadata.get("source") == "fork" or getattr(place.checkpoint_id, "newest", True) is False
        decided_on: Sequence[Entry] = ()
        kept: Entry | None = None
        while True:
            revision, front = self._threads.newest(place.thread, place.ns, entry.place)
            # A name without its state was deleted while it was put.
            if kept is None or decided_on != front[:1] or not self._threads.holds(place.thread, entry.place):
                kept, stored, raw = self._decided(place, entry, checkpoint, [] if fork else front)
                self._threads.hold(place.thread, entry.place, self._record(kept, stored, raw))
                decided_on = front[:1]
            if not self._threads.commit(place.thread, kept, revision):
                continue
            if self._threads.holds(place.thread, entry.place):
                return _config(place.thread, entry.ns, entry.checkpoint_id)

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "",
    ) -> None:
        """Store what a task wrote on its checkpoint, all of it in one write; a repeat is stored once."""
        place = _place(config)
        if not place.checkpoint_id:
            raise InvalidArgumentError("The config names no checkpoint_id: pass the one put() returned.")
        records = [
            {"task_id": str(task_id), "path": task_path, "idx": WRITES_IDX_MAP.get(channel, idx), "channel": channel,
             "value": self._dumped(value)}
            for idx, (channel, value) in enumerate(writes)
        ]
        self._threads.write(place.thread, place.entry().place, records)

    def delete_thread(self, thread_id: str) -> None:
        """Delete every checkpoint of a thread; from here on it is unknown."""
        self._threads.delete(str(thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints whose metadata has one of these runs. Cost: reads the list of every thread."""
        runs = set(_ids(run_ids, "run_ids"))
        for thread in self._threads.names() if runs else ():
            self._threads.forget(thread, lambda entries: [
                entry for entry in entries if self._loaded(entry.metadata).get("run_id") in runs])

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """
        Copy every checkpoint to another thread, behind those it has; it shows all of them or none.

        Shape: one that is there already stays, with what was written on it there.
        """
        source, target = str(source_thread_id), str(target_thread_id)
        if source != target:
            entries = self._threads.entries(source)
            self._threads.add(target, [one for one in entries if self._threads.copy(source, target, one.place)])

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """
        Delete what is no longer needed of threads.

        Args:
            strategy: `keep_latest` keeps the newest checkpoint of each namespace, and those a DeltaChannel of it is
                rebuilt from; `delete` keeps nothing.
        Raises:
            InvalidArgumentError: Another strategy. Nothing was deleted.
        """
        if strategy not in ("keep_latest", "delete"):
            raise InvalidArgumentError(f"strategy is 'keep_latest' or 'delete', not {shown(strategy)}: pass one.")
        for thread in map(str, _ids(thread_ids, "thread_ids")):
            if strategy == "delete":
                self._threads.delete(thread)
            else:
                self._threads.forget(thread, partial(self._past, thread))

    # ---- awaited ----------------------------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Await form of `get_tuple`; see there."""
        return await in_thread(self.get_tuple, config)

    async def alist(
        self, config: RunnableConfig | None, *, filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None, limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Await form of `list`, read at once; see there."""
        for told in await in_thread(lambda: [*self.list(config, filter=filter, before=before, limit=limit)]):
            yield told

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Await form of `put`; see there. A cancellation waits until it is stored."""
        return await in_thread(self.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "",
    ) -> None:
        """Await form of `put_writes`; see there. A cancellation waits until they are stored."""
        await in_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Await form of `delete_thread`; see there."""
        await in_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Await form of `delete_for_runs`; see there."""
        await in_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Await form of `copy_thread`; see there."""
        await in_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Await form of `prune`; see there."""
        await in_thread(self.prune, thread_ids, strategy=strategy)

    # ---- the steps --------------------------------------------------------------------------------------------

    def _decided(
        self, place: _Place, entry: Entry, checkpoint: Checkpoint, front: Sequence[Entry]
    ) -> tuple[Entry, Checkpoint, Mapping[str, Any] | None]:
        """
        Decide what is stored of a checkpoint.

        Args:
            front: what stands in front of it, the newest first.
        Returns:
            Its entry, the checkpoint as it will be read, and what its own run has in the channels where that differs.
        """
        parent, thread = place.checkpoint_id, place.thread
        begins = parent is None or isinstance(parent, _LoadedId)
        last = front[0] if front else None
        entry = entry._replace(loaded=_plain(parent))
        if last is None or (self._merge is not None and not self._merge) or (
            last.checkpoint_id == parent and (begins or not last.merged)
        ):
            if last is not None and not begins:
                entry = entry._replace(loaded=last.loaded)
            return entry, checkpoint, None
        before = self._threads.held(thread, place.entry().place) if parent else None
        base = self._values(before, raw=not begins)
        loaded = base
        if not begins:
            entry = entry._replace(loaded=before.state["loaded"] if before else None)
            first = self._threads.held(thread, place.entry(entry.loaded).place) if entry.loaded else None
            loaded = self._values(first, raw=False)
        theirs = next(filter(None, (self._threads.held(thread, one.place) for one in front)), None)
        if theirs is None:
            return entry, checkpoint, None
        # As it will be read, so that a message is compared with what is stored of it.
        ours: Checkpoint = self._loaded(self._dumped(checkpoint))
        both = merged_checkpoint(loaded, base, self._loaded(theirs.state["checkpoint"]), ours, self._merge)
        return (entry, checkpoint, None) if both is None else (entry._replace(merged=True), *both)

    def _record(self, entry: Entry, checkpoint: Checkpoint, raw: Mapping[str, Any] | None) -> dict[str, Any]:
        return {
            "checkpoint": self._dumped(checkpoint), "metadata": entry.metadata, "parent": entry.parent,
            "loaded": entry.loaded, "raw": None if raw is None else self._dumped(raw),
        }

    def _values(self, held: Held | None, *, raw: bool) -> dict[str, Any]:
        """Return the channels of a checkpoint as they are read, or as its own run knows them."""
        if held is None:
            return {}
        values: dict[str, Any] = self._loaded(held.state["checkpoint"])["channel_values"]
        if raw and held.state["raw"]:
            values = {**values, **self._loaded(held.state["raw"])}
        return {name: value for name, value in values.items() if value is not None}

    def _told(self, thread: str, entry: Entry, held: Held, newest: Sequence[Entry]) -> CheckpointTuple:
        state, is_newest = held.state, [entry.checkpoint_id] == [one.checkpoint_id for one in newest]
        # A special write may have come again, and the last one holds.
        writes = {(write["task_id"], write["idx"]): write for write in held.writes}
        order = sorted(writes.values(), key=lambda one: writes_sort_key(one["path"], one["task_id"], one["idx"]))
        return CheckpointTuple(
            _config(thread, entry.ns, _LoadedId(entry.checkpoint_id, is_newest)),
            self._loaded(state["checkpoint"]),
            self._loaded(state["metadata"]),
            _config(thread, entry.ns, _LoadedId(state["parent"])) if state["parent"] else None,
            [(one["task_id"], one["channel"], self._loaded(one["value"])) for one in order],
        )

    def _fits(self, entry: Entry, wanted: Mapping[str, Any] | None) -> bool:
        if not wanted:
            return True
        metadata = self._loaded(entry.metadata)
        return all(metadata.get(name) == value for name, value in wanted.items())

    def _past(self, thread: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Return the checkpoints behind the newest of each namespace that nothing is rebuilt from."""
        there = {entry.place: entry for entry in entries}
        kept = set()
        for newest in {entry.ns: entry for entry in entries}.values():
            entry: Entry | None = newest
            unknown = set(self._loaded(newest.metadata).get("counters_since_delta_snapshot") or ())
            while entry is not None:
                kept.add(entry.place)
                held = self._threads.held(thread, entry.place) if unknown else None
                unknown -= self._values(held, raw=False).keys()
                parent = entry._replace(checkpoint_id=entry.parent or "").place
                entry = there.get(parent) if unknown else None
        return [entry for entry in entries if entry.place not in kept]

    def _dumped(self, value: Any) -> Sequence[str]:
        kind, raw = self.serde.dumps_typed(value)
        return [kind, base64.b64encode(raw).decode("ascii")]

    def _loaded(self, dumped: Sequence[str]) -> Any:
        return self.serde.loads_typed((dumped[0], base64.b64decode(dumped[1])))


def _place(config: RunnableConfig) -> _Place:
    told = config.get("configurable") or {}
    if told.get("thread_id") is None:
        raise InvalidArgumentError(f"The config names no thread, only {shown(dict(told))}: add configurable.thread_id.")
    return _Place(str(told["thread_id"]), told.get("checkpoint_ns") or "", told.get("checkpoint_id") or None)


def _config(thread: str, ns: str, checkpoint_id: str) -> RunnableConfig:
    told = {"configurable": {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}
    return cast("RunnableConfig", told)


def _plain(checkpoint_id: str | None) -> str | None:
    return None if checkpoint_id is None else str.__str__(checkpoint_id)


def _ids(ids: Any, name: str) -> Sequence[str]:
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Collection):
        raise InvalidArgumentError(f"{name} is a list of ids, not {shown(ids)}: pass one.")
    return list(ids)
