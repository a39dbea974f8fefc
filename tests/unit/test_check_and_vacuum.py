"""`check` tells what a directory can show, `repair` saves what can be saved, `vacuum` removes what nobody needs."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from praison_store import CheckReport, CorruptSessionError, DefaultSessionStore, Problem, VacuumReport
from praison_store.disk import lock, seam

Make = Callable[..., DefaultSessionStore]


def old(path: Path, seconds: float = 7200.0) -> Path:
    """Make a file look as if it was written that long ago."""
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def codes(report: CheckReport) -> dict[str, str]:
    """Return the code of each problem by the file it is in."""
    return {problem.path: problem.code for problem in report.problems}


def test_a_directory_that_is_well_has_no_problems(make_store: Make) -> None:
    """Goal: no false alarm. Method: plain and odd ids, archives, PraisonAI's layout, locks, an empty directory."""
    store = make_store(max_messages=2)
    report = store.check()
    assert CheckReport(str(store.session_dir), file_system=report.file_system, not_promised=report.not_promised) == report
    for name in ("plain", "a/b", "é" * 300):
        for number in range(5):
            store.add_user_message(name, str(number))
    Path(str(store.session_dir), "theirs.json").write_text(
        json.dumps({"session_id": "theirs", "messages": [{"role": "user", "content": "x"}]}, indent=2)
    )
    report = store.check()
    assert (4, 7, 9, [], True) == (report.sessions, report.messages, report.archived, report.problems, report.ok)
    assert report == store.check(repair=True)


