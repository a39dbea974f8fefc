"""Bring the messages of two runs of one LangGraph thread together: by id, against what both started from. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import Checkpoint

Values = Mapping[str, Any]
_OF_THE_STATE = ("__root__", "__previous__")  # LangGraph's other names with underscores are of one run


def merged_checkpoint(
    loaded: Values, base: Values, theirs: Checkpoint, ours: Checkpoint, channels: Collection[str] | None
) -> tuple[Checkpoint, dict[str, Any]] | None:
    """
    Return a checkpoint with what another run said too; None where that adds and takes nothing.

    Args:
        loaded: the channels our run began with. base: as our run left them last, before what it puts now.
        theirs: the newest checkpoint of the thread. ours: the one to be put.
        channels: the names to merge; None is every list of messages with ids.
    Returns:
        The checkpoint, and of each channel that differs what our run itself has there, None for nothing.
    """
    own, other = ours["channel_values"], theirs["channel_values"]
    changed: dict[str, Any] = {}
    for name in sorted({*own, *other}):
        if (name.startswith("__") and name not in _OF_THE_STATE) or (channels is not None and name not in channels):
            continue
        sides = [values.get(name, []) for values in (loaded, base, other, own)]
        if not all(map(_are_messages, sides)):
            continue
        both = merged_messages(*sides)
        if both != own.get(name, []):
            changed[name] = both
    if not changed:
        return None
    told = cast("Checkpoint", {**ours, "channel_values": {**own, **changed}})
    for name in changed.keys() - ours["channel_versions"].keys():
        told = _with_version(told, theirs, name)
    return told, {name: own.get(name) for name in changed}


def merged_messages(
    loaded: list[BaseMessage], base: list[BaseMessage], theirs: list[BaseMessage], ours: list[BaseMessage]
) -> list[BaseMessage]:
    """
    Return what `theirs` becomes by the change from `base` to `ours`.

    Shape: what one side took away stays away; what ours says anew of a message holds; what ours adds comes behind
    theirs, but behind what the same run added before, so that a tool's result follows its call.
    """
    before, mine = {message.id: message for message in base}, {message.id: message for message in ours}
    added = mine.keys() - {message.id for message in loaded}
    both: list[BaseMessage] = []
    for message in theirs:
        said = mine.get(message.id)
        if said is not None:
            both.append(message if before.get(message.id) == said else said)
        elif message.id not in before:
            both.append(message)
    there = {message.id for message in theirs}
    for at, message in enumerate(ours):
        if message.id in there or message.id in before:
            continue
        ids = [one.id for one in both]
        previous = ours[at - 1].id if at else None
        following = next((one.id for one in ours[at + 1 :] if one.id not in added and one.id in ids), None)
        if previous in added and previous in ids:
            both.insert(ids.index(previous) + 1, message)
        else:
            both.insert(len(both) if following is None else ids.index(following), message)
    return both


def _are_messages(value: Any) -> bool:
    if type(value) is not list or not all(isinstance(item, BaseMessage) and item.id is not None for item in value):
        return False
    return len({item.id for item in value}) == len(value)


def _with_version(ours: Checkpoint, theirs: Checkpoint, name: str) -> Checkpoint:
    """Return ours with the version of a channel it never had, seen by whoever has seen it there."""
    versions = ours["channel_versions"]
    version: Any = theirs["channel_versions"].get(name)
    # LangGraph compares a checkpoint's versions with each other, and text does not compare with numbers.
    if version is None or any(isinstance(version, str) != isinstance(one, str) for one in versions.values()):
        version = max(cast("Any", versions.values()), default=1)
    seen = {node: dict(of) for node, of in ours["versions_seen"].items()}
    for node, of in theirs["versions_seen"].items():
        if name in of:
            seen.setdefault(node, {})[name] = version
    told = {**ours, "channel_versions": {**versions, name: version}, "versions_seen": seen}
    return cast("Checkpoint", told)
