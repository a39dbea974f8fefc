"""Bytes that are no session, and sessions written another way: refused and left alone, or read whole (D5)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from processes.workers import needs_fork, run_all

from faults.damage import TEXTS, contents_of, judge, make_session, messages_in
from faults.operations import open_store
from praison_store import CorruptSessionError

NO_SESSIONS = {
    "empty": b"",
    "zeros": bytes(700),
    "binary": b"\x89PNG\r\n\x1a\n\0\0",
    "text": b"not a session\n",
    "blanks": b" \n\n",
    "brace": b"{",
    "list": b"[]",
    "null": b"null",
    "number": b"5",
    "string": b'"text"',
    "no messages": b'{"foo":1}',
    "messages no list": b'{"messages":{}}',
    "messages no objects": b'{"messages":[1,2]}',
    "deep list": b"[" * 2000 + b"]" * 2000,
    "deep object": b'{"a":' * 2000 + b"1" + b"}" * 2000,
}
HOSTILE = {
    "newlines": b"x" + b"\n" * 1_000_000,
    "braces on lines": b"\n{" * 300_000,
    "unclosed messages": b'{"messages":[\n' + b'{"role":"user","content":"' * 30_000,
    "unclosed lists": b'{"messages":[\n' + b'{"role":[[[[[[[[[[' * 30_000,
    "blanks": b'{"messages":[\n' + b" " * 1_000_000 + b"x" + b" \t\n" * 300_000,
    "commas": b'{"messages":[' + b"," * 1_000_000,
    "escapes": b'{"session_id":"' + b"\\u0041" * 300_000,
    "backslashes": b'{"session_id":"' + b"\\" * 1_000_001,
    "zeros": bytes(1_000_000),
    "torn message of 1 MB": b'{"messages":[\n{"role":"user","content":"' + b"y" * 1_000_000,
    "many torn messages": b'{"messages":[\n' + b'{"role":"user","content":"yyyyyyyyyyyyyyyyyyy,\n' * 60_000,
}


@pytest.mark.parametrize("raw", list(NO_SESSIONS.values()), ids=list(NO_SESSIONS))
@pytest.mark.parametrize("first", ["history", "append", "check with repair"])
def test_D5_bytes_that_are_no_session_are_refused_and_left_alone(tmp_path: Path, raw: bytes, first: str) -> None:
    """Goal: not even an empty file is taken for a new session. Method: a read, an append and a repair are refused."""
    original = make_session(tmp_path)
    assert "refused" == judge(tmp_path, original, raw, first)
    assert raw == (tmp_path / "one.json").read_bytes()
    with open_store(tmp_path) as store:
        assert ["one.json"] == [problem.path for problem in store.check().problems if problem.code == "D5"]
        for call in (lambda: store.clear_session("one"), lambda: store.delete_session("one"),
                     lambda: store.set_chat_history("one", []), lambda: store.fork_session("one", "forked")):
            with pytest.raises(CorruptSessionError):
                call()
        assert [] == [hit.session_id for hit in store.search("zweite")]
    assert raw == (tmp_path / "one.json").read_bytes()


def test_D5_other_encodings_are_read_or_recovered(tmp_path: Path) -> None:
    """Goal: a file an editor saved another way. Method: with a byte order mark, as UTF-16, and as Latin-1."""
    original = make_session(tmp_path / "sound")
    text = original.decode()
    for number, raw in enumerate([b"\xef\xbb\xbf" + original, text.encode("utf-16"), text.encode("utf-32-le")]):
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "sound", directory)
        assert messages_in(raw) is not None
        assert "valid" == judge(directory, original, raw, "history")
    assert "recovered" == judge(tmp_path / "sound", original, text.encode("latin-1"), "history")


def test_D5_a_message_nested_too_deep_leaves_the_others_whole(tmp_path: Path) -> None:
    """Goal: one message nobody can decode costs itself only. Method: 2,000 levels inside the second of three."""
    original = make_session(tmp_path)
    deep = b'"metadata":{"deep":' + b"[" * 2000 + b"]" * 2000 + b"}}"
    lines = original.split(b"\n")
    lines[2] = lines[2].replace(b'"metadata":{}}', deep)
    assert "recovered" == judge(tmp_path, original, b"\n".join(lines), "history")
    with open_store(tmp_path) as store:
        assert [TEXTS[0], TEXTS[2]] == contents_of(store)


def read_hostile(directory: str, kind: str) -> str:
    """Read a big damaged file; in a process of its own, which the deadline may end."""
    raw = HOSTILE[kind]
    (Path(directory) / "one.json").write_bytes(raw)
    with open_store(Path(directory)) as store:
        try:
            store.get_chat_history("one")
        except CorruptSessionError:
            assert raw == (Path(directory) / "one.json").read_bytes()
            return "refused"
    return "recovered"


@needs_fork
@pytest.mark.parametrize("kind", list(HOSTILE))
def test_D5_a_hostile_file_hangs_nobody(tmp_path: Path, kind: str) -> None:
    """Goal: the work grows with the file, not with its square. Method: megabytes made to be slow, and a deadline."""
    assert ["refused"] == run_all([(read_hostile, (str(tmp_path), kind))], deadline_s=20.0)