def test_each_kind_of_damage_is_told_by_its_invariant(make_store: Make, tmp_path: Path) -> None:
    """Goal: a person learns what is wrong and where. Method: one file of each kind; check changes none of them."""
    store = make_store(check_at_end=False, max_messages=2)
    directory = Path(str(store.session_dir))
    for name in ("whole", "torn", "archive", "short", "open"):
        for number in range(5):
            store.add_user_message(name, str(number))
    torn = (directory / "torn.json").read_bytes()
    (directory / "torn.json").write_bytes(torn[:-20])
    (directory / "nothing.json").write_bytes(b"")
    (directory / "list.json").write_bytes(b"[]")
    (directory / "other.json").write_bytes((directory / "whole.json").read_bytes())
    (directory / ".archive" / "archive.jsonl").write_bytes(b"damaged\n" * 30)
    (directory / ".archive" / "short.jsonl").write_bytes(b"")
    (directory / "open.json").chmod(0o644)
    (directory / "link.json").symlink_to(tmp_path)
    (directory / ".archive" / "gone.jsonl").write_bytes(b"")
    old(directory / "whole.json").with_name("whole.json.0123456789abcdef.tmp").write_bytes(b"x")
    old(directory / "whole.json.0123456789abcdef.tmp")
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    report = store.check()
    assert {
        "torn.json": "D5", "nothing.json": "D5", "list.json": "D5", "other.json": "D4", ".archive/archive.jsonl": "D5",
        ".archive/short.jsonl": "D9", "open.json": "D8", "link.json": "D8", ".archive/gone.jsonl": "leftover",
        "whole.json.0123456789abcdef.tmp": "leftover",
    } == codes(report)
    assert not report.ok
    assert before == {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_D5_repair_saves_whole_messages_and_keeps_the_damaged_file(make_store: Make) -> None:
    """Goal: nothing whole is lost, nothing damaged thrown away. Method: a torn file, an unsavable one, a whole one."""
    store = make_store(check_at_end=False)
    directory = Path(str(store.session_dir))
    for name in ("torn", "whole"):
        store.add_messages(name, [{"role": "user", "content": str(number)} for number in range(4)])
    torn = (directory / "torn.json").read_bytes()[:-20]
    (directory / "torn.json").write_bytes(torn)
    (directory / "lost.json").write_bytes(b'{"session_id"')
    report = store.check(repair=True)
    problems = {problem.path: problem for problem in report.problems}
    assert {"torn.json", "lost.json"} == set(problems)
    assert isinstance(problems["torn.json"], Problem)
    assert (True, 3, 1) == (problems["torn.json"].repaired, problems["torn.json"].saved, problems["torn.json"].lost)
    assert (False, 0) == (problems["lost.json"].repaired, problems["lost.json"].saved)
    assert (2, 7, False) == (report.sessions, report.messages, report.ok)
    [kept] = (directory / ".quarantine").iterdir()
    assert torn == kept.read_bytes()
    assert ["0", "1", "2"] == [message["content"] for message in store.get_chat_history("torn")]
    assert f".quarantine/{kept.name}" == store.get_session("torn").metadata["recovered_from"]
    assert {"lost.json": "D5"} == codes(store.check())
    assert b'{"session_id"' == (directory / "lost.json").read_bytes()


def test_D5_a_damaged_session_hides_no_other(make_store: Make) -> None:
    """Goal: one bad file breaks no listing and no search. Method: damage of several kinds beside a whole session."""
    store = make_store(check_at_end=False)
    directory = Path(str(store.session_dir))
    for name in ("whole", "half"):
        store.add_user_message(name, "hello world")
        store.set_agent_info(name, "agent")
    head = (directory / "half.json").read_bytes().split(b"\n")[0]
    (directory / "half.json").write_bytes(head + b'\n{"role":"user","content":"hello')
    odd = {
        "a": "", "b": "hello", "c": "[]", "d": "null", "e": '{"messages": 5}', "f": '{"messages": ["hello"]}',
        "g": '{"session_id": 5, "messages": []}', "h": '{"session_id": "\\ud800", "messages": []}',
        "i": '{"session_id": "other", "messages": []}', "j": '{"messages": [], "metadata": "hello"}',
        "k": '{"messages": [{"role": "user", "content": "hello", "tool_calls": 5}]}', "l": "\0" * 500,
        "m": '{"messages": [{"role": 5, "content": {"hello": 1}, "metadata": 5, "timestamp": "x"}], "agent_name": 5}',
        "n": '{"session_id": "n", "messages": [{"content": "hello"}], "archived_messages": 5, "last_compaction": 5}',
    }
    for name, text in odd.items():
        (directory / f"{name}.json").write_text(text)
    assert "whole" in [row["session_id"] for row in store.list_sessions()]
    assert "whole" in [summary.session_id for summary in store.recent()]
    assert "whole" in [hit.session_id for hit in store.search("hello", limit=50)]
    assert "whole" in store.list_sessions_by_agent("agent")
    assert "whole" in [session.session_id for session in store.get_sessions_by_agent("agent")]
    assert ["hello world"] == [message["content"] for message in store.get_agent_chat_history("agent")][:1]
    with pytest.raises(CorruptSessionError):
        store.get_chat_history("a")


def test_vacuum_removes_what_no_writer_will_finish(make_store: Make) -> None:
    """Goal: leftovers go, everything else stays. Method: old and young temporary files and locks."""
    store = make_store()
    directory = Path(str(store.session_dir))
    store.add_user_message("s", "x")
    store.add_user_message("gone", "x")
    store.delete_session("gone")
    store.add_user_message("just gone", "x")
    store.delete_session("just gone")
    for name in ("s.json.0123456789abcdef.tmp", "tmpforeign.tmp", "tmpyoung.tmp", "notes.tmp", "mine.txt"):
        (directory / name).write_bytes(b"12345")
    for name in ("tmpforeign.tmp", "notes.tmp", "mine.txt", "gone.json.lock", "s.json.lock", "s.json"):
        old(directory / name)
    report = store.vacuum()
    assert isinstance(report, VacuumReport)
    assert {"s.json.0123456789abcdef.tmp", "tmpforeign.tmp", "gone.json.lock"} == set(report.removed)
    assert 10 == report.freed_bytes
    assert {"s.json", "s.json.lock", "just%20gone.json.lock", "tmpyoung.tmp", "notes.tmp", "mine.txt"} == set(
        os.listdir(directory)
    )
    assert VacuumReport() == store.vacuum()
    assert [{"role": "user", "content": "x"}] == store.get_chat_history("s")


def failing(call_name: str, ending: str) -> Callable[..., Any]:
    """Return a system that refuses one kind of call for names that end in some way."""
    def around(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == call_name and str(args[0]).endswith(ending):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*args, **named)
    return around


def test_what_stands_in_a_place_of_ours_is_told(make_store: Make, tmp_path: Path) -> None:
    """Goal: a person learns what is planted or half done. Method: each odd thing beside a session, one problem each."""
    store = make_store(check_at_end=False)
    directory = Path(str(store.session_dir))
    store.add_user_message("s", "x")
    (directory / ".leases").mkdir()
    for name, raw in (("whole.json", b'{"owner":null,"generation":1,"expires_at_s":0.0}'), ("torn.json", b"{"), ("notes", b"{")):
        (directory / ".leases" / name).write_bytes(raw)
    for name in (".archive", "@planted", ".quarantine", "notes.txt", "@dir/x"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"")
    (directory / "lock.json.lock").symlink_to(tmp_path / "elsewhere")
    (directory / "dir.json").mkdir()
    (directory / "young.json.0123456789abcdef.tmp").write_bytes(b"x")
    old(directory / "notes.txt")
    for name, text in (
        ("group", '{"session_id":"group","agent_name":null,"user_id":null,"created_at":"c","updated_at":"u","revision":1,'
                  '"message_count":0,"archived_bytes":0,"metadata":{},"messages":[\n]}\n'),
        ("counts", '{"session_id": "counts", "message_count": 2, "messages": [{"role": "user", "content": "x"}]}'),
        ("long", json.dumps({"session_id": "x" * 5000, "messages": []})), ("theirs", '{"session_id": "theirs", "messages": []}'),
        ("nameless", '{"messages": []}'),
    ):
        (directory / f"{name}.json").write_text(text)
        (directory / f"{name}.json").chmod(0o640)
    report = store.check()
    assert {
        ".leases/torn.json": "D5", ".archive": "D8", "@planted": "D8", ".quarantine": "D8", "lock.json.lock": "D8",
        "dir.json": "D8", "group.json": "D8", "counts.json": "D5", "long.json": "D4",
    } == {path: code for path, code in codes(report).items() if code != "unreadable"}
    assert (5, 2, 0) == (report.sessions, report.messages, report.archived)
    (directory / "group.json").chmod(0o600)
    assert "group.json" not in codes(store.check())


def test_what_cannot_be_looked_at_is_told_and_hides_nothing(make_store: Make) -> None:
    """Goal: one bad file ends no check. Method: a state, a session and a directory the system does not give."""
    store = make_store(max_messages=2)
    directory = Path(str(store.session_dir))
    for name in ("a", "b"):
        for number in range(4):
            store.add_user_message(name, str(number))
    (directory / "z.json").write_bytes(b"")
    for call, ending, path in (("lstat", "/a.json", "a.json"), ("open", "/a.json", "a.json"), ("scandir", "/.archive", ".archive"),
                               ("open", "/.archive/a.jsonl", "a.json")):
        with seam.intercept(failing(call, ending)):
            found = codes(store.check())
        assert ("unreadable", "D5") == (found[path], found["z.json"]), (call, ending, found)
    (directory / "z.json").unlink()


def test_D5_a_repair_waits_for_its_turn_and_needs_a_name(make_store: Make) -> None:
    """Goal: a repair comes between no write, and guesses no id. Method: a damaged file whose turn is taken; a hashed name."""
    store = make_store(check_at_end=False, lock_timeout=0.0)
    directory = Path(str(store.session_dir))
    for name in ("s", "x" * 300):
        store.add_messages(name, [{"role": "user", "content": str(number)} for number in range(4)])
    damaged = sorted(directory.glob("*.json"))
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-20])
    before = [path.read_bytes() for path in damaged]
    with lock.exclusive(str(directory / "s.json"), timeout_s=0.0):
        report = store.check(repair=True)
    assert not report.ok
    assert ["D5", "unreadable"] == sorted(codes(report).values())
    assert before == [path.read_bytes() for path in damaged]
    report = store.check(repair=True)
    assert {"s.json": True} == {problem.path: problem.repaired for problem in report.problems if len(problem.path) < 10}
    assert [False] == [problem.repaired for problem in report.problems if len(problem.path) > 10]
    assert ["0", "1", "2"] == [message["content"] for message in store.get_chat_history("x" * 300)]
    assert CheckReport(str(directory), sessions=2, messages=6, file_system=report.file_system,
                       not_promised=report.not_promised) == store.check()


