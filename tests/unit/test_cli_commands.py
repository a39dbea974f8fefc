"""The commands that look and write: list, show, add, search, stats, delete, vacuum, and the app around them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from praison_store import DefaultSessionStore
from praison_store.cli import main
from praison_store.cli.app import app

Capture = pytest.CaptureFixture[str]
READING = (["list"], ["show", "s"], ["search", "word"], ["stats"], ["export", "--all"], ["check"], ["vacuum"],
           ["tail", "s", "--for", "0"], ["delete", "s", "--yes"])


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    command = [sys.executable, "-m", "praison_store.cli", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)


def printed_json(capsys: Capture, *arguments: str) -> Any:
    """Run a command here; return the JSON it printed, and insist that it printed nothing else."""
    assert 0 == main([*arguments, "--json"])
    captured = capsys.readouterr()
    assert "" == captured.err
    return json.loads(captured.out)


# ---- the app --------------------------------------------------------------------------------------------------


def test_the_version_is_the_packages() -> None:
    """Goal: --version tells the truth. Method: run it as `python -m praison_store.cli`."""
    from praison_store import __version__

    assert (0, f"praison-store {__version__}\n", "") == answer(run("--version"))


def answer(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr."""
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command_and_every_exit_code(arguments: list[str], capsys: Capture) -> None:
    """Goal: a newcomer finds the commands, a script's author the codes. Method: read the help."""
    from praison_store.cli.exit_codes import meanings

    assert 0 == main(arguments)
    words = capsys.readouterr().out.split()
    for name in ("demo", "list", "show", "search", "tail", "stats", "add", "delete", "export", "import", "check"):
        assert name in words
    assert all(str(code) in words for code in meanings())


@pytest.mark.parametrize("name", [info.name for info in app.registered_commands])
def test_every_command_has_help_and_a_directory(name: str) -> None:
    """Goal: no command without a word of help. Method: ask each of them, by typer's own runner."""
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "200"})
    assert 0 == result.exit_code
    place = {"migrate": "FROM", "token": "--file"}.get(name, "--dir")  # a token is of a service, not of a store
    assert place in result.stdout
    assert len(result.stdout.splitlines()) > 8


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: arguments[0])
def test_a_reading_command_says_no_such_directory_and_makes_none(
    arguments: list[str], tmp_path: Path, capsys: Capture
) -> None:
    """Goal: looking changes nothing. Method: look into a directory that is not there."""
    missing = tmp_path / "missing"
    assert 8 == main([*arguments, "--dir", str(missing)])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert captured.err.startswith(f"error: No such directory: {missing}.")
    assert 1 == len(captured.err.splitlines())
    assert not missing.exists()


def test_the_directory_comes_from_the_environment_when_no_option_names_one(session_dir: str, tmp_path: Path) -> None:
    """Goal: the command and the library look into the same place. Method: PRAISON_SESSION_DIR, then HOME alone."""
    environment = {**os.environ, "PRAISON_SESSION_DIR": session_dir, "HOME": str(tmp_path)}
    assert 0 == run("add", "s", "user", "here", env=environment).returncode
    assert ["s.json"] == [name for name in os.listdir(session_dir) if name.endswith(".json")]
    del environment["PRAISON_SESSION_DIR"]
    assert 0 == run("add", "t", "user", "there", env=environment).returncode
    assert (tmp_path / ".praison" / "sessions" / "t.json").is_file()


# ---- add ------------------------------------------------------------------------------------------------------


