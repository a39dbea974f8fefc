"""Logs under fire: tails are torn, lines are damaged, names are planted (D1-D8); their calls fail in test_call_faults."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.interruptions import Recorded
from praison_store import (
    CorruptSessionError,
    LockTimeoutError,
    SessionStoreError,
    StoreReadError,
    StoreWriteError,
)
from praison_store.disk import log, seam
from praison_store.engines.jsonl import JsonlEngine
from praison_store.model.message import SessionMessage, new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import Policy, policy_named

KEY = SessionKey("s")
ALL, ARCHIVE, TRUNCATE = policy_named("keep_all", 1), policy_named("archive", 2), policy_named("truncate", 2)
State = tuple[list[Any], list[Any], dict[str, Any]] | None


def opened(directory: Path, *, lock_timeout_s: float = 0.0, durability: str = "full") -> JsonlEngine:
    """Return an engine on a directory, as a new process would open it."""
    return JsonlEngine(str(directory), lock_timeout_s=lock_timeout_s, durability=durability)


def say(engine: JsonlEngine, *texts: str, policy: Policy = ALL) -> int:
    """Append messages in one write, each with its text as its id."""
    records = [new_record("user", text, 1.0, message_id=text) for text in texts]
    return engine.append(KEY, records, now_s=1.0, policy=policy)


def state_of(directory: Path) -> State:
    """Return what a new process sees of the session: window, archive and metadata."""
    engine = opened(directory)
    whole = engine.whole(KEY)
    session = engine.read(KEY, None)
    assert (whole is None) == (session is None)
    if whole is None or session is None:
        return None
    assert whole[0] == session
    return [one.content for one in session.messages], [record["content"] for record in whole[1]], session.metadata


def reverse(session: SessionData) -> None:
    """Change a session so that its log is written anew."""
    session.messages.reverse()
    session.metadata["reversed"] = True


def retitle(session: SessionData) -> None:
    """Change a session so that only its line is written, and a message behind."""
    session.metadata["title"] = "new"
    if "update" not in [message.content for message in session.messages]:
        session.messages.append(SessionMessage("user", "update", 1.0))


def begin(engine: JsonlEngine) -> None:
    """Write a session's first messages, in one write."""
    say(engine, "a", "b")


WRITES: dict[str, Callable[[JsonlEngine], Any]] = {
    "append": lambda engine: say(engine, "b", "c"),
    "append that cuts": lambda engine: say(engine, "c", policy=ARCHIVE),
    "update behind": lambda engine: engine.update(KEY, retitle, now_s=2.0, policy=ALL),
}


def check_every_cut(directory: Path, old: bytes, whole: bytes, write: Callable[[JsonlEngine], Any]) -> None:
    """Cut a log at each byte of its last write; now and then, write that again and one more."""
    path = directory / "s.jsonl"
    directory.mkdir()
    path.write_bytes(old)
    before = state_of(directory)
    path.write_bytes(whole)
    after = state_of(directory)
    for end in range(len(old), len(whole)):
        path.write_bytes(whole[:end])
        assert before == state_of(directory), end
        assert whole[:end] == path.read_bytes(), "a reader changes nothing"
        if end % 7 == 0:
            engine = opened(directory)
            write(engine)
            assert after == state_of(directory), end
            say(engine, "next")
            engine.close()
            state = state_of(directory)
            assert state is not None
            assert "next" == state[0][-1], end
            for line in path.read_bytes().splitlines():
                json.loads(line)
    assert ["s.jsonl"] == [one.name for one in directory.iterdir()], "nothing was taken for damaged"


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_D2_a_write_torn_at_any_byte_is_not_there_and_is_cut(
    tmp_path: Path, write: Callable[[JsonlEngine], Any]
) -> None:
    """Goal: readers leave a torn write out, the next writer cuts it. Method: a log cut at each byte of its last write."""
    engine, path = opened(tmp_path), tmp_path / "s.jsonl"
    begin(engine)
    old = path.read_bytes()
    write(engine)
    engine.close()
    check_every_cut(tmp_path / "run", old, path.read_bytes(), write)


