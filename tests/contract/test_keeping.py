"""What goes in comes out, whatever it is, once; asked of every engine in the same words."""

from __future__ import annotations

import random
from typing import Any

import pytest
from places import ALL, ARCHIVE, ENGINES, KEY, NOW_S, TRUNCATE, archived, say, texts

from praison_store import RevisionConflictError
from praison_store.engines import Engine
from praison_store.model.message import Record, SessionMessage, new_record
from praison_store.model.session import CompactionCheckpoint, SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import Policy, policy_named

HOSTILE_IDS = [
    "../../etc/passwd", "a/b", "a_b", "..", ".", "CON", "nul", "a\0b", "a\nb", "\u00e9", "e\u0301", "A", "a", " ", "x" * 4096,
    "%41", "*", "@team", ".leases", "s.json", "s.jsonl", "日本語", "😀", "'; DROP TABLE sessions; --", '"', "\\", "\u2028",
]
ODD_VALUES: dict[str, Any] = {
    "largest": 2**64 - 1, "smallest": -(2**63), "past a double": 2**53 + 1, "minus zero": -0.0, "tiny": 5e-324,
    "huge": 1.7976931348623157e308, "third": 0.1 + 0.2, "float that is whole": 1.0, "one": 1, "true": True, "none": None,
    "empty text": "", "nul": "a\0b", "newline": "a\nb\r\n", "line separator": "\u2028\u2029", "emoji": "😀", "nfd": "e\u0301",
    "quotes": '"\\\'', "looks like json": '{"role":"user"}', "percent": "100%", "empty list": [], "empty dict": {},
    "nested": {"a": [1, {"b": [None, [], {}]}]}, "odd keys": {"": 1, "a.b": 2, "\n": 3, "é": 4, "$ref": 5, "log": "write"},
    "deep": None, "long": "x" * 200_000, "bom": "\ufeff", "control": "\x01\x1f\x7f",
}


def nested(levels: int) -> Any:
    """Return a value inside so many lists."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


ODD_VALUES["deep"] = nested(180)


def records(engine: Engine, key: SessionKey = KEY) -> list[Record]:
    """Return a session's messages as plain records."""
    session = engine.read(key, None)
    assert session is not None
    return [message.to_dict() for message in session.messages]


@pytest.mark.parametrize("label", ODD_VALUES)
def test_D6_every_value_json_has_comes_back_the_same(engine: Engine, label: str) -> None:
    """Goal: an exact round trip. Method: odd values in each place one may stand, by append, update, read and archive."""
    value = ODD_VALUES[label]
    record = new_record("user", [value], NOW_S, {"k": value})
    record["extra_field"] = value

    def change(session: SessionData) -> None:
        session.metadata["k"], session.context["k"], session.extra["future"] = value, value, value
        session.messages.append(SessionMessage("user", [value], NOW_S, {"k": value}))

    engine.append(KEY, [record], now_s=NOW_S, policy=ALL)
    engine.update(KEY, change, now_s=NOW_S, policy=ALL)
    session = engine.read(KEY, None)
    assert session is not None
    assert repr([value] * 3) == repr([session.metadata["k"], session.context["k"], session.extra["future"]])
    first, second = session.messages
    assert repr(record) == repr(first.to_dict())
    assert repr(([value], {"k": value})) == repr((second.content, second.metadata))
    assert repr([{"role": "user", "content": [value]}] * 2) == repr(engine.history(KEY, None))
    [info] = engine.find()
    assert repr([value] * 3) == repr([info.metadata["k"], info.context["k"], info.extra["future"]])
    say(engine, "x", "y", policy=TRUNCATE if label == "long" else ARCHIVE)
    whole = engine.whole(KEY)
    assert whole is not None
    assert repr([] if label == "long" else [record]) == repr(whole[1][:1])


