"""What a write leaves in a session's window: what it must decode for that, and what it must not touch."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from praison_store import DefaultSessionStore
from praison_store.codec import lines, values
from praison_store.engines import json_window
from praison_store.retention import policy_named

MakeStore = Callable[..., DefaultSessionStore]
DAMAGED = b'{"role":"user","content":]}'


def user(content: object) -> bytes:
    """Return the line of a user's message."""
    return values.dumps({"role": "user", "content": str(content)})


def cut_of(body: list[bytes], added: int = 1, retention: str = "archive", **header: Any) -> lines.Splice:
    """Return what a window of 4 does to a body when so many messages are added."""
    file = lines.build({"session_id": "s", "revision": 1, **header}, body)
    new = [user(f"new {number}") for number in range(added)]
    return json_window.splice_of(file, new, policy_named(retention, 4), b"now")


def written(splice: lines.Splice) -> dict[str, Any]:
    """Return the file a splice makes."""
    whole: dict[str, Any] = json.loads(b"".join(splice.chunks()))
    return whole


@pytest.mark.parametrize("retention", ["archive", "truncate", "keep_all"])
def test_a_plain_window_is_cut_without_decoding_a_message(retention: str) -> None:
    """Goal: an append costs the same whatever is in the window. Method: lines nobody can decode, in every place."""
    for count in range(8):
        splice = cut_of([DAMAGED] * count, retention=retention)
        kept = b"".join(splice.chunks()).count(DAMAGED) + 1
        whole = {"archive": 4 if count + 1 > 5 else count + 1, "truncate": min(count + 1, 4), "keep_all": count + 1}
        assert (whole[retention], whole[retention]) == (kept, splice.count), count
        assert DAMAGED * (count + 1 - kept) == splice.removed().replace(b"\n", b"")


@pytest.mark.parametrize("mark", [b'{"role":"system","content":]}', b'{"role":"tool","content":]}', b'{"content":"tool"]}', b"{}]"])
def test_a_window_with_tools_or_a_system_message_near_its_cut_is_decoded(mark: bytes) -> None:
    """Goal: no exchange is parted unseen. Method: a damaged line in front, or where the cut comes; and far behind it."""
    with pytest.raises(ValueError):
        cut_of([mark, user(1), user(2), user(3), user(4)])
    if b"tool" in mark:
        with pytest.raises(ValueError):
            cut_of([user(1), user(2), mark, user(3), user(4)])
        assert 4 == cut_of([user(1), user(2), user(3), mark, user(4)]).count


def test_a_cut_in_front_of_a_tool_s_result_takes_its_call_along() -> None:
    """Goal: a result never stands without its call (D9). Method: the call is the last that would leave."""
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function"}]}
    result = {"role": "tool", "content": "x", "tool_call_id": "c"}
    body = [user(0), values.dumps(call), values.dumps(result), user(3), user(4)]
    whole = written(cut_of(body))
    roles = [message["role"] for message in whole["messages"]]
    assert roles in (["user", "user", "user"], ["assistant", "tool", "user", "user", "user"])


def test_a_leading_system_message_stays_in_front() -> None:
    """Goal: an agent keeps its instructions. Method: cut twice; the second time the file counts what leads."""
    system = values.dumps({"role": "system", "content": "rules"})
    splice = cut_of([system, *map(user, range(4))])
    contents = [message["content"] for message in written(splice)["messages"]]
    assert ["rules", "2", "3", "new 0"] == contents
    again = cut_of([system, *map(user, range(4))], leading_messages=1)
    assert ["rules", "2", "3", "new 0"] == [message["content"] for message in written(again)["messages"]]
    assert 1 == written(again)["leading_messages"]
    later = cut_of([user(0), system, *map(user, range(1, 4))])
    assert ["1", "2", "3", "new 0"] == [message["content"] for message in written(later)["messages"]]


@pytest.mark.parametrize(("count", "added", "retention", "taken"), [
    (5, 1, "archive", True), (2, 0, "archive", True), (2, 1, "archive", False), (5, 1, "truncate", False),
    (2, 0, "truncate", False), (2, 0, "keep_all", False), (9, 1, "keep_all", False),
])
def test_an_archive_inside_the_file_goes_to_ours_with_a_cut_or_a_change(
    count: int, added: int, retention: str, taken: bool
) -> None:
    """Goal: what another store archived is kept, once. Method: each policy, with and without a cut."""
    inside = [{"role": "user", "content": "past"}, {"role": "user", "content": "past too"}]
    splice = cut_of(list(map(user, range(count))), added, retention, archived_messages=inside)
    assert taken == ("archived_messages" not in written(splice))
    gone = [json.loads(line) for line in splice.removed().splitlines()]
    assert (inside if taken else []) == gone[:2 if taken else 0]
    assert taken == (inside[0] in gone)


@pytest.mark.parametrize(("count", "index", "left"), [(5, 4, 2), (5, 1, 0), (2, 1, 1)])
def test_a_checkpoint_moves_with_the_cut(count: int, index: int, left: int) -> None:
    """Goal: a compaction covers the same messages after a cut. Method: checkpoints behind the cut, before it, without."""
    splice = cut_of(list(map(user, range(count))), last_compaction={"summary": "s", "message_index": index, "more": 1})
    checkpoint = written(splice)["last_compaction"]
    assert (left, 1) == (checkpoint["message_index"], checkpoint["more"])


def test_an_id_taken_by_another_message_is_told_and_a_repeat_is_not(
    make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: a clash of ids is seen by a person. Method: the same message again, then another under its id."""
    store = make_store()
    with caplog.at_level(logging.WARNING, "praison_store"):
        for text, told in (("one", 0), ("one", 0), ("other", 1)):
            assert store.add_user_message("s", text, message_id="m")
            assert told == sum("is taken by another" in record.getMessage() for record in caplog.records)
        assert store.add_messages("s", [{"role": "user", "content": text, "message_id": "n"} for text in ("a", "a", "b")])
    assert 2 == sum("is taken by another" in record.getMessage() for record in caplog.records)
    assert ["one", "a"] == [message["content"] for message in store.get_chat_history("s")]