def test_D2_a_first_write_torn_at_any_byte_is_not_there_and_is_cut(tmp_path: Path) -> None:
    """Goal and method: as for a later write; there is no session before it."""
    engine = opened(tmp_path)
    begin(engine)
    engine.close()
    check_every_cut(tmp_path / "run", b"", (tmp_path / "s.jsonl").read_bytes(), begin)


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_D1_D5_a_write_with_zeros_in_it_is_not_there_and_its_bytes_are_kept(
    tmp_path: Path, write: Callable[[JsonlEngine], Any]
) -> None:
    """
    Goal: a loss of power leaves zeros for a part of the last write, under a whole mark: it happened or not, never half.

    Method: zeros in place of its first bytes, then of the middle of its mark; read, or append at once.
    """
    engine, path = opened(tmp_path), tmp_path / "s.jsonl"
    begin(engine)
    old, before = path.read_bytes(), state_of(tmp_path)
    assert before is not None
    write(engine)
    whole = path.read_bytes()
    for start, end in ((len(old), len(old) + 20), (len(whole) - 90, len(whole) - 60)):
        for reads_first in (True, False):
            path.write_bytes(whole[:start] + bytes(end - start) + whole[end:])
            spoilt = path.read_bytes()
            if reads_first:
                found = state_of(tmp_path)
                assert found is not None
                assert (before[:2], spoilt) == (found[:2], (tmp_path / found[2]["recovered_from"]).read_bytes())
            say(engine, "next")
            found = state_of(tmp_path)
            assert found is not None
            assert ([*before[0], "next"], before[1]) == found[:2]
    engine.close()


def test_D5_zeros_behind_a_session_without_messages_leave_it_without_messages(tmp_path: Path) -> None:
    """Goal: nothing to save is no damage where nothing was there. Method: a cleared session, then zeros in an append."""
    engine, path = opened(tmp_path), tmp_path / "s.jsonl"
    begin(engine)
    engine.update(KEY, lambda session: session.messages.clear(), now_s=2.0, policy=ALL, keep_archive=False)
    old = path.read_bytes()
    begin(engine)
    path.write_bytes(old + bytes(20) + path.read_bytes()[len(old) + 20 :])
    state = state_of(tmp_path)
    assert state is not None
    assert ([], []) == state[:2]
    assert 1 == say(engine, "next") - (engine.read(KEY, None) or SessionData("s")).revision + 1
    engine.close()


def test_D2_a_first_write_has_its_bytes_before_it_has_its_name(tmp_path: Path) -> None:
    """Goal: no loss of power leaves zeros at a session's name. Method: record the calls of a first append."""
    engine, recorded = opened(tmp_path), Recorded()
    with seam.intercept(recorded):
        begin(engine)
    calls = [name for name in recorded.names if name in ("writev", "fsync", "replace")]
    assert ["writev", "fsync", "replace", "fsync"] == calls
    engine.close()


def lines_of(directory: Path) -> list[bytes]:
    """Return a log's lines."""
    return (directory / "s.jsonl").read_bytes().splitlines(keepends=True)


def spoil(directory: Path, number: int, line: bytes) -> bytes:
    """Put other bytes in place of a line; return the log as it is then."""
    lines = lines_of(directory)
    lines[number] = line
    (directory / "s.jsonl").write_bytes(b"".join(lines))
    return b"".join(lines)


@pytest.mark.parametrize("by", ["history", "read", "whole", "update"])
@pytest.mark.parametrize("damage", ["same length", "shorter", "newline lost", "no object"])
def test_D5_a_damaged_message_is_left_out_and_the_log_is_kept(tmp_path: Path, damage: str, by: str) -> None:
    """Goal: the others are saved, the caller is told. Method: damage one line in the middle, look in each way."""
    engine = opened(tmp_path)
    for text in "abcde":
        say(engine, text)
    number = next(index for index, line in enumerate(lines_of(tmp_path)) if b'"content":"c"' in line)
    line = lines_of(tmp_path)[number]
    damaged = {"same length": b"#" + line[1:], "shorter": line[:20] + b"\n", "newline lost": line[:-1],
               "no object": b"[1]\n"}[damage]
    raw = spoil(tmp_path, number, damaged)
    expected = list("abde")
    if by == "history":
        assert expected == [message["content"] for message in engine.history(KEY, None)]
    elif by == "update":
        engine.update(KEY, lambda session: None, now_s=1.0, policy=ALL)
    else:
        assert getattr(engine, by)(*((KEY, None) if by == "read" else (KEY,))) is not None
    state = state_of(tmp_path)
    assert state is not None
    assert (expected, []) == state[:2]
    kept = tmp_path / state[2]["recovered_from"]
    assert raw == kept.read_bytes()
    assert 1 == say(engine, "next") - (engine.read(KEY, None) or SessionData("s")).revision + 1
    engine.close()