@pytest.mark.parametrize("record", [
    {"role": "user", "content": None, "timestamp": 1, "metadata": {}},
    {"role": "assistant", "content": "", "timestamp": 1.5, "metadata": {}, "tool_calls": [{"id": "c", "x": [1.0]}]},
    {"role": "tool", "content": [{"type": "text", "text": "x"}], "timestamp": 0.0, "metadata": {}, "tool_call_id": "c"},
    {"role": "🤖", "content": "x", "timestamp": -1.25, "metadata": {"message_id": "m"}, "message_id": "é"},
    {"role": "user", "content": "x", "timestamp": 1e300, "metadata": {}, "log": "write", "seq": 5, "id": "", "kind": None},
], ids=str)
def test_D6_every_field_of_a_message_comes_back_the_same(engine: Engine, record: Record) -> None:
    """Goal: known and unknown fields are kept. Method: messages of every shape, between two plain ones."""
    plain = new_record("user", "plain", NOW_S)
    engine.append(KEY, [plain, record, plain], now_s=NOW_S, policy=ALL)
    assert repr([plain, record, plain]) == repr(records(engine))


def test_every_field_of_a_session_comes_back_the_same(engine: Engine) -> None:
    """Goal: nothing of a session is lost. Method: set all its fields, read it in each way, then clear them again."""

    def fill(session: SessionData) -> None:
        session.agent_name, session.user_id, session.parent_id = "agent é", "user\n", "parent"
        session.metadata, session.context, session.extra = {"a": 1}, {"b": [2.0]}, {"model": "m", "total_tokens": 7}
        session.last_compaction = CompactionCheckpoint("summary", 0, "system", 9, 5, 1.5, {"k": None})
        session.created_at, session.updated_at = "2020-01-01T00:00:00+00:00", "2020-02-01T00:00:00+00:00"

    filled = engine.update(KEY, fill, now_s=NOW_S, policy=ALL)
    whole = engine.whole(KEY)
    assert whole is not None
    assert (filled, filled) == (engine.read(KEY, None), whole[0])
    assert ("2020-01-01T00:00:00+00:00", "2020-02-01T00:00:00+00:00") == (filled.created_at, filled.updated_at)
    assert 2 == say(engine, "x")
    after = engine.read(KEY, None)
    assert after is not None
    assert ("2020-01-01T00:00:00+00:00", "2026-01-02T04:00:00.000000+00:00") == (after.created_at, after.updated_at)
    assert (filled.extra, filled.context, filled.last_compaction) == (after.extra, after.context, after.last_compaction)

    def clear(session: SessionData) -> None:
        session.agent_name = session.user_id = session.parent_id = session.last_compaction = None
        session.metadata, session.context, session.extra = {}, {}, {}

    cleared = engine.update(KEY, clear, now_s=NOW_S, policy=ALL)
    assert cleared == engine.read(KEY, None)
    assert (None, {}, {}, {}, None) == (
        cleared.user_id, cleared.metadata, cleared.context, cleared.extra, cleared.last_compaction)


def test_D4_D8_hostile_ids_are_ids_like_others(engine: Engine) -> None:
    """Goal: one id, one session, wherever its characters lead. Method: all of them in one place, each read back."""
    for session_id in HOSTILE_IDS:
        say(engine, session_id, key=SessionKey(session_id))
    assert sorted(HOSTILE_IDS) == sorted(info.session_id for info in engine.find())
    assert len(HOSTILE_IDS) == engine.count()
    for session_id in HOSTILE_IDS:
        assert [session_id] == texts(engine, SessionKey(session_id))
    for session_id in HOSTILE_IDS[::2]:
        assert engine.delete(SessionKey(session_id))
    assert sorted(HOSTILE_IDS[1::2]) == sorted(info.session_id for info in engine.find())


def with_id(text: str, message_id: str) -> Record:
    """Return a message with an id."""
    return new_record("user", text, NOW_S, message_id=message_id)


def test_a_message_id_is_stored_once(engine: Engine) -> None:
    """Goal: a retry is acknowledged, not stored. Method: repeats alone, in one batch, among new ones, in the archive."""
    for policy, text in ((ARCHIVE, "a"), (ARCHIVE, "a"), (ARCHIVE, "b"), (ARCHIVE, "c"), (ARCHIVE, "d")):
        engine.append(KEY, [with_id(text, f"id-{text}")], now_s=NOW_S, policy=policy)
    assert (["c", "d"], ["a", "b"]) == (texts(engine), archived(engine))
    revision = engine.append(KEY, [with_id("a", "id-a"), with_id("d", "id-d")], now_s=NOW_S, policy=ARCHIVE)
    assert (4, ["c", "d"], ["a", "b"]) == (revision, texts(engine), archived(engine))
    batch = [with_id("e", "id-e"), with_id("a", "id-a"), with_id("e", "id-e"), new_record("user", "f", NOW_S)]
    assert 5 == engine.append(KEY, batch, now_s=NOW_S, policy=ALL)
    assert ["c", "d", "e", "f"] == texts(engine)
    assert 6 == engine.append(SessionKey("s"), [with_id("g", "id_a"), with_id("h", "ID-A")], now_s=NOW_S, policy=ALL)
    assert 1 == engine.append(SessionKey("t"), [with_id("a", "id-a")], now_s=NOW_S, policy=ALL)
    assert ["c", "d", "e", "f", "g", "h"] == texts(engine), "letter case counts"


