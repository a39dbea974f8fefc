"""D6: what would not read back equal is refused before a byte is written, wherever in a message it stands."""

from __future__ import annotations

import enum
import tempfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anything
import pytest
from anything import UNSTORABLE, typed
from effort import tried
from hypothesis import given
from hypothesis import strategies as st

from praison_store import (
    DefaultSessionStore,
    InvalidArgumentError,
    InvalidMessageError,
    SessionMessage,
    SessionStoreError,
)

Write = Callable[[DefaultSessionStore, Any], object]
# A content or a role of a wrong kind is refused for its kind already; so these hold the value deeper inside.
WRITES: dict[str, Write] = {
    "content": lambda store, bad: store.add_user_message("s", [bad]),
    "content_deep": lambda store, bad: store.add_message("s", "user", [{"type": "text", "text": {"k": [bad]}}]),
    "metadata": lambda store, bad: store.add_message("s", "user", "x", {"k": bad}),
    "tool_calls": lambda store, bad: store.add_assistant_message("s", "x", tool_calls=[{"id": "1", "k": bad}]),
    "add_messages": lambda store, bad: store.add_messages(
        "s", [{"role": "user", "content": "good"}, {"role": "user", "content": "x", "metadata": {"k": bad}}]
    ),
    "unknown_field": lambda store, bad: store.add_messages("s", [{"role": "user", "content": "x", "field": bad}]),
    "session_message": lambda store, bad: store.add_messages("s", [SessionMessage("user", "x", metadata={"k": bad})]),
    "set_chat_history": lambda store, bad: store.set_chat_history("s", [{"role": "user", "content": [bad]}]),
    "session_metadata": lambda store, bad: store.update_session_metadata("s", good=1, k=bad),
    "checkpoint": lambda store, bad: store.append_compaction_checkpoint("s", "sum", metadata={"k": bad}),
}
IMPORTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "metadata": lambda bad: {"session_id": "s", "messages": [], "metadata": {"k": bad}},
    "message": lambda bad: {"session_id": "s", "messages": [{"role": "user", "content": [bad]}]},
    "archived": lambda bad: {
        "session_id": "s", "messages": [], "archived_messages": [{"role": "user", "content": [bad]}]
    },
    "unknown_field": lambda bad: {"session_id": "s", "messages": [], "field": bad},
    "context": lambda bad: {"session_id": "s", "messages": [], "context": {"k": [bad]}},
}


def contents_of(directory: Path) -> dict[str, bytes]:
    """Return every file of a directory with its bytes, but for the empty files that locks are."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if path.suffix != ".lock"}


def outcome(call: Callable[[], object]) -> str:
    """Return the name of what a call raises, "" for nothing."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - what it is, is the answer
        return type(error).__name__
    return ""


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("known", [True, False], ids=["known_session", "new_session"])
def test_D6_an_unstorable_value_is_refused_before_anything_is_written(
    write: str, known: bool, tmp_path: Path
) -> None:
    """Goal: a refusal leaves the directory as it was. Method: each kind of value, in each place it can stand."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        if known:
            store.add_user_message("s", "before")
        before = contents_of(tmp_path)
        outcomes = {}
        for name, bad in UNSTORABLE.items():
            outcomes[name] = outcome(lambda: WRITES[write](store, bad))  # noqa: B023 - called before the next turn
            assert before == contents_of(tmp_path), name
        assert dict.fromkeys(UNSTORABLE, "InvalidMessageError") == outcomes
        assert [{"role": "user", "content": "before"}] * known == store.get_chat_history("s")
        assert store.add_user_message("s", "after"), "no lock is left"


@pytest.mark.parametrize("place", IMPORTS)
def test_D6_an_import_takes_what_reads_back_equal_and_refuses_the_rest_before_writing(
    place: str, tmp_path: Path
) -> None:
    """Goal: another store's NaN or long integer comes in exactly, or not at all. Method: each value, each place."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        for name, bad in UNSTORABLE.items():
            store.delete_session("s")
            before = contents_of(tmp_path)
            payload = IMPORTS[place](bad)
            try:
                store.import_session(payload)
            except InvalidMessageError:
                assert before == contents_of(tmp_path), name
                continue
            with DefaultSessionStore(tmp_path, durability="process") as again:
                exported = again.export_session("s")["sessions"][0]
            everything = {**exported, "messages": [*exported["archived_messages"], *exported["messages"]]}
            for field in payload:
                if field in ("metadata", "context", "field"):
                    assert typed(payload[field]) == typed(everything[field]), name
            contents = [m["content"] for m in payload.get("archived_messages", []) + payload["messages"]]
            assert typed(contents) == typed([m["content"] for m in everything["messages"]]), name


