"""Leave out of a write the messages whose id is stored already."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..codec import document, lines
from ..codec.lines import LineFile
from ..disk import archive_log
from ..model.message import Record, llm_message
from . import json_window

logger = logging.getLogger("praison_store")


def not_stored(
    path: str, file: LineFile, added: list[bytes], messages: Sequence[Record]
) -> tuple[list[bytes], Sequence[Record]]:
    """Return the lines and messages whose id is new, in the window and the archive; those without one all are."""
    past: bytes | None = None
    seen: dict[str, Record] = {}
    kept = []
    for line, message in zip(added, messages, strict=True):
        message_id = message.get("message_id")
        if message_id is not None:
            stored = seen.get(message_id) or lines.record_of_id(file.body, message_id)
            if stored is None:
                past = _archived(path, file) if past is None else past
                stored = lines.record_of_id(past, message_id)
            if stored is not None:
                if llm_message(stored) != llm_message(message):
                    logger.warning("%s: message_id %r is taken by another message: not stored", path, message_id)
                continue
            seen[message_id] = message
        kept.append((line, message))
    return [line for line, _ in kept], [message for _, message in kept]


def _archived(path: str, file: LineFile) -> bytes:
    """Return the lines of both archives: ours, and the one another store keeps inside the file."""
    inside = document.whole_of(file)[1] if json_window.INSIDE in file.rest else ()
    past = archive_log.read(archive_log.path_of(path), file.archived_bytes)
    return past + b"\n".join(document.encode_all(inside, extended=True))
