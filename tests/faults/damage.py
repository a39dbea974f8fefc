"""A small session to damage, and a judge of what may come of it that shares no code with the package."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from faults.operations import WINDOW, add, open_store
from praison_store import CorruptSessionError, DefaultSessionStore, InvalidSessionIdError

Contents = list[Any]
Judge = Callable[[Path, bytes, bytes, str], str]
TEXTS = ["first", "zweite: äöü", 'a "quoted" one']


def make_session(directory: Path) -> bytes:
    """Make the session `one`, to be damaged, beside `other`; return the bytes of the first."""
    with open_store(directory) as store:
        add("other", "unharmed")(store)
        store.add_user_message("one", TEXTS[0], {"language": "en"})
        store.add_assistant_message("one", TEXTS[1])
        store.add_user_message("one", TEXTS[2], message_id="third")
        store.set_agent_info("one", "Assistant", "alice")
    return (directory / "one.json").read_bytes()


def messages_in(raw: bytes) -> list[dict[str, Any]] | None:
    """Return the messages of bytes that are a whole session for any reader of JSON; None where they are not."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("messages"), list):
        return None
    messages: list[Any] = data["messages"]
    return messages if all(isinstance(message, dict) for message in messages) else None


def whole_lines(original: bytes, raw: bytes) -> Contents:
    """Return the contents of the original's messages whose bytes all stand in `raw` as they were, as often as they do."""
    return [content for _at, content in whole_messages(original, raw)]


def whole_messages(original: bytes, raw: bytes) -> list[tuple[int, Any]]:
    """Return where in `raw` a message of the original stands as it was, and its content; in the order they stand."""
    lines = [line.rstrip(b",") for line in original.split(b"\n") if line.startswith(b'{"role":')]
    found = [(at.start(), json.loads(line)["content"]) for line in lines for at in re.finditer(re.escape(line), raw)]
    return sorted(found)


def flipped(original: bytes, index: int, mask: int) -> bytes:
    """Return the bytes with one changed."""
    return original[:index] + bytes([original[index] ^ mask]) + original[index + 1 :]


def contents_of(store: DefaultSessionStore, session_id: str = "one") -> Contents:
    """Return the contents of a session's history."""
    return [message["content"] for message in store.get_chat_history(session_id)]


def quarantined(directory: Path) -> Iterator[bytes]:
    """Yield the bytes of each file in quarantine."""
    for path in (directory / ".quarantine").glob("*"):
        yield path.read_bytes()


FIRST_CALLS: dict[str, Callable[[DefaultSessionStore], Any]] = {
    "history": contents_of,
    "session": lambda store: store.get_session("one").messages,
    "archived": lambda store: store.get_archived_messages("one"),
    "append": lambda store: store.add_user_message("one", "new", message_id="new"),
    "rename": lambda store: store.rename_session("one", "a title"),
    "check with repair": lambda store: store.check(repair=True),
}


def judge(directory: Path, original: bytes, raw: bytes, first: str) -> str:
    """
    Put damaged bytes in the session's place, call the store, and check what D5 allows.

    Returns:
        "valid" where the bytes are a session all the same, "refused", or "recovered".
    """
    path = directory / "one.json"
    path.write_bytes(raw)
    with open_store(directory, durability="process", lock_timeout=1.0) as store:
        assert ["other"] == [row["session_id"] for row in store.list_sessions() if row["session_id"] == "other"]
        assert ["unharmed"] == contents_of(store, "other")
        try:
            FIRST_CALLS[first](store)
            found = contents_of(store)
        except (CorruptSessionError, InvalidSessionIdError):
            _check_it_was_left_alone(path, original, raw)
            return "refused"
        if first == "append":
            assert "new" == found.pop()
        metadata = store.get_session("one").metadata
    valid = messages_in(raw)
    if valid is not None:
        assert [message.get("content", "") for message in valid] == found
        return "valid"
    assert found, "a damaged session was served as an empty one"
    whole, kept = whole_lines(original, raw), [content for content in found if content in TEXTS]
    assert min(len(whole), WINDOW - 1) <= len(kept)
    assert whole[len(whole) - len(kept) :] == kept
    assert metadata["recovered_from"].startswith(".quarantine/one.json.")
    _check_a_copy_is_kept(directory, raw, first)
    return "recovered"


def judge_all(
    tmp_path: Path, damages: Iterable[bytes], original: bytes, first: str, judge_one: Judge = judge
) -> Counter[str]:
    """Judge each damage on a copy of the directory `sound`, and count what came of them."""
    verdicts: Counter[str] = Counter()
    for number, raw in enumerate(damages):
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", directory)
        verdicts[judge_one(directory, original, raw, first)] += 1
        shutil.rmtree(directory)
    print(f"{first} first: {dict(verdicts)}")
    return verdicts


def _check_it_was_left_alone(path: Path, original: bytes, raw: bytes) -> None:
    assert raw == path.read_bytes(), "a refused file was changed"
    is_another_session = messages_in(raw) is not None and json.loads(raw).get("session_id") != "one"
    assert is_another_session or [] == whole_lines(original, raw), "whole messages were not recovered"


def _check_a_copy_is_kept(directory: Path, raw: bytes, first: str) -> None:
    copies = list(quarantined(directory))
    if first == "append":
        # An append cuts and joins lines without a look inside, so it may carry a damaged one on to the next read.
        lines = {line.rstrip(b",") for line in raw.split(b"\n")[1:]}
        assert raw in copies or any(lines <= {line.rstrip(b",") for line in copy.split(b"\n")} for copy in copies)
    else:
        assert raw in copies, "the damaged bytes are gone"
