"""The options of a store: what each may be, what a bad one raises, and where sessions live by default."""

from __future__ import annotations

import os
import pathlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from praison_store import (
    DefaultSessionStore,
    InvalidArgumentError,
    LockTimeoutError,
    SessionStoreError,
    StoreWriteError,
    get_default_session_store,
)
from praison_store.disk import lock


@pytest.mark.parametrize("bad", [0, -1, -(10**9), True, False, "5", 5.0, None, [5], float("nan"), Decimal(5)], ids=repr)
def test_max_messages_is_a_whole_number_from_one(bad: Any, tmp_path: Path) -> None:
    """Goal: a typed error, and no directory made. Method: other kinds, zero, negative."""
    with pytest.raises(InvalidArgumentError) as caught:
        DefaultSessionStore(tmp_path / "s", max_messages=bad)
    assert "max_messages" in caught.value.message
    assert isinstance(caught.value, ValueError | TypeError)
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    "bad", [-1, -0.001, float("nan"), float("inf"), float("-inf"), True, "5", None, [5], 10**400, Decimal(5), 5j],
    ids=repr,
)
def test_lock_timeout_is_a_number_of_seconds(bad: Any, tmp_path: Path) -> None:
    """Goal: a typed error, and no directory made. Method: other kinds, negative, not finite, too large."""
    with pytest.raises(InvalidArgumentError) as caught:
        DefaultSessionStore(tmp_path / "s", lock_timeout=bad)
    assert "lock_timeout" in caught.value.message
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("option", ["retention", "durability"])
@pytest.mark.parametrize(
    "bad", ["", "Archive", "forever", "full ", 0, 1, True, False, b"archive", [], ["archive"], object()], ids=str
)
def test_retention_and_durability_are_one_of_their_names(option: str, bad: Any, tmp_path: Path) -> None:
    """Goal: a misspelt name is told, with the right ones. Method: other names and kinds."""
    with pytest.raises(InvalidArgumentError) as caught:
        DefaultSessionStore(tmp_path / "s", **{option: bad})
    assert {"retention": "truncate", "durability": "ordered"}[option] in caught.value.message
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("bad", ["", 5, 1.5, True, ["x"], b"/tmp/x", "a\0b", object(), pathlib.PurePath], ids=repr)
def test_session_dir_is_a_path_in_text(bad: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a typed error, and nothing made. Method: other kinds, empty, with NUL."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgumentError):
        DefaultSessionStore(bad)
    assert [] == os.listdir(tmp_path)


def test_a_retention_of_none_is_the_default_and_a_durability_of_none_is_not(tmp_path: Path) -> None:
    """Goal: code that hands on PraisonAI's `retention=None` runs. Method: None for each of the two."""
    with DefaultSessionStore(tmp_path, retention=None) as store:
        assert "archive" == store.retention
    with pytest.raises(InvalidArgumentError):
        DefaultSessionStore(tmp_path, durability=None)  # type: ignore[arg-type] # the mistake


def test_a_session_dir_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """Goal: the cause is named and kept. Method: files and links in the way, too long."""
    (tmp_path / "file").write_text("precious")
    (tmp_path / "dangling").symlink_to(tmp_path / "missing")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for bad in ("file", "file/under", "dangling", "circle", "circle/under", "x" * 300):
        with pytest.raises(StoreWriteError) as caught:
            DefaultSessionStore(tmp_path / bad)
        assert isinstance(caught.value, OSError)
        assert caught.value.errno, bad
        assert str(tmp_path) in caught.value.path
    assert "precious" == (tmp_path / "file").read_text()
    assert {"file", "dangling", "circle"} == set(os.listdir(tmp_path))


def test_a_session_dir_may_be_a_link_a_relative_path_or_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: what people write works. Method: each form, and the directory the session lands in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for given, real in (("link", "real"), ("here/./deep", "here/deep"), ("~/mine", "home/mine"), ("trail/", "trail")):
        with DefaultSessionStore(given, durability="process") as store:
            monkeypatch.chdir("/")
            store.add_user_message("s", "x")
            monkeypatch.chdir(tmp_path)
        assert (tmp_path / real / "s.json").is_file(), given


def test_arguments_are_kept_and_the_first_three_may_be_given_by_place(tmp_path: Path) -> None:
    """Goal: the README's constructor. Method: by place, by name, as pathlib, with each option's extremes."""
    with DefaultSessionStore(str(tmp_path), 200, 10.0) as store:
        assert (str(tmp_path), 200, 10.0) == (store.session_dir, store.max_messages, store.lock_timeout)
        assert ("archive", "full") == (store.retention, store.durability)
    with DefaultSessionStore(session_dir=tmp_path, max_messages=10**30, lock_timeout=0) as store:
        store.add_user_message("s", "x")
        assert 1 == len(store.get_chat_history("s"))
    with pytest.raises(TypeError):
        DefaultSessionStore(tmp_path, 1, 1.0, "archive")  # type: ignore[call-arg] # the options are named


def test_the_default_store_is_where_the_environment_says_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the environment counts when the store is asked for. Method: change variable and home between calls."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PRAISON_SESSION_DIR", raising=False)
    at_home = get_default_session_store()
    assert str(tmp_path / "home/.praison/sessions") == at_home.session_dir
    assert at_home is get_default_session_store()
    monkeypatch.setenv("PRAISON_SESSION_DIR", str(tmp_path / "one"))
    one = get_default_session_store()
    assert str(tmp_path / "one") == one.session_dir
    assert one.add_user_message("s", "x")
    assert (tmp_path / "one" / "s.json").is_file()
    monkeypatch.setenv("PRAISON_SESSION_DIR", "~/two")
    assert str(tmp_path / "home/two") == get_default_session_store().session_dir
    monkeypatch.setenv("PRAISON_SESSION_DIR", "")
    assert str(tmp_path / "home/.praison/sessions") == get_default_session_store().session_dir
    monkeypatch.setenv("PRAISON_SESSION_DIR", str(tmp_path / "one"))
    assert [{"role": "user", "content": "x"}] == get_default_session_store().get_chat_history("s")
    assert str(tmp_path / "one") == DefaultSessionStore().session_dir
    one.close()


