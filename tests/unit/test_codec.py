"""The codec asked directly, at the edges that whole stores reach rarely: what it refuses, what it keeps, what it adds."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from praison_store import InvalidMessageError
from praison_store.codec import document, lines, salvage, values

FIRST = {"role": "user", "content": "one", "timestamp": 1.0, "metadata": {}}
SECOND = {"role": "assistant", "content": "two", "timestamp": 2.0, "metadata": {}}


def file_of(*records: dict[str, Any], **header: Any) -> lines.LineFile:
    """Return a file of ours with some messages."""
    return lines.build({"session_id": "s", "revision": 1, **header}, [values.dumps(record) for record in records])


def stored(**fields: Any) -> bytes:
    """Return a whole file with some of its fields changed; None takes a field out."""
    whole = {**json.loads(file_of(FIRST, SECOND).bytes_whole()), **fields}
    return values.dumps({name: value for name, value in whole.items() if value is not None})


def test_a_lone_surrogate_is_refused_in_a_new_line_and_kept_in_an_old_one() -> None:
    """Goal: no text is stored that UTF-8 cannot hold (D6). Method: both ways of encoding."""
    record = {"role": "user", "content": "\ud800"}
    with pytest.raises(InvalidMessageError) as refused:
        document.encode_all([record])
    assert "message" == refused.value.where
    [line] = document.encode_all([record], extended=True)
    assert record == json.loads(line)


@pytest.mark.parametrize("raw", [
    b"[]", b"null", b"7", b"", b"{", stored(session_id="other"), stored(revision=None), stored(messages=None),
    stored(messages={}), stored(message_count=3), stored(message_count=None), stored(messages=[FIRST, 7]),
    stored(agent_name=7),
])
def test_D5_a_glance_tells_nothing_about_what_is_not_a_whole_file_of_ours(raw: bytes) -> None:
    """Goal: the fast way believes only what needs no closer look. Method: each way to be something else."""
    assert ([FIRST, SECOND], None) == document.at_a_glance(stored(), "s")
    assert ([FIRST, SECOND], 1) == document.at_a_glance(stored(leading_messages=1), "s")
    assert document.at_a_glance(raw, "s") is None


@pytest.mark.parametrize("raw", [
    b"[]", b"null", b'{"messages": 1}', b"{}", b'{"messages": [1]}', b'{"messages": [{}, []]}',
    b'{"messages": [], "agent_name": 7}', b"[" * 200_000,
])
def test_D5_what_is_no_session_is_refused_by_decode(raw: bytes) -> None:
    """Goal: nothing else looks like an empty session. Method: each way to be no session."""
    with pytest.raises(ValueError):
        document.decode(raw)


@pytest.mark.parametrize(("raw", "value", "extended"), [
    (b'{"n": 1234567890123456789012}', 1234567890123456789012, True), (b'{"n": 9223372036854775807}', 2**63 - 1, False),
    (b'{"n": "\\ud800"}', "\ud800", True), (b'{"n": Infinity}', math.inf, True),
    (b'{"n": 1}', 1, False), (b'{"n": 123456789012345678}', 123456789012345678, False),
])
def test_D6_anybody_s_json_is_read_exactly_and_written_back_equal(raw: bytes, value: Any, extended: bool) -> None:
    """Goal: no reader changes a value. Method: what only the standard library reads, and what both do."""
    read, told = values.loads_any(raw)
    assert ({"n": value}, extended) == (read, told)
    assert type(value) is type(read["n"])
    assert read == values.loads_any(values.dumps_extended(read))[0]


def test_what_no_json_holds_is_refused_by_both_ways_of_encoding() -> None:
    """Goal: nothing becomes some other value without a word (D6). Method: a set, and a circle."""
    circle: list[Any] = []
    circle.append(circle)
    for wrong in ({1}, circle):
        with pytest.raises(InvalidMessageError) as refused:
            values.dumps_extended(wrong)
        assert "message" == refused.value.where
    with pytest.raises(InvalidMessageError) as refused:
        values.dumps({1}, "metadata")
    assert "metadata" == refused.value.where


def test_a_header_that_no_utf_8_holds_is_refused_as_the_session_s() -> None:
    """Goal: the error tells that it is not about a message. Method: a lone surrogate in an extra field."""
    with pytest.raises(InvalidMessageError, match="The session would not read back equal") as refused:
        file_of(FIRST, extra="\ud800")
    assert "session" == refused.value.where


def test_a_foreign_document_is_given_what_it_lacks_and_keeps_what_it_has() -> None:
    """Goal: a file of another store becomes ours without a loss. Method: one with nothing, one with everything."""
    bare = document.as_lines(document.decode(b'{"messages": [{"role": "user", "content": "x"}]}'), "s", "now", 7)
    assert ("s", "now", "now", 7, 1) == tuple(
        bare.header()[name] for name in ("session_id", "created_at", "updated_at", "archived_bytes", "revision"))
    empty = document.as_lines(document.decode(b'{"messages": []}'), "s", "now", 0)
    assert (1, 0) == (empty.revision, empty.count)
    told = {"created_at": "c", "updated_at": "u", "archived_bytes": 3, "revision": 9, "messages": [FIRST]}
    full = document.as_lines(document.decode(values.dumps(told)), "s", "now", 7).header()
    assert ("c", "u", 3, 9) == tuple(full[name] for name in ("created_at", "updated_at", "archived_bytes", "revision"))
    inside = {"messages": [FIRST], "archived_messages": [SECOND, SECOND]}
    assert 3 == document.as_lines(document.decode(values.dumps(inside)), "s", "now", 0).revision


def test_an_archive_is_believed_by_its_title_alone() -> None:
    """Goal: no session adopts another's archive. Method: its own title, another's, none, and a damaged one."""
    file = file_of(FIRST, created_at="c")
    title = document.archive_title(file)
    assert {"archive_of": "s", "created_at": "c"} == json.loads(title)
    assert document.is_archive_of(title + b"{}\n", file.header())
    assert not document.is_archive_of(title, {"created_at": "other"})
    assert not document.is_archive_of(b"[]\n", {"created_at": "c"})
    assert not document.is_archive_of(b"{\n", {"created_at": "c"})
    assert document.is_archive_of(b"{\n", {})
    assert document.is_archive_of(title, {})


def test_an_archive_is_read_line_by_line_and_its_damage_counted() -> None:
    """Goal: a damaged line hides no other. Method: a title, messages, a torn line, and a message in a title's words."""
    like_a_title = {"archive_of": "s", "role": "user", "content": "x"}
    whole = [b'{"archive_of":"s","created_at":"c"}', values.dumps(FIRST), b'{"role":', b"7", b"", values.dumps(SECOND)]
    assert ([FIRST, SECOND], 2) == document.archived_records(b"\n".join(whole) + b"\n")
    assert ([like_a_title], 0) == document.archived_records(values.dumps(like_a_title) + b"\n")
    assert ([], 0) == document.archived_records(b"")


