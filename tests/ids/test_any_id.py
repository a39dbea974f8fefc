"""D4 and D8: any text is a session id, or is refused; two ids never share a file; no id leaves the directory."""

from __future__ import annotations

import os
import tempfile
import unicodedata
import uuid
from pathlib import Path
from typing import Any

import pytest
from hostile_ids import HOSTILE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from praisonaiagents.session.store import DefaultSessionStore as PraisonStore  # type: ignore[import-untyped] # it has no types

from praison_store import DefaultSessionStore, InvalidSessionIdError
from praison_store.model.session_id import file_stem, id_of_stem

modest = settings(
    max_examples=100, deadline=None, print_blob=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
LONGEST_SUFFIX = ".json.0123456789abcdef.tmp"


def stored_files(directory: Path) -> set[str]:
    """Return every path under a directory, relative to it, links not followed."""
    return {
        os.path.relpath(os.path.join(at, name), directory)
        for at, folders, names in os.walk(directory)
        for name in [*folders, *names]
    }


def test_D4_every_hostile_id_has_a_session_of_its_own_and_stays_inside(tmp_path: Path) -> None:
    """Goal: no id reaches another's file or leaves the directory. Method: all of them in one store, then walk."""
    assert len(HOSTILE) == len(set(HOSTILE))
    with DefaultSessionStore(tmp_path / "in" / "sessions", 2, durability="process") as store:
        for name in HOSTILE:
            for number in range(4):
                assert store.add_user_message(name, f"{number} of {name!r}")
        for name in HOSTILE:
            assert [f"{n} of {name!r}" for n in (2, 3)] == [m["content"] for m in store.get_chat_history(name)]
            assert [f"{n} of {name!r}" for n in (0, 1)] == [m.content for m in store.get_archived_messages(name)]
            assert store.session_exists(name)
        assert sorted(HOSTILE) == sorted(row["session_id"] for row in store.list_sessions(len(HOSTILE) + 1))
        assert [] == store.check().problems
        inside = stored_files(tmp_path / "in" / "sessions")
        assert {"in", "in/sessions"} == {path for path in stored_files(tmp_path) if path.count("/") < 2}
        assert 2 * len(HOSTILE) + 1 + len(HOSTILE) == len(inside)
        assert {"", ".archive"} == {os.path.dirname(path) for path in inside}
        for name in HOSTILE:
            assert store.delete_session(name)
            assert not store.session_exists(name)
        assert [] == [path for path in stored_files(tmp_path) if path.endswith((".json", ".jsonl"))]


def test_D8_every_file_name_fits_every_file_system(tmp_path: Path) -> None:
    """Goal: names are ASCII, at most 255 bytes with every suffix, and none Windows reserves. Method: each stem."""
    reserved = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
    for name in HOSTILE:
        stem = file_stem(name)
        assert stem.isascii()
        assert set(stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_%=")
        assert len(f"{stem}{LONGEST_SUFFIX}") <= 255
        assert len(f"{stem}.json.20260102T040000.000000Z") <= 255
        assert stem.split(".")[0].lower() not in reserved


def test_D4_no_two_ids_share_a_stem() -> None:
    """Goal: the encoding is injective. Method: every hostile id, its case and its normal forms, against all others."""
    forms = {form for name in HOSTILE for form in (name, name.upper(), name.lower(), name + " ", "." + name)}
    forms |= {unicodedata.normalize(form, name) for name in HOSTILE for form in ("NFC", "NFD", "NFKC", "NFKD")}
    forms |= {file_stem(name) for name in HOSTILE}
    ids = [name for name in forms if 0 < len(name) <= 4096]
    assert len(ids) == len({file_stem(name) for name in ids})


@modest
@given(st.lists(st.text(min_size=1, max_size=300), min_size=2, max_size=6, unique=True))
def test_D4_any_ids_have_sessions_of_their_own(names: list[str]) -> None:
    """Goal: the corpus forgot nothing. Method: any texts; what was stored under each is all that is found there."""
    with tempfile.TemporaryDirectory() as parent:
        with DefaultSessionStore(Path(parent, "sessions"), durability="process") as store:
            for name in names:
                store.add_user_message(name, name)
            assert sorted(names) == sorted(row["session_id"] for row in store.list_sessions())
            for name in names:
                assert [name] == [message["content"] for message in store.get_chat_history(name)]
                assert name == store.get_session(name).session_id
        assert ["sessions"] == os.listdir(parent)
        assert 2 * len(names) == len(os.listdir(Path(parent, "sessions")))


@settings(modest, max_examples=1000)
@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_D4_two_ids_never_have_one_stem_and_a_short_stem_gives_its_id_back(one: str, other: str) -> None:
    """Goal: injective for any text. Method: pairs of texts, and the way back where the stem is not a hash."""
    assert (one == other) == (file_stem(one) == file_stem(other))
    if len(one.encode()) <= 72:
        assert one == id_of_stem(file_stem(one))


@settings(modest, max_examples=300)
@given(st.from_regex(r"[A-Za-z0-9_-]{1,216}", fullmatch=True))
def test_D4_a_plain_id_keeps_the_name_praisonai_gives_it(name: str) -> None:
    """Goal: a directory of PraisonAI's is found as it is. Method: its store's own path, but for Windows' names."""
    with tempfile.TemporaryDirectory() as directory:
        theirs = os.path.basename(PraisonStore(session_dir=directory)._get_session_path(name))
    if name.lower() not in ("con", "prn", "aux", "nul") and not name.lower().startswith(("com", "lpt")):
        assert theirs == f"{file_stem(name)}.json"


@pytest.mark.parametrize(
    "bad", ["", "a" * 4097, "👩" * 4097, "\ud800", "a\udfff", None, 0, 1, 1.5, True, b"a", ["a"], ("a",), {"a": 1},
            object(), uuid.UUID(int=1), Path("a"), str], ids=lambda bad: f"{bad!r:.20}",
)
def test_D4_what_is_no_id_is_refused_by_every_method(bad: Any, tmp_path: Path) -> None:
    """Goal: one typed error, and nothing made. Method: each bad id, by each method that takes one."""
    with DefaultSessionStore(tmp_path / "s", durability="process") as store:
        store.add_user_message("good", "x")
        before = stored_files(tmp_path)
        message = {"role": "user", "content": "x"}
        for call in (
            lambda: store.add_message(bad, "user", "x"),
            lambda: store.add_user_message(bad, "x"),
            lambda: store.add_assistant_message(bad, "x"),
            lambda: store.add_messages(bad, [message]),
            lambda: store.get_chat_history(bad),
            lambda: store.get_session(bad),
            lambda: store.get_archived_messages(bad),
            lambda: store.get_working_history(bad),
            lambda: store.session_exists(bad),
            lambda: store.set_chat_history(bad, [message]),
            lambda: store.set_agent_info(bad, "agent"),
            lambda: store.update_session_metadata(bad, k=1),
            lambda: store.rename_session(bad, "title"),
            lambda: store.append_compaction_checkpoint(bad, "sum"),
            lambda: store.clear_session(bad),
            lambda: store.delete_session(bad),
            lambda: store.fork_session(bad, "new"),
            lambda: store.fork_session("good", bad),
            lambda: store.window(bad),
            lambda: store.export_session(bad),
        ):
            with pytest.raises(InvalidSessionIdError) as caught:
                call()
            assert caught.value.session_id in (bad, repr(bad))
            assert isinstance(caught.value, ValueError)
        assert before == stored_files(tmp_path)


def test_D4_a_file_system_that_folds_case_never_serves_another_sessions_history(tmp_path: Path) -> None:
    """Goal: "A" is refused where the file of "a" stands. Method: rename a.json to A.json, as folding would show it."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        for number in range(3):
            store.add_user_message("a", str(number))
        os.rename(tmp_path / "a.json", tmp_path / "A.json")
        raw = (tmp_path / "A.json").read_bytes()
        for call in (
            lambda: store.get_chat_history("A"),
            lambda: store.get_session("A"),
            lambda: store.session_exists("A"),
            lambda: store.add_user_message("A", "x"),
            lambda: store.set_chat_history("A", []),
            lambda: store.clear_session("A"),
            lambda: store.delete_session("A"),
            lambda: store.export_session("A"),
            lambda: store.rename_session("A", "x"),
        ):
            with pytest.raises(InvalidSessionIdError) as caught:
                call()
            assert "A" == caught.value.session_id
        assert raw == (tmp_path / "A.json").read_bytes()
        assert [] == store.list_sessions()
        assert ["D4"] == [problem.code for problem in store.check().problems]


class Name(str):
    """Text of a class of its own, as numpy and enums have it."""

    __slots__ = ()


def test_D4_an_id_of_a_text_subclass_names_the_same_session_as_its_text(tmp_path: Path) -> None:
    """Goal: str(...) around an id changes nothing. Method: both forms, by every kind of call."""
    with DefaultSessionStore(tmp_path, durability="process") as store:
        for name in ("plain", "not plain", "con", "é" * 300):
            assert store.add_user_message(Name(name), "1")
            assert store.add_user_message(name, "2")
            assert store.rename_session(Name(name), "t")
            for form in (name, Name(name)):
                assert ["1", "2"] == [m["content"] for m in store.get_chat_history(form)]
            store.fork_session(Name(name), Name(name + "2"))
            assert store.delete_session(Name(name + "2"))
        assert 4 == len(store.list_sessions())
