"""What the directory of JSON files tells and keeps in cases that whole stores reach rarely."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore, OutcomeUnknownError, SessionStoreError, StoreReadError
from praison_store.disk import lock, seam
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.engines.jsonl import JsonlEngine
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

MakeStore = Callable[..., DefaultSessionStore]


def test_vacuum_removes_a_lease_that_was_never_finished(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a holder killed in the middle of a claim leaves nothing for good. Method: its temporary file."""
    store = make_store()
    store.add_user_message("s", "hello")
    leases = Path(session_dir) / ".leases"
    leases.mkdir()
    (leases / "s.json.0123456789abcdef.tmp").write_bytes(b"{")
    assert [".leases/s.json.0123456789abcdef.tmp"] == store.vacuum().removed
    assert [] == list(leases.iterdir())


def test_D5_an_archive_whose_last_line_is_torn_has_one_damaged_message(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a check counts what is lost. Method: the archive's last bytes are others, its length stays."""
    store = make_store(check_at_end=False, max_messages=2)
    for number in range(4):
        store.add_user_message("s", f"hello {number}")
    assert [] == store.check().problems
    path = Path(session_dir) / ".archive" / "s.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b" ")
    assert [("D5", ".archive/s.jsonl", 1)] == [(found.code, found.path, found.lost) for found in store.check().problems]


def test_a_session_that_another_store_keeps_under_another_name_is_told(
    make_store: MakeStore, session_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: who looks for it learns where it is. Method: the file PraisonAI writes for an id; another id's stays untold."""
    store = make_store(check_at_end=False)
    twin = Path(session_dir) / "a_b.json"
    for stored_id, told in (("a/b", 1), ("a:b", 0)):
        twin.write_text(json.dumps({"session_id": stored_id, "messages": []}))
        caplog.clear()
        with caplog.at_level(logging.WARNING, "praison_store"):
            assert [] == store.get_chat_history("a/b")
        assert told == sum("adopt it" in record.getMessage() for record in caplog.records), stored_id


@pytest.mark.parametrize(("content", "is_marked"), [("hello", False), ("\ud800", True)])
def test_D6_a_file_is_marked_where_only_the_standard_library_reads_it_exactly(
    make_store: MakeStore, session_dir: str, content: str, is_marked: bool
) -> None:
    """Goal: no reader takes another's way by mistake. Method: another store's file, after each kind of write of ours."""
    store = make_store()
    hand_written(session_dir, "s", messages=[{"role": "user", "content": content}])
    writes: list[Callable[[], Any]] = [lambda: store.add_user_message("s", "new"), lambda: store.rename_session("s", "t")]
    for write in writes:
        assert write()
        assert is_marked == ("extended_json" in json.loads(Path(session_dir, "s.json").read_bytes()))
        assert [content, "new"] == [message["content"] for message in store.get_chat_history("s")]


@pytest.mark.parametrize("metadata", [b'"metadata":{"kept":1}', b'"metadata":{}'])
def test_D5_a_repaired_session_keeps_its_metadata(make_store: MakeStore, session_dir: str, metadata: bytes) -> None:
    """Goal: a repair loses nothing that was whole. Method: damage behind a header with metadata."""
    store = make_store()
    store.add_user_message("s", "hello")
    path = Path(session_dir) / "s.json"
    path.write_bytes(path.read_bytes().replace(b'"metadata":{}', metadata, 1)[:-3])
    store.invalidate_cache()
    assert store.add_user_message("s", "again")
    kept = store.get_session("s").metadata
    assert ("kept" in kept) == (b"kept" in metadata)
    assert kept["recovered_from"].startswith(".quarantine/s.json.")


def hand_written(directory: str, name: str, **fields: object) -> Path:
    """Put a session some hand wrote into a directory; a field of None is left out."""
    whole = {"session_id": name, "messages": [{"role": "user", "content": "hello"}], **fields}
    path = Path(directory, f"{name}.json")
    path.write_text(json.dumps({field: value for field, value in whole.items() if value is not None}, indent=1))
    path.chmod(0o600)
    return path


def test_a_session_whose_file_names_no_id_goes_by_its_file_s_name(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a file written by hand is a session like any other. Method: no id in it; read, list, search and check."""
    store = make_store()
    hand_written(session_dir, "s", session_id=None)
    hand_written(session_dir, "t", session_id="")
    assert ["hello"] == [message["content"] for message in store.get_chat_history("s")]
    assert {"s", "t"} == {row["session_id"] for row in store.list_sessions()}
    assert {"s", "t"} == {hit.session_id for hit in store.search("hello")}
    report = store.check()
    assert (2, []) == (report.sessions, report.problems)


def test_sessions_written_in_one_tick_of_the_clock_are_listed_by_their_own_times(
    make_store: MakeStore, session_dir: str
) -> None:
    """Goal: the newest comes first on a coarse clock too. Method: equal times of files, other times in them."""
    store = make_store()
    for number, name in enumerate("bca"):
        os.utime(hand_written(session_dir, name, updated_at=f"2026-01-0{number + 1}T00:00:00+00:00"), (1e9, 1e9))
    os.utime(hand_written(session_dir, "newest", updated_at="2025-01-01T00:00:00+00:00"), (2e9, 2e9))
    assert ["newest", "a", "c", "b"] == [row["session_id"] for row in store.list_sessions()]


def test_a_listing_the_system_refuses_is_told(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a directory that cannot be read is no empty one. Method: scandir fails; then the directory is gone."""
    store = make_store()
    store.add_user_message("s", "hello")

    def refused(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "scandir":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return call(*args, **named)

    with seam.intercept(refused), pytest.raises(StoreReadError):
        store.list_sessions()
    shutil.rmtree(session_dir)
    assert [] == store.list_sessions()


def test_a_session_gone_while_its_directory_is_read_is_left_out(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a listing beside a deletion shows the others. Method: remove a file between its name and its state."""
    store = make_store()
    for name in ("gone", "kept"):
        store.add_user_message(name, "hello")

    def removing(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name != "scandir":
            return call(*args, **named)
        with call(*args, **named) as found:
            entries = list(found)
        Path(session_dir, "gone.json").unlink(missing_ok=True)
        return nullcontext(iter(entries))

    with seam.intercept(removing):
        assert ["kept"] == [row["session_id"] for row in store.list_sessions()]


def test_what_counts_an_archive_is_no_field_of_a_session(make_store: MakeStore, session_dir: str) -> None:
    """Goal: bookkeeping of a file stays in it. Method: list a session as we write it, and as an editor saves it."""
    store = make_store(max_messages=2)
    for number in range(4):
        store.add_user_message("s", str(number))
    path = Path(session_dir, "s.json")
    for text in (path.read_text(), json.dumps(json.loads(path.read_text()), indent=1)):
        path.write_text(text)
        [row] = store.list_sessions()
        assert "archived_bytes" not in row
        assert "archived_bytes" not in store.get_session("s").to_dict()


def test_a_revision_grows_though_another_store_dropped_it(make_store: MakeStore, session_dir: str) -> None:
    """Goal: no two states share a revision. Method: another store saves the session, with less and with more in it."""
    store = make_store()
    for number in range(3):
        store.add_user_message("s", str(number))
    assert 3 == store.get_session("s").revision
    hand_written(session_dir, "s")
    assert 4 == store.get_session("s").revision
    hand_written(session_dir, "s", messages=[{"role": "user", "content": str(number)} for number in range(9)])
    assert 9 == store.get_session("s").revision
    hand_written(session_dir, "s", revision=2)
    assert 2 == store.get_session("s").revision


def test_D4_a_session_of_one_name_does_not_adopt_another_s_archive(make_store: MakeStore, session_dir: str) -> None:
    """Goal: an archive is its own session's. Method: another store saves the session, begun as ours was or anew."""
    store = make_store(check_at_end=False, max_messages=2)
    for number in range(6):
        store.add_user_message("s", str(number))
    begun = store.get_session("s").created_at
    archived = [message.content for message in store.get_archived_messages("s")]
    assert ["0", "1", "2"] == archived[:3]
    hand_written(session_dir, "s", created_at="2000-01-01T00:00:00+00:00")
    assert [] == store.get_archived_messages("s")
    hand_written(session_dir, "s", created_at=begun)
    assert archived == [message.content for message in store.get_archived_messages("s")]


def test_a_check_tells_how_much_was_lost(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a person learns what a repair could not save. Method: a file that counts its messages, one that does not."""
    store = make_store(check_at_end=False)
    for name in ("counted", "other"):
        store.add_messages(name, [{"role": "user", "content": str(number)} for number in range(4)])
    path = Path(session_dir, "counted.json")
    path.write_bytes(path.read_bytes()[:-20])
    path = Path(session_dir, "other.json")
    path.write_bytes(path.read_bytes().replace(b'"message_count"', b'"message_sount"')[:-20])
    told = {problem.path: problem for problem in store.check(repair=True).problems}
    assert (True, 3, 1) == (told["counted.json"].repaired, told["counted.json"].saved, told["counted.json"].lost)
    assert (True, 3, None) == (told["other.json"].repaired, told["other.json"].saved, told["other.json"].lost)
    assert "3 messages saved, 1 lost" in told["counted.json"].message
    assert "3 messages saved, an unknown number lost" in told["other.json"].message


def test_a_message_another_store_archived_is_not_stored_again(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a retry by id stores once, wherever the first is by now. Method: the archive PraisonAI keeps in the file."""
    store = make_store()
    past = [{"role": "user", "content": text, "message_id": text, "metadata": {"n": 2**70}} for text in ("one", "two")]
    hand_written(session_dir, "s", archived_messages=past)
    assert store.add_user_message("s", "two", message_id="two") is True
    assert ["hello"] == [message["content"] for message in store.get_chat_history("s")]
    assert store.add_messages("s", [{**past[0], "metadata": {}}, {"role": "user", "content": "new", "message_id": "new"}])
    assert ["hello", "new"] == [message["content"] for message in store.get_chat_history("s")]
    assert ["one", "two"] == [message.content for message in store.get_archived_messages("s")]


def test_D5_a_damaged_session_that_is_changed_or_deleted_is_kept_first(make_store: MakeStore, session_dir: str) -> None:
    """Goal: no damaged byte goes without a copy. Method: each way to write to a torn file; look into the quarantine."""
    store = make_store(max_messages=4)
    writes: dict[str, Callable[[], Any]] = {
        "deleted": lambda: store.delete_session("deleted"), "cleared": lambda: store.clear_session("cleared"),
        "added": lambda: store.add_user_message("added", "new"), "named": lambda: store.rename_session("named", "new"),
    }
    for name, write in writes.items():
        store.add_messages(name, [{"role": "user", "content": str(number)} for number in range(4)])
        path = Path(session_dir, f"{name}.json")
        path.write_bytes(torn := path.read_bytes()[:-20])
        assert write()
        [kept] = Path(session_dir, ".quarantine").glob(f"{name}.json.*")
        assert torn == kept.read_bytes()
    assert not Path(session_dir, "deleted.json").exists()
    assert [] == store.get_chat_history("cleared")
    assert ["0", "1", "2", "new"] == [message["content"] for message in store.get_chat_history("added")]
    assert ["0", "1", "2"] == [message["content"] for message in store.get_chat_history("named")]


def test_a_session_that_did_not_change_costs_one_look(make_store: MakeStore, session_dir: str) -> None:
    """Goal: an agent's next turn is not paid for by its past. Method: the calls of reads by one who never wrote."""
    make_store().add_messages("s", [{"role": "user", "content": "hello"}, {"role": "tool", "content": "x", "tool_call_id": "t"}])
    reader = make_store()
    writer = make_store()
    writer.add_user_message("plain", "hello")
    before = len(os.listdir("/proc/self/fd"))
    assert [{"role": "user", "content": "hello"}] == reader.get_chat_history("plain")
    assert before == len(os.listdir("/proc/self/fd")), "one look holds nothing open"
    calls: list[str] = []

    def counted(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        calls.append(name)
        return call(*args, **named)

    for _ in range(2):
        reader.get_chat_history("s")
    for read in (reader.get_chat_history, reader.get_session, reader.session_exists):
        calls.clear()
        with seam.intercept(counted):
            assert read("s")
        assert ["lstat"] == calls
    reader.invalidate_cache("s")
    with seam.intercept(counted):
        assert reader.get_session("s")
    assert "read" in calls
    calls.clear()
    with seam.intercept(counted):
        assert writer.get_chat_history("plain")
    assert ["lstat"] == calls, "what one wrote oneself is known"


def set_user(user_id: str, session: SessionData) -> None:
    """Name a session's user, as a change of it."""
    session.user_id = user_id


def test_D4_a_session_is_found_under_the_namespace_it_was_stored_in(tmp_path: Path) -> None:
    """Goal: alice's and bob's sessions of one id are two. Method: plain and hashed names; find, search, count, vacuum."""
    engine = JsonFilesEngine(str(tmp_path), durability="process")
    spaces = ["", "alice", "b/b", "c" * 300]
    policy = policy_named("archive", 2)
    for space in spaces:
        key = SessionKey("s", space)
        engine.append(key, [new_record("user", f"hello {number}", 1.0) for number in range(3)], now_s=1.0, policy=policy)
        engine.update(key, partial(set_user, space), now_s=2.0, policy=policy)
    try:
        assert set(spaces) == {info.namespace for info in engine.find(namespace=None)}
        assert len(spaces) == len([*engine.search(["hello"], namespace=None)]) == engine.count(namespace=None)
        for space in spaces:
            [info] = engine.find(namespace=space)
            assert (("s", space), 1) == ((info.session_id, info.namespace), engine.count(namespace=space))
        assert 0 == engine.count(namespace="nobody")
        report = engine.check(repair=False)
        assert (4, [], 4) == (report.sessions, report.problems, report.archived)
        [alices] = tmp_path.glob("@alice")
        (alices / "s.json.0123456789abcdef.tmp").write_bytes(b"12345")
        (alices / "s.json").write_bytes(b"damaged")
        assert ["@alice/s.json"] == [problem.path for problem in engine.check(repair=False).problems]
        removed = engine.vacuum()
        assert (["@alice/s.json.0123456789abcdef.tmp"], 5) == (removed.removed, removed.freed_bytes)
    finally:
        engine.close()


def test_D7_an_archive_that_cannot_be_removed_is_told(make_store: MakeStore, session_dir: str) -> None:
    """Goal: deleted means deleted, or said not to be. Method: the unlink of the archive fails; then vacuum."""
    store = make_store(max_messages=2)
    archive = Path(session_dir, ".archive", "s.jsonl")

    def refused(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "unlink" and args[0] == str(archive):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return call(*args, **named)

    for number in range(6):
        store.add_user_message("s", str(number))
    with seam.intercept(refused), pytest.raises(OutcomeUnknownError):
        store.delete_session("s")
    assert archive.exists()
    assert not store.session_exists("s")
    assert ["leftover"] == [problem.code for problem in store.check().problems]
    assert ".archive/s.jsonl" in store.vacuum().removed
    assert not archive.exists()


def test_a_session_that_another_deletes_first_is_not_deleted_twice(make_store: MakeStore, session_dir: str) -> None:
    """Goal: the answer tells who did it. Method: the file goes between the first look and the turn."""
    store = make_store()
    store.add_user_message("s", "hello")

    def removing(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "lock":
            Path(session_dir, "s.json").unlink(missing_ok=True)
        return call(*args, **named)

    with seam.intercept(removing):
        assert store.delete_session("s") is False
    store.add_user_message("s", "hello")
    assert [True, False] == [store.delete_session("s"), store.delete_session("s")]


def test_D5_an_archive_that_lacks_bytes_is_told_and_a_whole_one_is_not(
    make_store: MakeStore, session_dir: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: a warning means something. Method: read a whole archive, a shorter one, one with a damaged line."""
    store = make_store(check_at_end=False, max_messages=2)
    for number in range(6):
        store.add_user_message("s", str(number))
    path = Path(session_dir, ".archive", "s.jsonl")
    whole = path.read_bytes()
    for raw, told in ((whole, 0), (whole[:-1], 1), (b"x" + whole[1:], 1), (b"", 1)):
        path.write_bytes(raw)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "praison_store"):
            store.get_archived_messages("s")
        assert told == sum("the archive lacks" in record.getMessage() for record in caplog.records), raw


@pytest.mark.parametrize("scheme", ["", "jsonl://"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_D8_what_is_planted_in_a_namespace_s_or_the_leases_place_is_followed_nowhere(
    tmp_path: Path, scheme: str, kind: str
) -> None:
    """Goal: nobody else's files are listed, removed or written. Method: a file, then a link, at two names of ours."""
    directory, elsewhere = tmp_path / "sessions", tmp_path / "elsewhere"
    elsewhere.mkdir()
    suffix = ".jsonl" if scheme else ".json"
    engine = JsonlEngine(str(directory)) if scheme else JsonFilesEngine(str(directory))
    key, policy = SessionKey("s"), policy_named("archive", 4)
    engine.append(key, [new_record("user", "hello", 1.0)], now_s=1.0, policy=policy)
    theirs = [elsewhere / f"s{suffix}", elsewhere / f"s{suffix}.0123456789abcdef.tmp"]
    for path in theirs:
        path.write_bytes((directory / f"s{suffix}").read_bytes())
    for name in ("@other", ".leases"):
        if kind == "link":
            (directory / name).symlink_to(elsewhere)
        else:
            (directory / name).write_bytes(b"")
    try:
        assert ["s"] == [info.session_id for info in engine.find(namespace=None)]
        assert 1 == engine.count(namespace=None) == len([*engine.search(["hello"], namespace=None)])
        if isinstance(engine, JsonFilesEngine):
            report = engine.check(repair=True)
            assert 1 == report.sessions
            assert {"@other": "D8", ".leases": "D8"} == {found.path: found.code for found in report.problems}
        assert [] == engine.vacuum().removed
        with pytest.raises(SessionStoreError):
            engine.claim(key, "me", 60.0)
    finally:
        engine.close()
    assert sorted(theirs) == sorted(elsewhere.iterdir())


def test_D1_D5_a_damaged_session_is_served_while_its_turn_is_taken(make_store: MakeStore, session_dir: str) -> None:
    """Goal: a reader waits for nobody, not even to repair. Method: a torn file whose turn is held; then it is free."""
    store = make_store()
    store.add_messages("s", [{"role": "user", "content": str(number)} for number in range(4)])
    path = Path(session_dir, "s.json")
    path.write_bytes(torn := path.read_bytes()[:-20])
    with lock.exclusive(str(path), timeout_s=0.0):
        assert ["0", "1", "2"] == [message["content"] for message in store.get_chat_history("s")]
        assert ["0", "1", "2"] == [message.content for message in store.get_session("s").messages]
        assert torn == path.read_bytes()
        assert not Path(session_dir, ".quarantine").exists()
    assert ["0", "1", "2"] == [message["content"] for message in store.get_chat_history("s")]
    [kept] = Path(session_dir, ".quarantine").iterdir()
    assert torn == kept.read_bytes() != path.read_bytes()