def test_vacuum_takes_nothing_from_who_is_writing(make_store: Make) -> None:
    """Goal: a turn that is taken is left alone. Method: what vacuum removes, while its session's turn is held."""
    store = make_store(max_messages=2)
    directory = Path(str(store.session_dir))
    for number in range(6):
        store.add_user_message("s", str(number))
    (directory / "s.json").rename(directory / "kept")
    for name in ("s.json.0123456789abcdef.tmp", ".leases/s.json.0123456789abcdef.tmp"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"12345")
    old(directory / "s.json.lock")
    with lock.exclusive(str(directory / "s.json"), timeout_s=0.0):
        assert VacuumReport() == store.vacuum()
    size_bytes = (directory / ".archive" / "s.jsonl").stat().st_size
    report = store.vacuum()
    assert {"s.json.0123456789abcdef.tmp", ".leases/s.json.0123456789abcdef.tmp", ".archive/s.jsonl", "s.json.lock"} >= set(report.removed)
    assert 10 + size_bytes == report.freed_bytes
    assert ["kept"] == [path.name for path in directory.iterdir() if path.is_file()]
    assert [] == [*(directory / ".archive").iterdir(), *(directory / ".leases").iterdir()]
    (directory / "kept").unlink()


@pytest.mark.parametrize("is_deleted", [True, False])
def test_D5_a_repair_of_what_is_gone_or_whole_by_now_tells_of_none(make_store: Make, is_deleted: bool) -> None:
    """Goal: a report tells what was done. Method: a torn file goes, or is saved whole, before the repair has its turn."""
    store = make_store()
    store.add_messages("s", [{"role": "user", "content": str(number)} for number in range(4)])
    path = Path(str(store.session_dir), "s.json")
    store.update_session_metadata("s", recovered_from="an earlier repair")
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])

    def happening(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "lock" and is_deleted:
            path.unlink(missing_ok=True)
        elif name == "lock":
            path.write_bytes(whole)
        return call(*args, **named)

    with seam.intercept(happening):
        report = store.check(repair=True)
    assert ([], 0 if is_deleted else 1, 0 if is_deleted else 4) == (report.problems, report.sessions, report.messages)
    assert not Path(str(store.session_dir), ".quarantine").exists()