def test_an_id_taken_by_another_message_keeps_the_first(engine: Engine) -> None:
    """Goal: an id never changes its message. Method: another text under an id that is there."""
    for text in ("first", "second"):
        engine.append(KEY, [with_id(text, "m")], now_s=NOW_S, policy=ALL)
    assert ["first"] == texts(engine)


def test_a_deleted_sessions_ids_are_free(engine: Engine) -> None:
    """Goal: a new session of an old id starts empty. Method: an id in the window and one in the archive."""
    for text in "abcd":
        engine.append(KEY, [with_id(text, text)], now_s=NOW_S, policy=ARCHIVE)
    engine.delete(KEY)
    engine.append(KEY, [with_id(text, text) for text in "abd"], now_s=NOW_S, policy=ALL)
    assert list("abd") == texts(engine)


def test_what_was_truncated_or_edited_away_may_come_again(engine: Engine) -> None:
    """Goal: an id counts as long as its message is kept. Method: truncate one, remove one by a change, send both."""
    for text in "abc":
        engine.append(KEY, [with_id(text, text)], now_s=NOW_S, policy=TRUNCATE)

    def drop(session: SessionData) -> None:
        session.messages = [message for message in session.messages if message.content != "b"]

    engine.update(KEY, drop, now_s=NOW_S, policy=ALL)
    engine.append(KEY, [with_id(text, text) for text in "abc"], now_s=NOW_S, policy=ALL)
    assert list("cab") == texts(engine)


CALL = {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
EXCHANGES: list[Record] = [
    {"role": "system", "content": "be kind"}, {"role": "user", "content": "q1"},
    {"role": "assistant", "content": None, **CALL}, {"role": "tool", "content": "r1", "tool_call_id": "1"},
    {"role": "assistant", "content": "a1"}, {"role": "user", "content": "q2"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "2"}, {"id": "3"}]},
    {"role": "tool", "content": "r2", "tool_call_id": "2"}, {"role": "tool", "content": "r3", "tool_call_id": "3"},
    {"role": "system", "content": "late"}, {"role": "assistant", "content": "a2"}, {"role": "user", "content": "q3"},
]
POLICIES: dict[str, Policy] = {
    f"{name} {window}": policy_named(name, window) for name in ("archive", "truncate") for window in (1, 2, 3, 4, 5, 8)
}


@pytest.mark.parametrize("label", POLICIES)
@pytest.mark.parametrize("batch", [1, 3, 12])
def test_D9_a_window_is_cut_alike_by_every_engine(engine: Engine, label: str, batch: int) -> None:
    """Goal: system messages lead, no exchange is cut. Method: a conversation with tools, against the memory engine."""
    policy, model = POLICIES[label], ENGINES["memory"](None)  # type: ignore[arg-type] # it has no place
    said = [{"timestamp": NOW_S + number, "metadata": {}, **record} for number, record in enumerate(EXCHANGES)]
    for one in (engine, model):
        for start in range(0, len(said), batch):
            one.append(KEY, said[start : start + batch], now_s=NOW_S, policy=policy)
    expected, found = model.whole(KEY), engine.whole(KEY)
    assert expected is not None
    assert found is not None
    assert expected == found
    for newest in (None, 1, 2, 3, 7):
        assert model.history(KEY, newest) == engine.history(KEY, newest)
        assert model.read(KEY, newest) == engine.read(KEY, newest)