def test_D5_a_message_whose_mark_is_damaged_is_saved(tmp_path: Path) -> None:
    """Goal: an acknowledged message is not taken for a torn one. Method: damage the last mark, then write on."""
    engine = opened(tmp_path)
    for text in "abc":
        say(engine, text)
    last = lines_of(tmp_path)[-1]
    spoil(tmp_path, -1, last.replace(b'"revision":3', b'"revision":x'))
    say(engine, "d")
    state = state_of(tmp_path)
    assert state is not None
    assert list("abcd") == state[0]
    assert (tmp_path / state[2]["recovered_from"]).exists()
    engine.close()


def test_D5_a_damaged_session_line_costs_no_message(tmp_path: Path) -> None:
    """Goal: messages outlive what is known of the session. Method: damage the first line."""
    engine = opened(tmp_path)
    say(engine, "a", "b")
    spoil(tmp_path, 0, b"#" + lines_of(tmp_path)[0][1:])
    assert ["a", "b"] == [message["content"] for message in engine.history(KEY, None)]
    engine.close()


def test_D5_lines_edited_by_hand_are_taken_as_they_are(tmp_path: Path) -> None:
    """Goal: a person may correct a text. Method: a longer text in a middle line, so that all marks stand elsewhere."""
    engine = opened(tmp_path)
    for text in "abc":
        say(engine, text)
    number = next(index for index, line in enumerate(lines_of(tmp_path)) if b'"content":"b"' in line)
    spoil(tmp_path, number, lines_of(tmp_path)[number].replace(b'"content":"b"', b'"content":"better"'))
    assert ["a", "better", "c"] == [message["content"] for message in engine.history(KEY, None)]
    assert 5 == say(engine, "d")
    engine.close()


FOREIGN = {"text": b"notes of mine\n", "json lines": b'{"role":"user","content":"x"}\n' * 3, "an array": b"[1, 2]",
           "another log": b'{"log":"something","level":"info"}\n', "binary": bytes(range(256)), "blank": b"\n\n\n"}


@pytest.mark.parametrize("label", FOREIGN)
def test_D5_somebody_elses_file_is_refused_and_left_alone(tmp_path: Path, label: str) -> None:
    """Goal: no foreign file looks like a session or is overwritten. Method: each call on it, beside a good session."""
    path, engine = tmp_path / "s.jsonl", opened(tmp_path)
    path.write_bytes(FOREIGN[label])
    other = SessionKey("other")
    engine.append(other, [new_record("user", "fine", 1.0)], now_s=1.0, policy=ALL)
    for call in (
        lambda: engine.history(KEY, None), lambda: engine.read(KEY, None), lambda: engine.whole(KEY),
        lambda: engine.exists(KEY), lambda: say(engine, "x"), lambda: engine.delete(KEY),
        lambda: engine.update(KEY, reverse, now_s=1.0, policy=ALL),
    ):
        with pytest.raises(CorruptSessionError) as caught:
            call()
        assert str(path) == caught.value.path
    assert FOREIGN[label] == path.read_bytes()
    assert ["other"] == [info.session_id for info in engine.find()]
    assert [] == [found for found in engine.search(["x"]) if found[0].session_id == "s"]
    engine.close()