class Unprintable:
    """An object that cannot even be named in an error."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize("bad", [10**5000, Unprintable()], ids=["long_integer", "no_repr"])
def test_D6_a_value_that_cannot_be_printed_is_refused_like_another(bad: Any, tmp_path: Path) -> None:
    """Goal: the refusal itself does not fail. Method: values whose repr() raises, as whole arguments."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        for field in ("role", "content", "metadata", "tool_calls", "tool_call_id", "message_id"):
            with pytest.raises(InvalidMessageError):
                store.add_message("s", **{"role": "user", "content": "x", field: bad})
        with pytest.raises(InvalidMessageError):
            store.add_messages("s", [bad])
        with pytest.raises(InvalidMessageError):
            store.add_messages("s", [{"role": "user", "content": "x", "timestamp": bad}])
        for call in (
            lambda: store.get_chat_history("s", bad), lambda: store.list_sessions(bad), lambda: store.search(bad),
            lambda: store.window("s", 0, bad), lambda: store.fork_session("s", "f", bad),
            lambda: store.list_sessions_by_agent(bad),
            lambda: DefaultSessionStore(tmp_path, lock_timeout=bad), lambda: DefaultSessionStore(db=bad),
            lambda: DefaultSessionStore(tmp_path, retention=bad), lambda: DefaultSessionStore(bad),
        ):
            try:
                answer = call()
            except SessionStoreError:
                continue
            assert isinstance(bad, int), "a long integer is a fine number of messages, nothing else is"
            assert not answer
        assert {} == contents_of(tmp_path)


@tried(150)
@given(anything.messages(), st.sampled_from(sorted(UNSTORABLE)), st.data())
def test_D6_an_unstorable_value_is_found_anywhere_in_a_message(
    message: dict[str, Any], name: str, data: st.DataObject
) -> None:
    """Goal: no depth and no neighbour hides it. Method: plant one in a random container of a random message."""
    containers: list[Any] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict | list):
            containers.append(value)
            for item in value.values() if isinstance(value, dict) else value:
                collect(item)

    planted = {**message, "content": [message["content"]]}
    collect(planted["content"])
    collect(planted["metadata"])
    place = data.draw(st.sampled_from(range(len(containers))))
    container = containers[place]
    if isinstance(container, dict):
        container["planted"] = UNSTORABLE[name]
    else:
        container.insert(data.draw(st.integers(0, len(container))), UNSTORABLE[name])
    with tempfile.TemporaryDirectory() as directory, DefaultSessionStore(directory, durability="process") as store:
        with pytest.raises(InvalidMessageError):
            store.add_messages("s", [planted])
        assert {} == contents_of(Path(directory))


@pytest.mark.parametrize("field", ["role", "tool_call_id", "message_id"])
@pytest.mark.parametrize("bad", ["", 1, b"x", "\ud800", ["x"], True, 1.5], ids=repr)
def test_D6_a_field_that_is_text_takes_nothing_else(field: str, bad: Any, tmp_path: Path) -> None:
    """Goal: ids and roles are text with a character in it. Method: other types, by both ways in."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        arguments = {"role": "user", "content": "x", field: bad}
        with pytest.raises(InvalidMessageError) as caught:
            store.add_message("s", **arguments)
        assert field in caught.value.message or "message" in caught.value.message
        with pytest.raises(InvalidMessageError):
            store.add_messages("s", [arguments])
        assert {} == contents_of(tmp_path)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *(("content", bad) for bad in (1, 1.5, True, b"x", {"a": 1}, ("x",), {"x"}, "\ud800")),
        *(("metadata", bad) for bad in ([("a", 1)], "x", 1, {1: 1}, {"\ud800": 1})),
        *(("tool_calls", bad) for bad in ({"id": "1"}, "x", ("x",), 1, [b"x"])),
    ],
    ids=repr,
)
def test_D6_a_field_of_a_wrong_kind_is_refused(field: str, bad: Any, tmp_path: Path) -> None:
    """Goal: content, metadata and tool calls have one shape. Method: other shapes, by both ways in."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        arguments = {"role": "assistant", "content": "x", field: bad}
        with pytest.raises(InvalidMessageError):
            store.add_message("s", **arguments)
        with pytest.raises(InvalidMessageError):
            store.add_messages("s", [arguments])
        assert {} == contents_of(tmp_path)