def test_add_stores_text_role_metadata_and_message_id_once(store: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: everything given is kept, and a repeat with the same id is not stored twice. Method: add twice, read."""
    arguments = ["add", "s", "assistant", "Hi", "--message-id", "m1", "--metadata", '{"k": [1, null]}']
    for _ in range(2):
        assert 0 == main([*arguments, "--dir", str(store.session_dir)])
    assert "Stored in 's'." in capsys.readouterr().out
    (message,) = store.get_session("s").messages
    assert ("assistant", "Hi", "m1", {"k": [1, None]}) == (
        message.role, message.content, message.message_id, message.metadata,
    )


@pytest.mark.parametrize(
    ("typed", "stored"), [("one\n", "one"), ("two\nlines\n\n", "two\nlines\n"), ("ü 漢\0字", "ü 漢\0字"), ("", "")]
)
def test_add_reads_a_dash_from_stdin_without_the_last_line_break(
    typed: str, stored: str, store: DefaultSessionStore
) -> None:
    """Goal: `echo text | praison-store add s user -` stores the text. Method: pipe it in."""
    result = CliRunner().invoke(app, ["add", "s", "user", "-", "--dir", str(store.session_dir)], input=typed)
    assert 0 == result.exit_code
    assert [{"role": "user", "content": stored}] == store.get_chat_history("s")


def test_D9_add_does_not_make_the_window_of_a_session_smaller(make_store: Callable[..., DefaultSessionStore]) -> None:
    """Goal: an agent with a longer window keeps it. Method: 300 messages in a window of 1,000, then add one."""
    store = make_store(max_messages=1000)
    store.add_messages("s", [{"role": "user", "content": str(number)} for number in range(300)])
    assert 0 == main(["add", "s", "user", "300", "--dir", str(store.session_dir)])
    assert [str(number) for number in range(301)] == [message["content"] for message in store.get_chat_history("s")]


@pytest.mark.parametrize(
    "arguments",
    [["s", "user", "x", "--metadata", "{"], ["s", "user", "x", "--metadata", "[1]"], ["", "user", "x"],
     ["s", "", "x"], ["s", "user", "x", "--metadata", '{"k": NaN}'], ["s", "user", "\udcff"], ["\udcff", "user", "x"],
     ["s", "user"], ["s", "user", "x", "--no-such-option"], ["s", "user", "x", "--metadata", "[" * 100_000]],
)
def test_D6_what_cannot_be_meant_is_one_line_and_nothing_is_stored(
    arguments: list[str], store: DefaultSessionStore, capsys: Capture
) -> None:
    """Goal: a wrong call is told, and stores nothing. Method: add with every kind of nonsense."""
    assert 2 == main(["add", *arguments, "--dir", str(store.session_dir)])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert 1 == len(captured.err.splitlines())
    assert captured.err.startswith("error: ")
    assert [] == store.list_sessions()


def test_add_refuses_stdin_that_is_no_utf_8(store: DefaultSessionStore) -> None:
    """Goal: bytes that are no text are refused, not guessed. Method: pipe Latin-1 into a real process."""
    command = [sys.executable, "-m", "praison_store.cli", "add", "s", "user", "-", "--dir", str(store.session_dir)]
    done = subprocess.run(command, input=b"caf\xe9", check=False, capture_output=True, timeout=60)
    assert (2, b"") == (done.returncode, done.stdout)
    assert b"no UTF-8 (byte 3)" in done.stderr
    assert [] == store.list_sessions()


# ---- list, show, search, stats --------------------------------------------------------------------------------


def test_list_shows_the_newest_first_and_counts_what_it_leaves_out(store: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: list is what list_sessions says. Method: three sessions, two agents, with and without a limit."""
    for minute, name in enumerate(("first", "second", "third")):
        store.add_user_message(name, "hello")
        store.set_agent_info(name, agent_name="B" if name == "third" else "A")
        # File times are coarse on some systems: sessions written within milliseconds may share one.
        os.utime(f"{store.session_dir}/{name}.json", (60 * minute, 60 * minute))
    directory = ["--dir", str(store.session_dir)]
    rows = printed_json(capsys, "list", *directory)
    assert store.list_sessions() == rows
    assert ["third", "second", "first"] == [row["session_id"] for row in rows]
    (row,) = printed_json(capsys, "list", "--agent", "A", "--limit", "1", *directory)
    assert "second" == row["session_id"]
    assert [] == printed_json(capsys, "list", "--agent", "C", *directory)
    assert 0 == main(["list", "--limit", "2", *directory])
    captured = capsys.readouterr()
    assert ["third", "second"] == [line.split()[0] for line in captured.out.splitlines()[3:5]]
    assert "The newest 2 sessions; --limit shows more.\n" == captured.err


def test_list_of_an_empty_directory_points_to_the_demo(store: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: a newcomer knows what to do next. Method: list before anything is stored."""
    assert 0 == main(["list", "--dir", str(store.session_dir)])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert "praison-store demo" in captured.err


def test_show_prints_messages_in_order_and_the_archive_on_request(
    make_store: Callable[..., DefaultSessionStore], capsys: Capture
) -> None:
    """Goal: show is the history. Method: 30 messages in a window of 10, read as JSON and as text."""
    store = make_store(max_messages=10)
    for number in range(30):
        store.add_user_message("s", f"words {number}")
    window = [message.to_dict() for message in make_store(retention="keep_all").get_session("s").messages]
    directory = ["--dir", str(store.session_dir)]
    shown = printed_json(capsys, "show", "s", *directory)
    assert window == shown["messages"]
    assert 30 - len(window) == shown["archived_count"]
    every = [f"words {number}" for number in range(30)]
    whole = printed_json(capsys, "show", "s", "--archived", *directory)["messages"]
    assert every == [message["content"] for message in whole]
    newest = printed_json(capsys, "show", "s", "--archived", "--last", "3", *directory)["messages"]
    assert every[-3:] == [message["content"] for message in newest]
    assert 0 == main(["show", "s", *directory])
    captured = capsys.readouterr()
    assert every[-len(window):] == [line.strip() for line in captured.out.splitlines() if line.startswith("  words")]
    assert f"{30 - len(window)} older messages left the window" in captured.err


def test_show_prints_parts_and_tool_calls(store: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: nothing of a message is hidden. Method: parts, a tool call, its result, and no content at all."""
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    picture = {"type": "image_url", "image_url": "cat.png"}
    store.add_message("s", "user", [{"type": "text", "text": "Look at this"}, picture])
    store.add_message("s", "assistant", None, tool_calls=[call])
    store.add_message("s", "tool", "sunny", tool_call_id="c1", metadata={"source": "sky"})
    assert 0 == main(["show", "s", "--dir", str(store.session_dir)])
    out = capsys.readouterr().out
    assert "Look at this" in out
    assert "sunny" in out
    for data in ('"image_url":"cat.png"', '"name":"weather"', '"tool_call_id":"c1"', '"source":"sky"'):
        assert data in out


def test_an_unknown_session_is_told_with_its_own_exit_code(store: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: a typing error is told in words of the command line. Method: name a session that is not there."""
    store.add_user_message("s", "hello")
    for arguments in (["show", "t"], ["export", "s", "t"], ["delete", "s", "t", "--yes"], ["tail", "t", "--for", "0"]):
        assert 3 == main([*arguments, "--dir", str(store.session_dir)])
        captured = capsys.readouterr()
        assert "" == captured.out
        assert "'t'" in captured.err
    assert store.session_exists("s"), "nothing is deleted where one of the names is wrong"


def test_search_finds_words_in_window_and_archive(
    make_store: Callable[..., DefaultSessionStore], capsys: Capture
) -> None:
    """Goal: search is what the library finds. Method: a needle that is archived, as JSON and as text."""
    store = make_store(max_messages=4)
    for number in range(20):
        store.add_user_message("hay", "the NEEDLE is here" if number == 3 else f"straw {number}")
    store.add_user_message("other", "nothing")
    directory = ["--dir", str(store.session_dir)]
    (hit,) = printed_json(capsys, "search", "needle", *directory)
    assert ("hay", 3) == (hit["session_id"], hit["anchor_index"])
    assert [2, 3, 4] == [row["index"] for row in hit["messages"]]
    assert 0 == main(["search", "needle", "nowhere", "--window", "0", *directory])
    assert "the NEEDLE is here" in capsys.readouterr().out
    assert [] == printed_json(capsys, "search", "absent", *directory)
    assert 0 == main(["search", "absent", *directory])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert "'absent'" in captured.err


def test_stats_counts_what_is_there(make_store: Callable[..., DefaultSessionStore], capsys: Capture) -> None:
    """Goal: the numbers are those of the messages. Method: compare with what was stored, archive included."""
    store = make_store(max_messages=4)
    for number in range(20):
        store.add_user_message("a", str(number))
    store.add_user_message("b", "x")
    store.set_agent_info("b", agent_name="Assistant")
    directory = str(store.session_dir)
    facts = printed_json(capsys, "stats", "--dir", directory)
    assert ("a", "b") == (facts.pop("oldest")["session_id"], facts.pop("newest")["session_id"])
    # What a read does not show any more may stand in the file a while, until enough of it goes into the archive.
    assert 0 < facts.pop("archived_messages") <= len(store.get_archived_messages("a"))
    on_disk = [path for path in Path(directory).rglob("*.json*") if path.suffix != ".lock"]
    assert {
        "directory": directory, "sessions": 2, "messages": 21, "agents": {"Assistant": 1}, "problems": 0,
        "bytes": sum(path.stat().st_size for path in on_disk),
    } == facts
    assert 0 == main(["stats", "--dir", directory])
    assert "Assistant: 1 session" in capsys.readouterr().out


# ---- delete and vacuum ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "is_deleted"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_delete_asks_first(typed: str, is_deleted: bool, store: DefaultSessionStore) -> None:
    """Goal: nothing is deleted by accident. Method: answer the question in every way, the end of input included."""
    for name in ("a", "b", "c"):
        store.add_user_message(name, "hello")
    result = CliRunner().invoke(app, ["delete", "a", "b", "--dir", str(store.session_dir)], input=typed)
    assert "Delete 2 sessions" in result.stderr
    assert (["c"] if is_deleted else ["a", "b", "c"]) == sorted(row["session_id"] for row in store.list_sessions())
    assert is_deleted is (result.exit_code == 0)


def test_delete_with_yes_does_not_ask_and_takes_a_name_twice(store: DefaultSessionStore) -> None:
    """Goal: scripts can delete. Method: --yes, in a process of its own, the same name twice."""
    store.add_user_message("a/b", "hello")
    done = run("delete", "a/b", "a/b", "--yes", "--dir", str(store.session_dir), stdin=subprocess.DEVNULL)
    assert (0, "Deleted 'a/b'.\n", "") == answer(done)
    assert [] == store.list_sessions()


def test_vacuum_tells_what_it_removed(store: DefaultSessionStore, capsys: Capture) -> None:
    """Goal: vacuum is what the library's does. Method: a temporary file of a dead writer."""
    store.add_user_message("s", "hello")
    leftover = Path(str(store.session_dir), f"s.json.{'0' * 16}.tmp")
    leftover.write_bytes(b"half")
    report = printed_json(capsys, "vacuum", "--dir", str(store.session_dir))
    assert {"removed": [leftover.name], "freed_bytes": 4} == report
    assert not leftover.exists()
    assert 0 == main(["vacuum", "--dir", str(store.session_dir)])
    assert "Nothing to remove.\n" == capsys.readouterr().out
