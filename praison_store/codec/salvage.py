"""Save what is whole of a damaged file, message by message (D5). Pure; no I/O."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from ..model.message import Record

_MESSAGES = re.compile(r'"messages"\s*:\s*\[')
# From each newline only its own line is looked at, so that a file full of newlines does not take minutes.
_NEXT_OBJECT = re.compile(r"\n[ \t\r]*+\{|\{\s*+\"role\"")
# A failed try on the whole text costs a look at all of it; a file with more damage than this is read line by line.
_MOST_FAILURES = 500
_BETWEEN = re.compile(r"[\s,]*+")
# Bytes that are no UTF-8 become these characters; a message that holds one did not survive whole.
_BROKEN_TEXT = re.compile("[\udc80-\udcff]")
_COUNT = re.compile(r'"message_count"\s*:\s*(\d{1,18})')


class Salvaged(NamedTuple):
    """What was saved: the header's fields (empty where it is damaged), whole messages, and how many are known lost."""

    header: Record
    records: list[Record]
    lost: int | None


def salvage(raw: bytes) -> Salvaged:
    """
    Return every message of a damaged file that is whole.

    Returns:
        No records where none can be saved. `lost` is counted against the header's `message_count`, None without one.
    Cost: a few passes over the file; only damaged files come here.
    """
    text = raw.decode("utf-8", "surrogateescape")
    opening = _MESSAGES.search(text)
    header = _header(text[: opening.start()]) if opening else {}
    records = _messages(text, opening.end() if opening else 0)
    counted = _COUNT.search(text, 0, opening.start() if opening else len(text))
    return Salvaged(header, records, max(int(counted[1]) - len(records), 0) if counted else None)


def _header(text: str) -> Record:
    try:
        header = json.loads(text.rstrip().rstrip(",") + "}")
    except (ValueError, RecursionError):
        return {}
    return header if isinstance(header, dict) and not _BROKEN_TEXT.search(text) else {}


def _messages(text: str, position: int) -> list[Record]:
    records = []
    failures = 0
    while found := _BETWEEN.match(text, position):
        position = found.end()
        record, end = _on_one_line(text, position)
        if record is None and failures < _MOST_FAILURES:
            record, end = _on_many_lines(text, position)
            failures += record is None
        if isinstance(record, dict) and isinstance(record.get("role"), str) and "content" in record:
            if not _BROKEN_TEXT.search(text, position, end):
                records.append(record)
            position = end
            continue
        # Messages may stand inside what was read, if it was the whole document under a damaged name.
        following = _NEXT_OBJECT.search(text, position + 1)
        if following is None:
            break
        position = following.end() - len(following[0].lstrip())
    return records


def _on_one_line(text: str, position: int) -> tuple[Any, int]:
    end = text.find("\n", position)
    end = len(text) if end < 0 else end
    line = text[position:end].rstrip().rstrip(",")
    try:
        return json.loads(line), position + len(line)
    except (ValueError, RecursionError):
        return None, position


def _on_many_lines(text: str, position: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(text, position)
    except (ValueError, RecursionError):
        return None, position