def test_messages_are_taken_out_of_a_file_by_number() -> None:
    """Goal: any part of a body is decoded without the rest. Method: every pair of ends, beside a plain list."""
    records = [{"role": "user", "content": f"{number}\n,"} for number in range(4)]
    file = file_of(*records)
    for first in range(6):
        for stop in (None, *range(6)):
            assert records[first:stop] == file.records(first, stop), (first, stop)
    assert [] == file_of().records()
    with pytest.raises(ValueError):
        lines.build({"session_id": "s"}, [b"7"]).records()


@pytest.mark.parametrize(("text", "records", "lost"), [
    ('{"message_count": 3, "messages": [{"role": "user", "content": "a"}, {"role": "user"', 1, 2),
    ('{"message_count": 0, "messages": [{"role": "user", "content": "a"}', 1, 0),
    ('{"messages": [\n{"role": "user",\n "content": "a"},\n{"role": "user", "content": "b"}', 2, None),
    ('{"xessages": [{"role": "user", "content": "a"}]}', 1, None),
    ('{"messages": [{"role": 7, "content": "a"}, {"role": "user", "text": "b"}, {"role": "user", "content": "c"}', 1, None),
    ('{"messages": [{"role": "user", "content": "\udcff"}, {"role": "user", "content": "b"}', 1, None),
    ("no json at all", 0, None), ("", 0, None),
])
def test_D5_what_is_whole_of_a_damaged_file_is_saved(text: str, records: int, lost: int | None) -> None:
    """Goal: every whole message is saved and the rest counted. Method: one file for each kind of damage."""
    saved = salvage.salvage(text.encode("utf-8", "surrogateescape"))
    assert (records, lost) == (len(saved.records), saved.lost)
    assert all("user" == record["role"] and "content" in record for record in saved.records)


def test_D5_a_header_is_saved_only_where_it_is_whole() -> None:
    """Goal: no guessed header. Method: whole, cut in the middle, with bytes that are no text, no object."""
    def header(raw: bytes) -> dict[str, Any]:
        return salvage.salvage(raw).header

    assert {"session_id": "s"} == header(b'{"session_id": "s", "messages": [{"ro')
    assert {} == header(b'{"session_id": , "messages": [{"ro')
    assert {} == header(b'{"session_id": "\xff", "messages": [')
    assert {} == header(b'7 "messages": [')