@pytest.mark.parametrize("leading", [0, 2])
def test_D9_the_newest_of_a_long_session_are_found_alike_by_every_engine(engine: Engine, leading: int) -> None:
    """Goal: a short look at a long session cuts no exchange. Method: 400 messages, calls far from and near results."""
    chance, open_calls, said = random.Random(leading), [], []
    for number in range(400):
        record: Record = {"role": "system" if number < leading else "user", "content": str(number), "timestamp": NOW_S, "metadata": {}}
        kind = chance.random()
        if number >= leading and kind < 0.15:
            record |= {"role": "assistant", "tool_calls": [{"id": f"c{number}"}]}
            open_calls.append(f"c{number}")
        elif number >= leading and kind < 0.3 and open_calls:
            record |= {"role": "tool", "tool_call_id": open_calls.pop(chance.choice([0, -1]))}
        elif number >= leading and kind < 0.33:
            record |= {"role": "tool"}
        said.append(record)
    engine.append(KEY, said, now_s=NOW_S, policy=ALL)
    model = SessionData("s", [SessionMessage.from_dict(record) for record in said])
    for newest in (1, 2, 3, 5, 17, 60, 100, 150, 399, 400, 500):
        assert model.get_chat_history(newest) == engine.history(KEY, newest), newest
    engine.update(KEY, lambda session: session.messages.__delitem__(slice(leading, None)), now_s=NOW_S, policy=ALL)
    plain = [new_record("user", str(number), NOW_S) for number in range(400)]
    engine.append(KEY, plain, now_s=NOW_S, policy=ALL)
    for newest in (1, 2, 3, 50):
        kept = min(leading, newest - 1)
        expected = [str(number) for number in [*range(kept), *range(400 - newest + kept, 400)]]
        assert expected == texts(engine, newest=newest)


def test_D9_a_checkpoint_moves_with_the_window(engine: Engine) -> None:
    """Goal: a summary stands for the same messages. Method: a checkpoint, then appends that cut, by append and update."""
    say(engine, *"abcdef")

    def mark(session: SessionData) -> None:
        session.last_compaction = CompactionCheckpoint("summary", 5)

    def longer(session: SessionData) -> None:
        session.messages.append(SessionMessage("user", "h", NOW_S))

    engine.update(KEY, mark, now_s=NOW_S, policy=ALL)
    say(engine, "g", policy=policy_named("truncate", 4))
    session = engine.read(KEY, None)
    assert session is not None
    assert session.last_compaction is not None
    assert (list("defg"), 2) == (texts(engine), session.last_compaction.message_index)
    engine.update(KEY, longer, now_s=NOW_S, policy=policy_named("archive", 3))
    session = engine.read(KEY, None)
    assert session is not None
    assert session.last_compaction is not None
    assert (list("fgh"), 0, list("de")) == (texts(engine), session.last_compaction.message_index, archived(engine))


def test_D9_what_a_change_removes_behind_the_window_is_archived(engine: Engine) -> None:
    """Goal: what a reader never saw is not lost by a change. Method: a change of the window's newest messages only."""
    wide = policy_named("archive", 8)
    say(engine, *"abcdefghij", policy=wide)

    def shorten(session: SessionData) -> None:
        session.messages = session.messages[-3:]

    engine.update(KEY, shorten, now_s=NOW_S, policy=wide)
    assert (list("hij"), list("ab")) == (texts(engine), archived(engine))
    engine.update(KEY, lambda session: session.messages.clear(), now_s=NOW_S, policy=wide)
    assert ([], list("ab")) == (texts(engine), archived(engine))
    say(engine, "k", policy=wide)
    assert (["k"], list("ab")) == (texts(engine), archived(engine))


def test_a_write_may_ask_for_a_session_that_came_so_far(engine: Engine) -> None:
    """Goal: what was deleted is not begun anew by who did not see it. Method: the least revision, met and not met."""
    record = [new_record("user", "late", NOW_S)]
    with pytest.raises(RevisionConflictError) as told:
        engine.append(KEY, record, now_s=NOW_S, policy=ALL, least_revision=1)
    assert (1, 0) == (told.value.expected_revision, told.value.revision)
    assert not engine.exists(KEY)
    say(engine, "a")
    say(engine, "b")
    assert 3 == engine.append(KEY, record, now_s=NOW_S, policy=ALL, least_revision=1)
    engine.delete(KEY)
    say(engine, "anew")
    with pytest.raises(RevisionConflictError):
        engine.append(KEY, record, now_s=NOW_S, policy=ALL, least_revision=3)
    assert ["anew"] == texts(engine)
