"""Windows measured in tokens: what a model has room for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore, InvalidArgumentError

CALL = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."}, {"role": "user", "content": "one"}, {"role": "assistant", "content": "two"},
    {"role": "user", "content": "three"}, {"role": "assistant", "content": None, "tool_calls": CALL},
    {"role": "tool", "content": "four", "tool_call_id": "c1"}, {"role": "assistant", "content": "five"},
]


def one_each(_message: dict[str, Any]) -> int:
    """Count a token for each message."""
    return 1


@pytest.fixture
def store(tmp_path: Path) -> DefaultSessionStore:
    """Return a store that holds the talk."""
    made = DefaultSessionStore(tmp_path, durability="process")
    made.add_messages("s", TALK)
    return made


@pytest.mark.parametrize(("tokens", "kept"), [
    (1, [0, 6]), (2, [0, 6]), (3, [0, 6]), (4, [0, 4, 5, 6]), (5, [0, 3, 4, 5, 6]), (6, [0, 2, 3, 4, 5, 6]), (7, list(range(7))), (99, list(range(7))),
])
def test_D9_a_window_of_tokens_keeps_the_system_text_and_whole_exchanges(tokens: int, kept: list[int], store: DefaultSessionStore) -> None:
    """Goal: never more than there is room for, but for the newest exchange. Method: every number of tokens, one a message."""
    assert [TALK[index] for index in kept] == store.get_chat_history("s", max_tokens=tokens, count=one_each)


def test_D9_an_exchange_longer_than_the_room_is_kept_whole(tmp_path: Path) -> None:
    """Goal: a window is never emptied. Method: a talk that ends in an exchange; one token."""
    store = DefaultSessionStore(tmp_path, durability="process")
    store.add_messages("s", TALK[3:6])
    assert TALK[4:6] == store.get_chat_history("s", max_tokens=1, count=one_each)
    assert [] == store.get_chat_history("unknown", max_tokens=1, count=one_each)


def test_without_a_count_tokens_are_guessed(store: DefaultSessionStore) -> None:
    """Goal: four bytes a token, four tokens a message. Method: 12 bytes and more; both limits together."""
    guess = {index: 4 + -(-len(str(one["content"] or "")) // 4) for index, one in enumerate(TALK)}
    assert TALK[:1] + TALK[6:] == store.get_chat_history("s", max_tokens=guess[0] + guess[6])
    assert TALK[:1] + TALK[6:] == store.get_chat_history("s", 2, max_tokens=10**9)


@pytest.mark.parametrize("arguments", [
    {"max_tokens": 0}, {"max_tokens": -1}, {"max_tokens": "9"}, {"max_tokens": True}, {"max_tokens": 9, "count": 5},
    {"max_tokens": 9, "count": lambda _: -1}, {"max_tokens": 9, "count": lambda _: None}, {"max_tokens": 9, "count": lambda _: 1.5}, {"count": 5},
])
def test_what_is_no_number_of_tokens_is_refused(arguments: dict[str, Any], store: DefaultSessionStore) -> None:
    """Goal: the mistake is told. Method: limits and counts that cannot be meant."""
    with pytest.raises(InvalidArgumentError):
        store.get_chat_history("s", **arguments)


def test_parts_without_text_are_counted_too(tmp_path: Path) -> None:
    """Goal: no window is overfilled by calls and results. Method: a result part of 8,000 characters, and a picture of many bytes."""
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x" * 8000}]}
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}]}
    store = DefaultSessionStore(tmp_path, durability="process")
    store.add_messages("s", [result, picture, {"role": "user", "content": "x"}])
    assert [picture, {"role": "user", "content": "x"}] == store.get_chat_history("s", max_tokens=2000)
    assert 3 == len(store.get_chat_history("s", max_tokens=4000))