@pytest.mark.parametrize(("raw", "extended"), [
    (b'{"messages": []}', False), (b'{"messages": [], "extended_json": false}', False),
    (b'{"messages": [], "extended_json": true}', True), (b'{"messages": [{"n": NaN}]}', True),
])
def test_D6_a_file_is_read_exactly_where_it_says_so_or_has_to_be(raw: bytes, extended: bool) -> None:
    """Goal: what once needed the standard library goes on through it. Method: the mark, what needs it, neither."""
    whole = document.decode(raw)
    assert extended is whole.extended
    file = lines.parse(document.as_lines(whole, "s", "now", 0).bytes_whole())
    assert file is not None
    assert (extended, extended) == (file.extended, file.copy().extended)


@pytest.mark.parametrize(("text", "extended"), [
    ("9" * 20, True), ("-" + "9" * 19, True), ("1" + "0" * 18, False), (str(2**64 - 1), False), (str(2**64), True),
    ('"' + "/" * 30 + '"', False), ('"' + ":" * 30 + '"', False),
])
def test_D6_an_integer_past_64_bits_is_exact_whatever_its_digits(text: str, extended: bool) -> None:
    """Goal: no digit is lost, and nothing else takes the slow way. Method: nines, and the letters beside the digits."""
    assert (json.loads(text), extended) == values.loads_any(text.encode())


@pytest.mark.parametrize("is_viewed", [False, True])
def test_D1_what_is_in_memory_is_what_was_written(is_viewed: bool) -> None:
    """
    Goal: the next write builds on this one, though somebody looks at the old bytes, as a profiler does.

    Method: every cut of small files, with and without something added; what a fresh reader makes of the bytes.
    """
    records = [{"role": "user", "content": str(number)} for number in range(3)]
    cuts = [(count, leading, start) for count in range(4) for leading in range(count + 1)
            for start in range(leading, count + 1)]
    for (count, leading, start), added in itertools.product(cuts, ([], [SECOND], [SECOND, FIRST])):
        file = file_of(*records[:count])
        splice = lines.Splice(file, leading, start, [values.dumps(record) for record in added], b"now")
        written, removed = b"".join(splice.chunks()), splice.removed()
        with memoryview(file.body if is_viewed else b""):
            splice.commit()
        where = (count, leading, start, len(added))
        assert written == file.bytes_whole(), where
        kept = [*records[:leading], *records[start:count], *added]
        assert kept == json.loads(written)["messages"] == file.records(), where
        assert records[leading:start] == [json.loads(line) for line in removed.splitlines()], where
        parsed = lines.parse(written)
        assert parsed is not None, where
        assert (2, b"now", len(kept), kept) == (parsed.revision, parsed.updated_at, parsed.count, parsed.records()), where
        assert written == parsed.bytes_whole() == parsed.copy().bytes_whole(), where


@pytest.mark.parametrize("read", [values.loads, values.loads_any, values.loads_extended])
def test_D5_damage_is_an_error_and_no_value(read: Callable[[bytes], Any]) -> None:
    """Goal: nobody takes damage for null. Method: JSON cut off, changed, and none, for each way to read."""
    for raw in (b"", b"{", b'{"a":]}', b"nul", b'"\xff"', b"[1,2"):
        with pytest.raises(ValueError):
            read(raw)


def test_a_file_taken_apart_and_put_together_is_the_same_to_the_byte() -> None:
    """Goal: no field is lost or takes another's place. Method: a file in which every field has a value of its own."""
    header = {
        "session_id": "the id", "agent_name": "the agent", "user_id": "the user", "created_at": "begun",
        "updated_at": "changed", "revision": 7, "archived_bytes": 11, "leading_messages": 1, "metadata": {"k": "v"}, "more": [1],
    }
    raw = lines.build(header, [values.dumps(FIRST), values.dumps(SECOND)]).bytes_whole()
    file = lines.parse(raw)
    assert file is not None
    assert raw == file.bytes_whole()
    assert {**header, "message_count": 2} == file.header()
    assert ({**header, "message_count": 2}, 2) == lines.parse_head(raw)
    assert header | {"messages": [FIRST, SECOND], "message_count": 2} == json.loads(raw)
    assert (b'"the id"', 7, 11, 1) == (file.id_json, file.revision, file.archived_bytes, file.leading)
