"""Many processes on one log: nothing is lost, nothing is twice, and no old lease writes (D1, D2, D3)."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from praison_store.disk import log
from praison_store.engines.jsonl import JsonlEngine
from praison_store.engines.memory import MemoryEngine
from praison_store.errors import LeaseExpiredError, StoreWriteError
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import Policy, policy_named
from processes.workers import DEADLINE_S, Job, needs_fork, run_all

KEY = SessionKey("shared")
ALL, ARCHIVE, TRUNCATE = policy_named("keep_all", 1), policy_named("archive", 8), policy_named("truncate", 8)
POLICIES = {"keep_all": ALL, "archive": ARCHIVE, "truncate": TRUNCATE}


def opened(directory: str, *, lock_timeout_s: float = DEADLINE_S, durability: str = "process") -> JsonlEngine:
    """Return an engine on a directory; so patient that only a hang is refused."""
    return JsonlEngine(directory, lock_timeout_s=lock_timeout_s, durability=durability)


def say(engine: JsonlEngine, text: str, policy: Policy = ALL, message_id: str | None = None) -> int:
    """Append one message."""
    return engine.append(KEY, [new_record("user", text, 1.0, message_id=message_id)], now_s=1.0, policy=policy)


def append(directory: str, writer: str, count: int, retention: str, durability: str) -> list[int]:
    """Append `<writer>:0`, `<writer>:1`, ...; return the revisions."""
    engine = opened(directory, durability=durability)
    return [say(engine, f"{writer}:{number}", POLICIES[retention]) for number in range(count)]


def everything(directory: str) -> list[str]:
    """Return the texts of archive and window, as they were said."""
    whole = opened(directory, lock_timeout_s=0.0).whole(KEY)
    assert whole is not None
    return [str(record["content"]) for record in whole[1]] + [str(message.content) for message in whole[0].messages]


def numbers_of(texts: list[str]) -> dict[str, list[int]]:
    """Return each writer's numbers, in the order they stand."""
    found: dict[str, list[int]] = {}
    for text in texts:
        writer, _, number = text.partition(":")
        found.setdefault(writer, []).append(int(number.split()[0]))
    return found


@pytest.mark.parametrize("count", [30, pytest.param(100, marks=pytest.mark.long)])
@pytest.mark.parametrize(("start", "retention", "durability"), [
    ("fork", "keep_all", "full"), ("spawn", "keep_all", "process"), ("forkserver", "archive", "process"),
])
def test_D3_eight_processes_append_side_by_side(
    tmp_path: Path, start: str, retention: str, durability: str, count: int
) -> None:
    """Goal: all of all, each writer's in its order, and as many revisions. Method: all let go at one moment."""
    directory = str(tmp_path)
    jobs: list[Job] = [(append, (directory, f"w{number}", count, retention, durability)) for number in range(8)]
    revisions = run_all(jobs, start=start)
    assert {f"w{number}": list(range(count)) for number in range(8)} == numbers_of(everything(directory))
    assert list(range(1, 8 * count + 1)) == sorted(revision for of_one in revisions for revision in of_one)
    assert ["shared.jsonl"] == sorted(path.name for path in tmp_path.iterdir())


def append_much(directory: str, writer: str, count: int) -> None:
    """Append long messages through a small window, so that the log is written anew now and then."""
    engine = opened(directory)
    for number in range(count):
        say(engine, f"{writer}:{number} {'x' * 2000}", TRUNCATE)


def look(directory: str, times: int) -> None:
    """Read while others write: each view is whole, and none is older than the one before."""
    engine, seen = opened(directory, lock_timeout_s=0.0), 0
    for _ in range(times):
        session, history = engine.read(KEY, None), engine.history(KEY, 3)
        if session is not None:
            assert min(session.revision, 8) == len(session.messages)
            assert session.revision >= seen
            assert len(history) == min(3, len(history)) != 0
            seen = session.revision
            [info] = engine.find()
            assert info.revision >= seen


def test_D1_readers_beside_compacting_writers_see_whole_sessions(tmp_path: Path) -> None:
    """Goal: a compaction shows nobody half a log. Method: 3 writers through a window of 8, 2 readers without a lock."""
    jobs: list[Job] = [(append_much, (str(tmp_path), f"w{number}", 150)) for number in range(3)]
    jobs += [(look, (str(tmp_path), 150))] * 2
    run_all(jobs)
    session = opened(str(tmp_path)).read(KEY, None)
    assert session is not None
    assert (450, 8) == (session.revision, len(session.messages))
    assert (tmp_path / "shared.jsonl").stat().st_size < 500_000


def rename(directory: str, writer: str, count: int) -> None:
    """Set one key of the session's context after the other."""
    engine = opened(directory)
    for number in range(count):
        def change(session: SessionData, key: str = f"{writer}:{number}") -> None:
            session.context[key] = True

        engine.update(KEY, change, now_s=1.0, policy=ALL)


