"""`praison-store tail`: each message once and in order, however the window moves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from praison_store import DefaultSessionStore
from praison_store.cli import main
from praison_store.cli.tail import Follower

TAIL = [sys.executable, "-m", "praison_store.cli", "tail"]
DEADLINE_S = 60


def new_texts(follower: Follower) -> list[Any]:
    """Return the contents of what is new."""
    return [message["content"] for message in follower.new_messages()]


def test_D9_tail_shows_another_processs_messages_once_while_the_window_moves(
    make_store: Callable[..., DefaultSessionStore]
) -> None:
    """Goal: a follower misses nothing. Method: a real `tail --json` beside us, 200 messages, a window of 8."""
    store = make_store(max_messages=8)
    store.add_user_message("s", "0")
    command = [*TAIL, "s", "--json", "--for", str(DEADLINE_S), "--dir", str(store.session_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [json.loads(process.stdout.readline())["content"]]
        for number in range(1, 200):
            store.add_user_message("s", str(number))
        while len(seen) < 200:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            seen.append(json.loads(line)["content"])
        process.send_signal(signal.SIGINT)
        assert ("", "") == (process.stdout.read(), process.stderr.read())
        assert 130 == process.wait(DEADLINE_S)
    assert [str(number) for number in range(200)] == seen


def test_D9_a_follower_reads_each_message_once_in_bursts_of_every_size(
    make_store: Callable[..., DefaultSessionStore]
) -> None:
    """Goal: no burst is too large. Method: bursts up to several windows between two looks; a system message leads."""
    store = make_store(max_messages=5)
    store.add_message("s", "system", "be brief")
    follower = Follower(store, "s", 10)
    assert ["be brief"] == new_texts(follower)
    written = 0
    for burst in (1, 2, 3, 5, 8, 13, 21, 1, 34):
        expected = [str(number) for number in range(written, written + burst)]
        for text in expected:
            store.add_message("s", "system" if text == "2" else "user", text)
        assert expected == new_texts(follower)
        assert [] == new_texts(follower)
        written += burst


def test_tail_begins_with_the_newest_messages_asked_for(store: DefaultSessionStore, capsys: Any) -> None:
    """Goal: --last is kept. Method: 12 messages; none, three, and the default of ten."""
    store.add_messages("s", [{"role": "user", "content": str(number)} for number in range(12)])
    for options, first in ((["--last", "0"], 12), (["--last", "3"], 9), ([], 2)):
        assert 0 == main(["tail", "s", "--json", "--for", "0", "--dir", str(store.session_dir), *options])
        lines = capsys.readouterr().out.splitlines()
        assert [str(number) for number in range(first, 12)] == [json.loads(line)["content"] for line in lines]


def test_tail_prints_messages_for_people(store: DefaultSessionStore, capsys: Any) -> None:
    """Goal: without --json it reads like show. Method: one message of two lines."""
    store.add_assistant_message("s", "first\nsecond")
    assert 0 == main(["tail", "s", "--for", "0", "--dir", str(store.session_dir)])
    head, *body = capsys.readouterr().out.splitlines()
    assert head.startswith("assistant")
    assert ["  first", "  second"] == body


def test_a_session_that_comes_later_is_shown_from_its_first_message(store: DefaultSessionStore) -> None:
    """Goal: who waits for a session sees all of it. Method: 30 messages come before the second look."""
    follower = Follower(store, "s", 10)
    assert ([], False) == (new_texts(follower), follower.ever_there)
    store.add_messages("s", [{"role": "user", "content": str(number)} for number in range(30)])
    assert [str(number) for number in range(30)] == new_texts(follower)
    assert follower.ever_there


def test_waiting_for_a_session_that_never_comes_is_told(store: DefaultSessionStore, capsys: Any) -> None:
    """Goal: a misspelt id is not silence. Method: follow an unknown id for no time."""
    assert 3 == main(["tail", "nobody", "--for", "0.01", "--dir", str(store.session_dir)])
    captured = capsys.readouterr()
    assert "" == captured.out
    assert "Waiting for it" in captured.err


@pytest.mark.parametrize("forget", ["clear_session", "delete_session"])
def test_a_session_that_begins_anew_is_followed_from_its_new_beginning(
    forget: str, store: DefaultSessionStore, capsys: Any
) -> None:
    """Goal: old counts do not hide new messages. Method: clear or delete, look or not, and write fewer than before."""
    for looks_between in (True, False):
        session_id = f"{forget}-{looks_between}"
        store.add_messages(session_id, [{"role": "user", "content": "old"}] * 5)
        follower = Follower(store, session_id, 10)
        assert ["old"] * 5 == new_texts(follower)
        getattr(store, forget)(session_id)
        if looks_between:
            assert [] == new_texts(follower)
        store.add_messages(session_id, [{"role": "user", "content": "new"}] * 3)
        assert ["new"] * 3 == new_texts(follower)
        assert capsys.readouterr().err.startswith("The session")


def test_a_session_replaced_by_a_longer_one_is_shown_from_its_beginning(store: DefaultSessionStore) -> None:
    """Goal: a new session under the old name is not taken for its continuation. Method: delete, write more, look."""
    store.add_user_message("s", "old")
    follower = Follower(store, "s", 10)
    assert ["old"] == new_texts(follower)
    store.delete_session("s")
    store.add_messages("s", [{"role": "user", "content": "new"}] * 4)
    assert ["new"] * 4 == new_texts(follower)


def test_an_unchanged_file_is_not_read_again(store: DefaultSessionStore) -> None:
    """Goal: waiting costs one look. Method: count the reads of an unchanged session by the disk's own seam."""
    from praison_store.disk import seam

    store.add_user_message("s", "hello")
    follower = Follower(store, "s", 10)
    assert ["hello"] == new_texts(follower)
    calls: list[str] = []

    def counted(name: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        calls.append(name)
        return call(*arguments, **named)

    with seam.intercept(counted):
        assert [] == new_texts(follower)
    assert ["lstat"] == calls
