"""`praison-store migrate` and `--store`: every session of one store in another, proven to have arrived."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore
from praison_store.cli import main
from praison_store.cli.migrate import differences
from praison_store.engines import Engine
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.engines.urls import from_url
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

Capture = pytest.CaptureFixture[str]
ALL = policy_named("keep_all", 1)
TARGETS = ("{path}/files", "file://{path}/files", "jsonl://{path}/log", "sqlite:///{path}/s.db")


def fill(path: Path) -> None:
    """Make sessions of every kind: plain, archived, forked, with tools, metadata, a checkpoint, in a namespace."""
    with DefaultSessionStore(path, 3, durability="process") as store:
        for number in range(9):
            store.add_user_message("archived", f"message {number}")
        store.add_message("tools", "assistant", None, tool_calls=[{"id": "t", "function": {"name": "f"}}])
        store.add_message("tools", "tool", "result", {"k": [1, 1.0, True, None]}, tool_call_id="t", message_id="m")
        store.set_agent_info("tools", "agent", "user")
        store.rename_session("tools", "a title")
        store.append_compaction_checkpoint("tools", "what was said")
        store.add_user_message("a/b \u00e9 \u0000", "odd id \U0001f600 and \u0000")
        store.fork_session("archived", "fork")
        store.update_session_metadata("empty", key="value")
        said = [new_record("user", "alice's", 1.0)]
        store.engine.append(SessionKey("chat", "alice@example.com"), said, now_s=1.0, policy=ALL)
        store.engine.append(SessionKey("chat", "bob"), [new_record("user", "bob's", 2.0)], now_s=2.0, policy=ALL)


def printed(capsys: Capture, code: int, *arguments: str) -> dict[str, Any]:
    """Run `migrate --json` here; return what it printed."""
    assert code == main(["migrate", *arguments, "--json"])
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def assert_equal(old: Engine, new: Engine) -> None:
    """Insist that two engines hold the same sessions."""
    keys = [{(info.namespace, info.session_id) for info in engine.find(namespace=None)} for engine in (old, new)]
    assert keys[0] == keys[1]
    for namespace, session_id in keys[0]:
        key = SessionKey(session_id, namespace)
        wanted, found = old.whole(key), new.whole(key)
        assert wanted is not None
        assert found is not None
        assert [] == differences(wanted, found)
        assert wanted[0].revision <= found[0].revision


@pytest.mark.parametrize("target", TARGETS)
def test_D6_every_session_arrives_as_it_was_and_comes_back(target: str, tmp_path: Path, capsys: Capture) -> None:
    """Goal: lossless both ways, and again for nothing. Method: migrate, compare, repeat, migrate back, compare."""
    fill(tmp_path / "from")
    url = target.format(path=tmp_path)
    told = printed(capsys, 0, str(tmp_path / "from"), url)
    assert (7, 7, 0, 0, 0) == (
        told["sessions"], told["in_target"], told["in_place"], told["differing"], told["failed"])
    again = printed(capsys, 0, str(tmp_path / "from"), url)
    assert (0, 7, 7) == (again["sessions"], again["in_place"], again["in_target"])
    back = printed(capsys, 0, url, str(tmp_path / "back"))
    assert (7, told["messages"]) == (back["sessions"], back["messages"])
    old, new, there = JsonFilesEngine(str(tmp_path / "from")), JsonFilesEngine(str(tmp_path / "back")), from_url(url)
    try:
        assert_equal(old, there)
        assert_equal(old, new)
    finally:
        for engine in (old, new, there):
            engine.close()


def test_a_session_that_differs_is_left_unless_overwritten(tmp_path: Path, capsys: Capture) -> None:
    """Goal: nothing is silently replaced. Method: one session of the same id with another text in TO."""
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    with DefaultSessionStore(old) as store, DefaultSessionStore(new) as other:
        store.add_user_message("s", "theirs")
        other.add_user_message("s", "ours")
        told = printed(capsys, 1, old, new)
        assert (0, 1) == (told["sessions"], told["differing"])
        assert ["ours"] == [message["content"] for message in other.get_chat_history("s")]
        assert 1 == printed(capsys, 0, old, new, "--overwrite")["sessions"]
        assert ["theirs"] == [message["content"] for message in other.get_chat_history("s")]


def test_a_damaged_session_hides_no_other_and_is_told(tmp_path: Path, capsys: Capture) -> None:
    """Goal: what can be copied is. Method: a file of which nothing can be saved beside one that is whole."""
    with DefaultSessionStore(tmp_path / "old") as store:
        store.add_user_message("s", "x")
    (tmp_path / "old" / "bad.json").write_bytes(b"not a session")
    assert 1 == main(["migrate", str(tmp_path / "old"), str(tmp_path / "new")])
    captured = capsys.readouterr()
    assert "bad.json" in captured.err
    assert "Copied 1 session" in captured.out
    assert "1 file left out" in captured.out


@pytest.mark.parametrize("target", ["ftp://host/x", "jsonl://", "same"])
def test_a_target_that_cannot_be_meant_is_one_line(target: str, tmp_path: Path, capsys: Capture) -> None:
    """Goal: a typed refusal before anything is written. Method: an unknown scheme, no directory, the source itself."""
    with DefaultSessionStore(tmp_path) as store:
        store.add_user_message("s", "x")
    assert 2 == main(["migrate", str(tmp_path), str(tmp_path) if target == "same" else target])
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert 1 == len(" ".join(error.split()).split("error: ")) - 1


@pytest.mark.parametrize("target", TARGETS)
def test_every_command_takes_a_url(target: str, tmp_path: Path, capsys: Capture) -> None:
    """Goal: `--store` works wherever `--dir` does. Method: add, then each command that looks, then delete."""
    store = ("--store", target.format(path=tmp_path))
    assert 0 == main(["add", "s", "user", "a needle here", *store])
    for command in (["list"], ["show", "s"], ["search", "needle"], ["stats"], ["export", "--all"],
                    ["tail", "s", "--for", "0"]):
        capsys.readouterr()
        assert 0 == main([*command, *store, "--json"] if command[0] != "export" else [*command, *store]), command
        assert "s" in capsys.readouterr().out
    assert 0 == main(["delete", "s", "--yes", *store])
    assert 3 == main(["show", "s", *store])


@pytest.mark.parametrize("url", ["sqlite:///{path}/none.db", "jsonl://{path}/none", "file://{path}/none"])
def test_looking_makes_no_store(url: str, tmp_path: Path, capsys: Capture) -> None:
    """Goal: a slip of the pen leaves no empty store behind. Method: list what is not there; nothing is made."""
    assert 8 == main(["list", "--store", url.format(path=tmp_path)])
    assert "No such" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())
