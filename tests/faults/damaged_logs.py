"""A small log to damage, and a judge of what may come of it that shares no code with the package."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from faults.damage import FIRST_CALLS, TEXTS, Contents, contents_of, quarantined
from praison_store import CorruptSessionError, DefaultSessionStore, InvalidSessionIdError

LOG_CALLS = {name: call for name, call in FIRST_CALLS.items() if "check" not in name}
_MARK, _MESSAGE = b'{"log":"write",', b'{"role":'


def open_logs(directory: Path) -> DefaultSessionStore:
    """Return a store of logs."""
    directory.mkdir(mode=0o700, exist_ok=True)
    return DefaultSessionStore(db=f"jsonl://{directory}", durability="process", lock_timeout=1.0)


def make_log(directory: Path) -> bytes:
    """Make the log `one`, to be damaged, beside `other`; return the bytes of the first."""
    with open_logs(directory) as store:
        store.add_user_message("other", "unharmed")
        store.add_user_message("one", TEXTS[0], {"language": "en"})
        store.add_assistant_message("one", TEXTS[1])
        store.set_agent_info("one", "Assistant", "alice")
        store.add_user_message("one", TEXTS[2], message_id="third")
    return (directory / "one.jsonl").read_bytes()


def judge_log(directory: Path, original: bytes, raw: bytes, first: str) -> str:
    """
    Put damaged bytes in the log's place, call the store, and check what D5 allows.

    Returns:
        "never written" where nothing in it says that a write ended; "refused", "as it was", or "recovered".
    """
    path = directory / "one.jsonl"
    path.write_bytes(raw)
    with open_logs(directory) as store:
        assert ["unharmed"] == contents_of(store, "other")
        assert "other" in [row["session_id"] for row in store.list_sessions()]
        try:
            LOG_CALLS[first](store)
            found = contents_of(store)
        except (CorruptSessionError, InvalidSessionIdError):
            assert raw == path.read_bytes(), "a refused log was changed"
            assert not _could_be_saved(original, raw), "whole messages were not recovered"
            return "refused"
        metadata = store.get_session("one").metadata
    if first == "append":
        assert "new" == found.pop()
    there = [content for content in found if content in TEXTS]
    assert is_within(acknowledged(original, raw), there), "an acknowledged message is gone without a word"
    if "recovered_from" in metadata:
        # An append looks at the end only, so the damage in the middle is found, and kept, behind it.
        assert any(copy.startswith(raw) for copy in quarantined(directory)), "the damaged bytes are gone"
        return "recovered"
    lines, marks = raw.split(b"\n"), _marks(original, raw)
    assert is_within(lines[: max(marks, default=-1) + 1], path.read_bytes().split(b"\n")), "changed without a word"
    return "as it was" if marks else "never written"


def is_within(wanted: Sequence[Any], there: Iterable[Any]) -> bool:
    """Tell whether all that is wanted is there, in its order."""
    rest = iter(there)
    return all(any(one == other for other in rest) for one in wanted)


def acknowledged(original: bytes, raw: bytes) -> Contents:
    """
    Return the messages whose lines are whole in `raw` and that are known to have been acknowledged.

    What stands in front of a whole mark was; and where the length is the original's, so was everything.
    """
    known, lines = set(original.split(b"\n")), raw.split(b"\n")
    end = len(lines) if len(raw) == len(original) else max(_marks(original, raw), default=0)
    return [json.loads(line)["content"] for line in lines[:end] if line in known and line.startswith(_MESSAGE)]


def _marks(original: bytes, raw: bytes) -> list[int]:
    """Return the numbers of the lines of `raw` that are marks of the original, whole with their newline."""
    known = set(original.split(b"\n"))
    lines = raw.split(b"\n")[:-1]
    return [number for number, line in enumerate(lines) if line.startswith(_MARK) and line in known]


def _could_be_saved(original: bytes, raw: bytes) -> Contents:
    """Return the messages of a log that is known to be this session's; of any other file none is ours to save."""
    ids = re.findall(rb'"session_id":([^,]*),', raw)
    return acknowledged(original, raw) if ids and set(ids) == {b'"one"'} else []