class Name(str, enum.Enum):  # noqa: UP042 - the old spelling is the one that prints its name instead of its text
    """Text that an encoder may write as its name."""

    USER = "user"


class Number(enum.IntEnum):
    """A whole number with a name."""

    TWO = 2


def test_D6_a_subclass_whose_plain_value_is_equal_is_stored_as_that_value(tmp_path: Path) -> None:
    """Goal: a str Enum or an OrderedDict is welcome. Method: they come back as the plain values they equal."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        given_metadata = {
            "name": Name.USER, "number": Number.TWO, "ordered": OrderedDict(b=1, a=[Name.USER]),
            "default": defaultdict(list, {"k": [1]}), "counter": Counter("aab"),
        }
        store.add_message("s", Name.USER, Name.USER, given_metadata)
        expected = {"name": "user", "number": 2, "ordered": {"b": 1, "a": ["user"]}, "default": {"k": [1]},
                    "counter": {"a": 2, "b": 1}}
        message = store.get_session("s").messages[0]
        assert typed(expected) == typed(message.metadata)
        assert typed(["user", "user"]) == typed([message.role, message.content])


@pytest.mark.parametrize("levels", [1, 100, 199, 200, 201])
def test_D6_whatever_depth_is_taken_can_be_read_forked_exported_and_imported(levels: int, tmp_path: Path) -> None:
    """Goal: no door is narrower than another. Method: values at the limit of nesting, through all of them."""
    deep = anything.nested(levels)
    with DefaultSessionStore(tmp_path, durability="process") as store:
        try:
            store.add_message("s", "user", [deep], {"k": deep}, [{"k": deep}])
            store.update_session_metadata("s", k=deep)
        except InvalidMessageError:
            assert levels > 190
            return
        store.append_compaction_checkpoint("s", "sum", metadata={"k": deep})
        exported = store.export_session("s")
        store.fork_session("s", "fork")
        store.delete_session("s")
        assert typed(deep) == typed(store.import_session(exported).metadata["k"])
        assert typed([deep]) == typed(store.get_session("s").messages[0].content)
        assert typed([deep]) == typed(store.get_session("fork").messages[0].content)


def test_D6_a_lone_surrogate_in_a_name_is_a_bad_argument(tmp_path: Path) -> None:
    """Goal: names of agents, users and titles are checked like text of messages. Method: one in each."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        for call in (
            lambda: store.set_agent_info("s", agent_name="\ud800"),
            lambda: store.set_agent_info("s", user_id="\ud800"),
            lambda: store.rename_session("s", "\ud800"),
            lambda: store.append_compaction_checkpoint("s", "\ud800"),
            lambda: store.search("\ud800"),
            lambda: store.list_sessions_by_agent("\ud800"),
        ):
            with pytest.raises(InvalidArgumentError):
                call()
        assert {} == contents_of(tmp_path)


def test_D6_a_lone_surrogate_is_refused_beside_what_another_store_let_in(tmp_path: Path) -> None:
    """Goal: a session with a long number in it takes no more than any other. Method: each write, on such a session."""
    for place in (tmp_path, "memory://"):
        with DefaultSessionStore(tmp_path / "d", db=None if place == tmp_path else str(place)) as store:
            store.add_user_message("s", "1" * 30)
            before = store.export_session("s")
            for bad in ("\ud800", {"k": "\ud800"}, {"\ud800": 1}, ["\udfff"]):
                writes: list[Callable[[], object]] = [
                    lambda bad=bad: store.update_session_metadata("s", k=bad),  # type: ignore[misc] - bound now
                    lambda bad=bad: store.append_compaction_checkpoint("s", "sum", metadata={"k": bad}),  # type: ignore[misc] - bound now
                    lambda bad=bad: store.set_chat_history("s", [{"role": "user", "content": "x", "k": bad}]),  # type: ignore[misc] - bound now
                    lambda bad=bad: store.add_user_message("s", "x", {"k": bad}),  # type: ignore[misc] - bound now
                ]
                for write in writes:
                    with pytest.raises(InvalidMessageError):
                        write()
            with pytest.raises(InvalidMessageError):
                store.set_chat_history("s", [{"role": "user", "content": "\ud800"}])
            assert before == store.export_session("s")