def test_D4_a_log_under_another_sessions_name_is_refused(tmp_path: Path) -> None:
    """Goal: nobody gets another's history. Method: a log copied to another id's name."""
    engine = opened(tmp_path)
    say(engine, "secret")
    shutil.copy(tmp_path / "s.jsonl", tmp_path / "t.jsonl")
    for call in (lambda: engine.history(SessionKey("t"), None), lambda: engine.delete(SessionKey("t"))):
        with pytest.raises(SessionStoreError, match="holds the session 's'"):
            call()
    assert ["s"] == [info.session_id for info in engine.find()]
    engine.close()


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "directory"])
def test_D8_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    """Goal: nothing is followed, and nobody hangs. Method: plant each at the log's name; read and write."""
    directory, victim = tmp_path / "store", tmp_path / "victim"
    engine, path = opened(directory), directory / "s.jsonl"
    victim.write_bytes(b"precious\n")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(victim if kind == "link" else tmp_path / "nowhere")
    for call in (lambda: say(engine, "x"), lambda: engine.history(KEY, None), lambda: engine.delete(KEY)):
        with pytest.raises(OSError, match=r"s\.jsonl"):
            call()
    assert (b"precious\n", []) == (victim.read_bytes(), list(engine.find()))
    assert sorted(["store", "victim"]) == sorted(path.name for path in tmp_path.iterdir())


def test_D8_a_second_name_of_a_log_gets_nothing_of_what_is_written(tmp_path: Path) -> None:
    """Goal: an append lands in the session's file only. Method: a hard link to a log, then writes."""
    directory = tmp_path / "store"
    engine = opened(directory)
    say(engine, "a")
    os.link(directory / "s.jsonl", tmp_path / "second")
    before = (tmp_path / "second").read_bytes()
    say(engine, "b")
    assert before == (tmp_path / "second").read_bytes()
    state = state_of(directory)
    assert state is not None
    assert ["a", "b"] == state[0]
    engine.close()


def test_D8_files_are_the_owners_alone_under_any_umask(tmp_path: Path) -> None:
    """Goal: 0600 and 0700. Method: the loosest and the strictest umask."""
    for umask in (0o000, 0o777):
        directory = tmp_path / f"{umask:o}"
        old = os.umask(umask)
        try:
            engine = opened(directory)
            say(engine, "a")
            say(engine, "b")
            engine.close()
        finally:
            os.umask(old)
        modes = {path.name: path.stat().st_mode & 0o777 for path in (directory, directory / "s.jsonl")}
        assert {directory.name: 0o700, "s.jsonl": 0o600} == modes


def test_D1_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    """Goal: a stopped writer stops no reader. Method: hold the turn, with half a write behind the last mark, and read."""
    engine = opened(tmp_path)
    say(engine, "a")
    path = tmp_path / "s.jsonl"
    with log.writing(str(path), timeout_s=0.0, durability="process"):
        assert state_of(tmp_path) == (["a"], [], {})
        with path.open("ab") as file:
            file.write(b'{"role":"user","content":"half')
        assert state_of(tmp_path) == (["a"], [], {})
        assert [1] == [info.message_count for info in engine.find()]
        with pytest.raises(LockTimeoutError) as caught:
            say(engine, "b")
        assert (str(path), (os.getpid(),)) == (caught.value.path, caught.value.holder)
    say(engine, "b")
    assert state_of(tmp_path) == (["a", "b"], [], {})
    engine.close()


def test_a_truncated_session_stays_small(tmp_path: Path) -> None:
    """Goal: what is dead goes, and not with each write. Method: 3,000 messages through a window of two."""
    engine, path = opened(tmp_path, durability="process"), tmp_path / "s.jsonl"
    inodes: list[int] = []
    for number in range(3000):
        say(engine, f"{number} {'x' * 100}", policy=TRUNCATE)
        state = path.stat()
        assert state.st_size < 400_000
        if inodes[-1:] != [state.st_ino]:
            inodes.append(state.st_ino)
    assert 2 <= len(inodes) <= 20
    state_now = state_of(tmp_path)
    assert state_now is not None
    assert [2998, 2999] == [int(text.split()[0]) for text in state_now[0]]
    engine.close()


