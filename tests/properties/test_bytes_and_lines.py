"""The codec alone: cutting and joining bytes gives the same file as decoding and encoding it whole (D5, D6, D9)."""

from __future__ import annotations

import json
from typing import Any

import anything
import conversations as talk
from anything import typed
from effort import tried
from hypothesis import given
from hypothesis import strategies as st

from praison_store.codec import document, lines, salvage, values

HEADER = {"session_id": "s", "created_at": "2026-01-02T04:00:00+00:00", "updated_at": "2026-01-02T04:01:00+00:00"}
places = st.integers(0, 12)
FOREIGN = [float("nan"), float("inf"), float("-inf"), 2**64, -(2**63) - 1, 10**400, "a\ud800", {"\udfff": ["é", 2**70]}]


def a_file(messages: list[dict[str, Any]]) -> lines.LineFile:
    """Return a file of these messages, read back from its bytes."""
    built = lines.build({**HEADER, "revision": 3}, document.encode_all(messages))
    parsed = lines.parse(built.bytes_whole())
    assert parsed is not None
    return parsed


@tried(200)
@given(st.lists(anything.messages(), max_size=6), anything.objects, anything.texts)
def test_D6_a_file_is_one_json_document_with_a_message_a_line(
    messages: list[dict[str, Any]], metadata: dict[str, Any], agent: str
) -> None:
    """Goal: people and programs can read a file. Method: any messages; json.loads, and the lines one by one."""
    built = lines.build({**HEADER, "agent_name": agent, "metadata": metadata}, document.encode_all(messages))
    raw = built.bytes_whole()
    whole = json.loads(raw)
    assert typed(messages) == typed(whole["messages"])
    assert typed(metadata) == typed(whole["metadata"])
    assert (agent, len(messages)) == (whole["agent_name"], whole["message_count"])
    rows = raw.decode("utf-8").split("\n")
    assert len(messages) + 3 == len(rows)
    assert [typed(m) for m in messages] == [typed(json.loads(row.rstrip(","))) for row in rows[1:-2]]
    parsed = lines.parse(raw)
    assert parsed is not None
    assert raw == parsed.bytes_whole()


@tried(300)
@given(talk.free, st.lists(anything.messages(), max_size=3), places, places)
def test_D9_a_splice_of_bytes_is_the_splice_of_messages(
    old: list[dict[str, Any]], new: list[dict[str, Any]], leading: int, start: int
) -> None:
    """Goal: no cut loses or doubles a byte. Method: any two places; the written file, and the one in memory after."""
    start = min(start, len(old))
    leading = min(leading, start)
    file = a_file(old)
    splice = lines.Splice(file, leading, start, document.encode_all(new), b"2026")
    written = b"".join(bytes(chunk) for chunk in splice.chunks())
    removed = splice.removed()
    splice.commit()
    expected = [*old[:leading], *old[start:], *new]
    for result in (lines.parse(written), file):
        assert result is not None
        assert typed(expected) == typed(result.records())
        assert (len(expected), 4, b"2026") == (result.count, result.revision, result.updated_at)
    assert written == file.bytes_whole()
    assert typed(old[leading:start]) == typed([json.loads(line) for line in removed.splitlines()])
    assert expected == json.loads(written)["messages"]


@tried(200)
@given(talk.free, places, places)
def test_D9_any_range_of_messages_is_decoded_from_its_bytes_alone(
    messages: list[dict[str, Any]], first: int, stop: int
) -> None:
    """Goal: `records(first, stop)` is a slice. Method: any two places."""
    file = a_file(messages)
    assert messages[first:stop] == file.records(first, stop)
    assert len(messages) == len(file.lines())
    assert messages == [json.loads(line) for line in file.lines()]


@tried(300)
@given(st.lists(anything.messages(), min_size=1, max_size=5), st.data())
def test_D5_a_torn_file_never_parses_and_whole_messages_are_saved(
    messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Goal: a damaged file is not taken for a session, and nothing whole is lost. Method: cut a file at any byte."""
    raw = a_file(messages).bytes_whole()
    end = data.draw(st.integers(0, len(raw) - 2))
    torn = raw[:end] + data.draw(st.sampled_from([b"", b"\0" * 7, b"\0" * (len(raw) - end)]))
    if torn.strip() == raw.strip():
        return
    assert lines.parse(torn) is None
    saved = salvage.salvage(torn).records
    whole_lines = max(torn[:end].count(b"\n") - 1, 0)
    assert typed(messages[:whole_lines]) == typed(saved[:whole_lines])
    assert len(saved) <= len(messages)
    assert typed(messages[: len(saved)]) == typed(saved)


@tried(100)
@given(st.lists(anything.messages(), min_size=1, max_size=4), st.data())
def test_D5_a_block_of_zeros_in_a_file_is_never_taken_for_text(
    messages: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Goal: what a power cut leaves of an unflushed file is seen without decoding. Method: zero any piece of a line."""
    raw = a_file(messages).bytes_whole()
    head_end = raw.find(b"\n") + 1
    start = data.draw(st.integers(head_end, len(raw) - len(lines.TAIL) - 1))
    stop = min(start + data.draw(st.integers(1, 50)), len(raw) - len(lines.TAIL))
    newlines = [place for place in range(start, stop) if raw[place : place + 1] == b"\n"]
    zeroed = bytearray(raw[:start] + b"\0" * (stop - start) + raw[stop:])
    for place in newlines:
        zeroed[place - 1 : place + 1] = b",\n"
    assert lines.parse(bytes(zeroed)) is None or 0 not in zeroed


@tried(200)
@given(st.one_of(anything.json_values, st.sampled_from(FOREIGN)))
def test_D6_what_only_the_standard_library_reads_is_told_and_kept(value: Any) -> None:
    """Goal: NaN, long integers and surrogates of other stores survive. Method: their text, there and back."""
    raw = json.dumps(value).encode()
    read, extended = values.loads_any(raw)
    assert typed(json.loads(raw)) == typed(read)
    again = values.dumps_extended(read) if extended else values.dumps(read)
    assert typed(read) == typed(values.loads_any(again)[0])


@tried(200)
@given(st.lists(anything.messages(), max_size=5), anything.names)
def test_a_message_id_is_found_only_where_it_is_the_id(messages: list[dict[str, Any]], wanted: str) -> None:
    """Goal: an id in a text is no id. Method: any messages; the id planted as content and as metadata."""
    planted = [{**m, "content": wanted, "metadata": {"message_id": wanted}, "message_id": "other"} for m in messages]
    assert not lines.record_of_id(a_file(planted).body, wanted) or wanted == "other"
    assert lines.record_of_id(a_file([*planted, {"role": "user", "message_id": wanted}]).body, wanted)