def test_a_relative_default_is_meant_from_where_the_program_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: the same name from another working directory is another directory. Method: change it between calls."""
    monkeypatch.setenv("PRAISON_SESSION_DIR", "sessions")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        store = get_default_session_store()
        store.add_user_message("s", name)
        assert [name] == [message["content"] for message in store.get_chat_history("s")]
        assert (tmp_path / name / "sessions" / "s.json").is_file()
        store.close()


def test_a_default_directory_that_cannot_be_is_told_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: a failure is not remembered as a store. Method: a file in the way, then out of the way."""
    monkeypatch.setenv("PRAISON_SESSION_DIR", str(tmp_path / "file"))
    (tmp_path / "file").write_text("x")
    for _ in range(2):
        with pytest.raises(SessionStoreError):
            get_default_session_store()
    (tmp_path / "file").unlink()
    with get_default_session_store() as store:
        assert store.add_user_message("s", "x")


def test_a_url_is_opened_with_the_stores_options(tmp_path: Path) -> None:
    """Goal: db= takes a URL, and the store's own options hold there. Method: a lock that is held, a short timeout."""
    with DefaultSessionStore(db=f"file://{tmp_path}/files", lock_timeout=0.05, durability="process") as store:
        assert store.add_user_message("s", "x")
        with lock.exclusive(f"{tmp_path}/files/s.json", timeout_s=1.0), pytest.raises(LockTimeoutError) as caught:
            store.add_user_message("s", "y")
        assert 0.05 <= caught.value.waited_s < 1
    for wrong in ("", "ftp://host/x", "jsonl://"):
        with pytest.raises(InvalidArgumentError):
            DefaultSessionStore(db=wrong)