def test_D3_appends_and_changes_take_turns(tmp_path: Path) -> None:
    """Goal: no change overwrites another, nor a message. Method: 3 processes change keys beside 3 that append."""
    jobs: list[Job] = [(rename, (str(tmp_path), f"c{number}", 30)) for number in range(3)]
    jobs += [(append, (str(tmp_path), f"w{number}", 30, "keep_all", "process")) for number in range(3)]
    run_all(jobs)
    session = opened(str(tmp_path)).read(KEY, None)
    assert session is not None
    assert (180, 90) == (session.revision, len(session.context))
    assert {f"w{number}": list(range(30)) for number in range(3)} == numbers_of(everything(str(tmp_path)))


def make_and_delete(directory: str, writer: str, count: int) -> int:
    """Append and delete by turns; return how many deletes found a session."""
    engine, deleted = opened(directory), 0
    for number in range(count):
        assert say(engine, f"{writer}:{number}") >= 1
        deleted += engine.delete(KEY)
    return deleted


def test_D3_first_writes_and_deletes_of_one_session_take_turns(tmp_path: Path) -> None:
    """Goal: a writer that waited on a deleted log writes to the new one. Method: 4 processes append and delete."""
    jobs: list[Job] = [(make_and_delete, (str(tmp_path), f"w{number}", 50)) for number in range(4)]
    assert 50 <= sum(run_all(jobs)) <= 200
    engine = opened(str(tmp_path))
    engine.delete(KEY)
    assert ([], False) == (list(engine.find()), engine.exists(KEY))
    assert [] == list(tmp_path.iterdir())


def take_turns(directory: str, owner: str, rounds: int) -> list[tuple[int, int]]:
    """Claim leases that end at once and write under each; return the generation and the revision of what was taken."""
    engine, accepted = opened(directory), []
    for number in range(rounds):
        lease = engine.claim(KEY, f"{owner}-{number}", 0.0)
        if lease is None:
            continue
        record = new_record("user", f"{owner}:{number} {lease.generation}", 1.0)
        try:
            revision = engine.append(KEY, [record], now_s=1.0, policy=ALL, lease=lease)
        except LeaseExpiredError:
            continue
        accepted.append((lease.generation, revision))
    return accepted


def test_D3_no_write_of_an_old_generation_follows_a_newer_one(tmp_path: Path) -> None:
    """Goal: fencing between processes. Method: 6 processes claim ended leases of each other and write, 60 times each."""
    jobs: list[Job] = [(take_turns, (str(tmp_path), f"o{number}", 60)) for number in range(6)]
    accepted = sorted(pair for of_one in run_all(jobs) for pair in of_one)
    generations = [generation for generation, _revision in accepted]
    assert sorted(set(generations)) == generations, "two writers of one generation"
    assert [revision for _generation, revision in accepted] == sorted(revision for _generation, revision in accepted)
    assert [str(generation) for generation in generations] == [text.split()[1] for text in everything(str(tmp_path))]
    assert generations


@needs_fork
def test_a_fork_inside_a_turn_leaves_the_turn_to_the_parent(tmp_path: Path) -> None:
    """Goal: a child neither writes in its parent's turn nor keeps it. Method: fork in a turn; the child lives on."""
    engine = opened(str(tmp_path), lock_timeout_s=0.0)
    say(engine, "parent:0")
    path = str(tmp_path / "shared.jsonl")
    ready, go = os.pipe()
    told, tell = os.pipe()
    with log.writing(path, timeout_s=0.0, durability="process") as turn:
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go)
                try:
                    turn.append(turn.size_bytes, [b"x"])
                except StoreWriteError:
                    os.write(tell, b"refused")
                os.read(ready, 1)  # until the parent closes its end
            finally:
                os._exit(0)
        os.close(ready)
        os.close(tell)
        assert b"refused" == os.read(told, 7)
    say(engine, "parent:1")
    os.close(go)
    os.waitpid(pid, 0)
    os.close(told)
    assert ["parent:0", "parent:1"] == everything(str(tmp_path))


@needs_fork
def test_a_child_forked_while_a_thread_holds_a_mutex_goes_on(tmp_path: Path) -> None:
    """Goal: no child hangs on its parent's mutex. Method: fork with both engines' mutexes held, and use them there."""
    engine, memory = opened(str(tmp_path)), MemoryEngine()
    say(engine, "parent:0", message_id="0")
    with engine._ids._mutex, memory._mutex:
        pid = os.fork()
        if pid == 0:
            failed = 1
            try:
                threading.Timer(DEADLINE_S, os._exit, (2,)).start()
                say(engine, "parent:0", message_id="0")
                say(engine, "child:0", message_id="1")
                thread = threading.Thread(target=memory.count)
                thread.start()
                thread.join()
                failed = 0
            finally:
                os._exit(failed)
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    say(engine, "child:0", message_id="1")
    assert ["parent:0", "child:0"] == everything(str(tmp_path))
    engine.close()