def test_an_archive_is_never_compacted_away(tmp_path: Path) -> None:
    """Goal: archived messages live. Method: a log that compacts for its session line, with an archive in it."""
    engine = opened(tmp_path, durability="process")
    for text in "abcdef":
        say(engine, text, policy=ARCHIVE)

    def change(session: SessionData) -> None:
        session.metadata["blob"] = os.urandom(15_000).hex()

    for _ in range(12):
        engine.update(KEY, change, now_s=1.0, policy=ARCHIVE)
    assert (tmp_path / "s.jsonl").stat().st_size < 250_000
    state = state_of(tmp_path)
    assert state is not None
    assert (["e", "f"], list("abcd")) == state[:2]
    engine.close()


def test_D7_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    """Goal: the error has its errno and path. Method: every write fails with ENOSPC; then there is room again."""
    engine = opened(tmp_path)
    say(engine, "a")

    def full(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name in ("write", "writev"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return call(*args, **named)

    with seam.intercept(full), pytest.raises(StoreWriteError) as caught:
        say(engine, "b")
    assert (errno.ENOSPC, str(tmp_path / "s.jsonl")) == (caught.value.errno, caught.value.path)
    say(engine, "c")
    assert (["a", "c"], [], {}) == state_of(tmp_path)
    engine.close()


def test_messages_that_look_like_the_logs_own_lines_are_messages(tmp_path: Path) -> None:
    """Goal: no content can forge a mark. Method: records whose first field is `log`, and texts with whole marks in them."""
    engine = opened(tmp_path)
    say(engine, "a")
    mark = lines_of(tmp_path)[-1].decode()
    forged = [{"log": "write", "role": "user", "content": mark, "timestamp": 1.0, "metadata": json.loads(mark)},
              {"log": "cut", "behind": 0, "messages": 9, "archived": False, "role": "user", "content": "x"}]
    engine.append(KEY, forged, now_s=1.0, policy=ALL)
    session = engine.read(KEY, None)
    assert session is not None
    assert ["a", mark, "x"] == [message.content for message in session.messages]
    assert (json.loads(mark), 9) == (session.messages[1].metadata, session.messages[2].extra["messages"])
    assert 3 == say(engine, "b")
    engine.close()


def test_D1_D5_a_damaged_log_is_served_where_it_cannot_be_repaired_now(tmp_path: Path) -> None:
    """Goal: a stopped writer keeps nobody from what is whole. Method: damage a log while its turn is taken; look."""
    engine = opened(tmp_path)
    for text in "abcdef":
        say(engine, text, policy=ARCHIVE)
    number = next(index for index, line in enumerate(lines_of(tmp_path)) if b'"content":"b"' in line)
    raw = spoil(tmp_path, number, b"#" + lines_of(tmp_path)[number][1:])
    second = next(index for index, line in enumerate(lines_of(tmp_path)) if b'"content":"e"' in line)
    raw = spoil(tmp_path, second, b"#" + lines_of(tmp_path)[second][1:])
    path = tmp_path / "s.jsonl"
    with log.writing(str(path), timeout_s=0.0, durability="process"):
        whole = engine.whole(KEY)
        assert whole is not None
        assert (["f"], ["a", "c", "d"]) == ([one.content for one in whole[0].messages], [one["content"] for one in whole[1]])
        assert str(path) == whole[0].metadata["recovered_from"]
        assert ["f"] == [message["content"] for message in engine.history(KEY, 5)]
        assert engine.exists(KEY)
    assert raw == path.read_bytes(), "nothing was changed meanwhile"
    say(engine, "g")
    assert ["f", "g"] == [message["content"] for message in engine.history(KEY, None)]
    [kept] = (tmp_path / ".quarantine").iterdir()
    assert raw == kept.read_bytes()[: len(raw)]
    engine.close()


def test_D5_a_log_of_which_nothing_is_whole_is_refused_and_kept(tmp_path: Path) -> None:
    """Goal: it never looks empty. Method: damage its only message; then what it says of whose it is."""
    engine = opened(tmp_path)
    say(engine, "a")
    raw = spoil(tmp_path, 1, b"#\n")
    with pytest.raises(CorruptSessionError, match="line 2"):
        engine.history(KEY, None)
    assert raw == (tmp_path / "s.jsonl").read_bytes()
    engine.delete(SessionKey("unknown"))
    engine.close()
    other = opened(tmp_path / "other")
    say(other, "a", "b")
    lines = lines_of(tmp_path / "other")
    moved = lines[0].replace(b'"s"', b'"someone"') + lines[1][:9] + b"\n" + b"".join(lines[2:])
    (tmp_path / "other" / "s.jsonl").write_bytes(moved)
    with pytest.raises(CorruptSessionError, match="someone"):
        other.read(KEY, None)
    other.close()


def test_lines_longer_than_any_buffer_are_read_and_cut(tmp_path: Path) -> None:
    """Goal: no size is a limit. Method: messages and a title of megabytes, with ids, torn and whole."""
    engine, long = opened(tmp_path), "y" * 3_000_000

    def change(session: SessionData) -> None:
        session.metadata["title"] = long

    engine.update(KEY, change, now_s=1.0, policy=ALL)
    for text in ("a", long, "b"):
        say(engine, text)
    whole = (tmp_path / "s.jsonl").read_bytes()
    for text in ("a", long, "b"):
        say(engine, text)
    assert whole == (tmp_path / "s.jsonl").read_bytes(), "their ids are there"
    with (tmp_path / "s.jsonl").open("ab") as file:
        file.write(b'{"role":"user","content":"' + b"z" * 1_000_000)
    assert ["a", long, "b"] == [message["content"] for message in engine.history(KEY, None)]
    assert [(long, 3)] == [(info.metadata["title"], info.message_count) for info in engine.find()]
    say(engine, "c", policy=TRUNCATE)
    assert ["b", "c"] == [message["content"] for message in engine.history(KEY, None)]
    engine.close()


def test_ids_of_more_sessions_than_are_remembered_are_known_all_the_same(tmp_path: Path) -> None:
    """Goal: forgetting costs a read, not a message. Method: 40 sessions by turns; each message is sent three times."""
    engine = opened(tmp_path, durability="process")
    for _ in range(3):
        for number in range(40):
            for text in ("a", "b"):
                record = new_record("user", text, 1.0, message_id=text)
                engine.append(SessionKey(f"s{number}"), [record], now_s=1.0, policy=ALL)
    assert [["a", "b"]] * 40 == [
        [message["content"] for message in engine.history(SessionKey(f"s{number}"), None)] for number in range(40)]
    engine.close()


def test_D9_a_window_of_leading_messages_only_is_changed_behind_its_log(tmp_path: Path) -> None:
    """Goal: a narrower window is no error. Method: an archive behind ten leading messages, then metadata under five."""
    engine = opened(tmp_path)
    records = [new_record("system", str(number), 1.0) for number in range(10)]
    engine.append(KEY, records, now_s=1.0, policy=ALL)
    said = [new_record("user", str(number), 1.0) for number in range(10, 40)]
    engine.append(KEY, said, now_s=1.0, policy=policy_named("archive", 11))

    def empty(session: SessionData) -> None:
        del session.messages[10:]

    def title(session: SessionData) -> None:
        session.metadata["title"] = "new"

    engine.update(KEY, empty, now_s=1.0, policy=ALL)
    engine.update(KEY, title, now_s=2.0, policy=policy_named("archive", 5))
    texts = [str(number) for number in range(39)]
    assert (texts[:10], texts[10:], {"title": "new"}) == state_of(tmp_path)
    engine.close()


def test_D7_a_log_taken_away_while_its_ids_are_read_is_told(tmp_path: Path) -> None:
    """Goal: a clear error with its path. Method: the second opening of the log finds nothing; then all is well."""
    writer = opened(tmp_path)
    say(writer, "a")
    writer.close()
    engine, path = opened(tmp_path), str(tmp_path / "s.jsonl")
    opens: list[str] = []

    def gone(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "open" and args[0] == path:
            opens.append(path)
            if len(opens) == 2:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return call(*args, **named)

    with seam.intercept(gone), pytest.raises(StoreReadError, match="taken away") as caught:
        say(engine, "b")
    assert path == caught.value.path
    say(engine, "b")
    assert (["a", "b"], [], {}) == state_of(tmp_path)
    engine.close()
