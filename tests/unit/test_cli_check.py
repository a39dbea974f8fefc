"""`praison-store check`: what it tells, what it saves, and the exit code a script sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore
from praison_store.cli import main

Capture = pytest.CaptureFixture[str]


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the real command in a process of its own; return exit code, stdout and stderr."""
    command = [sys.executable, "-m", "praison_store.cli", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def damaged_dir(make_store: Callable[..., DefaultSessionStore]) -> Path:
    """Return a directory with a whole session, one torn in its third message, and one of garbage."""
    store = make_store(check_at_end=False)
    store.add_user_message("whole", "hello")
    store.add_messages("torn", [{"role": "user", "content": f"words {number}"} for number in range(3)])
    directory = Path(str(store.session_dir))
    torn = directory / "torn.json"
    torn.write_bytes(torn.read_bytes()[:-60])
    (directory / "garbage.json").write_bytes(b"garbage")
    return directory


def test_check_of_a_healthy_directory_is_content(store: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: no false alarm. Method: two sessions, as text and as JSON."""
    store.add_user_message("a", "hello")
    store.add_user_message("b/c", "hello")
    directory = ["--dir", str(store.session_dir)]
    assert 0 == main(["check", *directory])
    told = capsys.readouterr()
    assert "All is well: 2 sessions with 2 messages" in told.out.splitlines()[-1]
    assert "" == told.err
    assert 0 == main(["check", "--json", *directory])
    report = json.loads(capsys.readouterr().out)
    assert (True, 2, 2, []) == tuple(report[name] for name in ("ok", "sessions", "messages", "problems"))


def test_D5_check_tells_of_damage_and_leaves_the_bytes_alone(damaged_dir: Path) -> None:
    """Goal: looking mends nothing unasked. Method: a real `check` on damaged files; compare every file's bytes."""
    before = {path.name: path.read_bytes() for path in damaged_dir.glob("*.json")}
    code, out, err = run("check", "--dir", str(damaged_dir))
    assert 1 == code
    assert "torn.json" in out
    assert "garbage.json" in out
    assert "Not all is well: 1 session with 1 message" in out
    assert "error: 2 problems left. --repair saves what can be saved of damaged files.\n" == err
    assert before == {path.name: path.read_bytes() for path in damaged_dir.glob("*.json")}


def test_D5_check_repair_saves_whole_messages_and_keeps_the_damaged_file(damaged_dir: Path) -> None:
    """Goal: repair saves what can be saved, and says what cannot. Method: repair, read, look into the quarantine."""
    torn = (damaged_dir / "torn.json").read_bytes()
    code, out, err = run("check", "--repair", "--json", "--dir", str(damaged_dir))
    assert 1 == code, "the garbage remains"
    assert "error: 1 problem left.\n" == err
    problems = {problem["path"]: problem for problem in json.loads(out)["problems"]}
    assert (True, 2, 1) == tuple(problems["torn.json"][name] for name in ("repaired", "saved", "lost"))
    assert (False, 0) == tuple(problems["garbage.json"][name] for name in ("repaired", "saved"))
    assert b"garbage" == (damaged_dir / "garbage.json").read_bytes()
    assert [torn] == [path.read_bytes() for path in (damaged_dir / ".quarantine").iterdir()]
    with DefaultSessionStore(damaged_dir) as store:
        assert ["words 0", "words 1"] == [message["content"] for message in store.get_chat_history("torn")]


def test_check_repair_prints_what_was_saved_and_what_was_lost(damaged_dir: Path, capsys: Capture) -> None:
    """Goal: a person sees the numbers. Method: read the table; a second check has the garbage left."""
    assert 1 == main(["check", "--repair", "--dir", str(damaged_dir)])
    captured = capsys.readouterr()
    (row,) = (line for line in captured.out.splitlines() if "torn.json" in line)
    assert row.split()[0] == "repaired"
    assert ["2", "1"] == row.split()[-2:]
    assert 1 == len(captured.err.splitlines()), "the store's log does not tell it again"
    (damaged_dir / "garbage.json").unlink()
    assert 0 == main(["check", "--dir", str(damaged_dir)])


def test_D5_reading_a_damaged_session_tells_what_was_saved(damaged_dir: Path, capsys: Capture) -> None:
    """Goal: the store's warning reaches the person who reads. Method: show the torn session, and the garbage."""
    assert 0 == main(["show", "torn", "--dir", str(damaged_dir)])
    captured = capsys.readouterr()
    assert "words 1" in captured.out
    assert "recovered from .quarantine" in captured.out
    assert captured.err.startswith("warning: ")
    assert 1 == len(captured.err.splitlines())
    assert 7 == main(["show", "garbage", "--dir", str(damaged_dir)])
    assert 1 == len(capsys.readouterr().err.splitlines())


def test_check_gives_the_next_step_for_leftovers(make_store: Callable[..., DefaultSessionStore], capsys: Any) -> None:
    """Goal: each problem comes with its remedy. Method: an old temporary file of a dead writer; follow the advice."""
    store = make_store(check_at_end=False)
    store.add_user_message("s", "hello")
    leftover = Path(str(store.session_dir), f"s.json.{'0' * 16}.tmp")
    leftover.touch()
    os.utime(leftover, (0, 0))
    assert 1 == main(["check", "--dir", str(store.session_dir)])
    assert "praison-store vacuum --dir" in capsys.readouterr().err
    assert 0 == main(["vacuum", "--dir", str(store.session_dir)])
    assert 0 == main(["check", "--dir", str(store.session_dir)])
