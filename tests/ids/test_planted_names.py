"""D8: a link, FIFO, directory or socket at one of our names is refused, followed nowhere, and hangs nobody."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import planter
import pytest

from praison_store import DefaultSessionStore, SessionStoreError, StoreWriteError
from praison_store.engines.urls import from_url
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

KEEP = policy_named("keep_all", 1)
DEADLINE_S = 120  # bounds a hang; a run takes two seconds
NOBODY = 65534
READS = {"history", "session", "archived", "exists", "window", "export", "fork"}
WRITES = {"add", "add_many", "set", "metadata", "clear", "delete"}
# What cannot be done where something is planted; the rest is done as if it were not there.
REFUSED: dict[str, set[str]] = {
    "s.json": READS | WRITES,
    "s.json.lock": WRITES,
    ".archive/s.jsonl": {"add", "add_many", "archived", "window", "export", "fork"},
    ".archive": {"add", "add_many", "archived", "window", "export", "fork"},
    ".quarantine": WRITES,
}
# To forget what was planted at an archive's own name is to remove the name, never what it leads to.
EITHER = {(".archive/s.jsonl", "clear"), (".archive/s.jsonl", "delete")}
# A second name of somebody's file leads nowhere else: it is read as what it is, replaced, locked, and never written to.
HARD_LINKS: dict[str, set[str]] = {"s.json": set(), "s.json.lock": set(), ".archive/s.jsonl": {"add", "add_many"}}
ROOT = os.geteuid() == 0


def run(umask: str, user_id: int) -> dict[str, dict[str, Any]]:
    """Return what every method did at every planted name, in a process of its own with a deadline."""
    base = tempfile.mkdtemp(dir="/tmp")  # not under pytest's own directory, which no other user may enter
    try:
        command = [sys.executable, planter.__file__, os.path.join(base, "work"), umask, str(user_id)]
        os.mkdir(command[2], 0o700)
        os.chmod(base, 0o755)
        ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        assert 0 == ended.returncode, ended.stderr[-500:]
        report: dict[str, dict[str, Any]] = json.loads(ended.stdout)
        return report
    finally:
        shutil.rmtree(base)


@pytest.fixture(scope="module", params=["000", "022", "077", "777"])
def reports(request: pytest.FixtureRequest) -> list[dict[str, dict[str, Any]]]:
    """Give the reports under one umask: of this user, and where this is root, of one whose rights count."""
    users = {"000": [-1], "022": [-1], "077": [NOBODY], "777": [-1, NOBODY]}[request.param]
    return [run(request.param, user) for user in (users if ROOT else [-1])]


def test_D8_nothing_planted_is_followed_and_no_method_hangs_or_fails_untyped(
    reports: list[dict[str, dict[str, Any]]]
) -> None:
    """Goal: the victim keeps every byte and name. Method: every kind, place and method, with an alarm for each."""
    for report in reports:
        assert 500 < len(report)
        assert [] == [case for case, seen in report.items() if not seen["victim_untouched"]]
        assert {} == {case: seen["untyped"] for case, seen in report.items() if "untyped" in seen}


def test_D8_what_needs_the_planted_name_is_refused_and_the_rest_is_done(
    reports: list[dict[str, dict[str, Any]]]
) -> None:
    """Goal: a typed refusal where it matters, nowhere else. Method: the table above, case by case."""
    for report in reports:
        wrong = {}
        for case, seen in report.items():
            kind, place, method = case.split(" ")
            refused = HARD_LINKS[place] if kind == "hard_link" else REFUSED[place]
            if (place, method) not in EITHER and ("error" in seen) != (method in refused):
                wrong[case] = seen.get("text", seen.get("answer"))
        assert {} == wrong


def test_D8_check_names_what_is_planted_and_repairs_nothing_of_it(reports: list[dict[str, dict[str, Any]]]) -> None:
    """Goal: an owner learns of it, and nothing planted is removed for them. Method: check and repair in each case."""
    for report in reports:
        for case, seen in report.items():
            if case.startswith("hard_link"):
                continue  # nothing tells it from a file of ours that somebody keeps a second name of
            if case.endswith((" check", " repair", " vacuum")):
                assert seen["still_there"], case
            if case.endswith((" check", " repair")):
                assert seen["answer"], case


def test_D8_files_are_0600_and_directories_0700_under_any_umask(reports: list[dict[str, dict[str, Any]]]) -> None:
    """Goal: nobody else reads a conversation, and the owner always can. Method: every mode after every case."""
    for report in reports:
        modes = {mode for seen in report.values() for mode in seen["modes"].values()}
        assert {"0o600", "0o700"} == modes


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_D8_a_directory_made_for_a_store_is_its_owners_alone(umask: int, tmp_path: Path) -> None:
    """Goal: parents made on the way are private too. Method: a deep path, each umask, every mode on it."""
    before = os.umask(umask)
    try:
        with DefaultSessionStore(tmp_path / "a" / "b" / "c", 1, durability="full") as store:
            for name in ("plain", "not plain"):
                for number in range(3):
                    store.add_user_message(name, str(number))
            (tmp_path / "a" / "b" / "c" / "plain.json").write_bytes(b'{"messages":[\n{"role":"user","content":"x"},\n{')
            store.get_chat_history("plain")
    finally:
        os.umask(before)
    for at, folders, names in os.walk(tmp_path / "a"):
        for name in [*folders, *names]:
            mode = os.lstat(os.path.join(at, name)).st_mode
            assert (0o700 if name in folders else 0o600) == mode & 0o777, name
    assert ["plain.json"] == [name.split(".2")[0] for name in os.listdir(tmp_path / "a" / "b" / "c" / ".quarantine")]


def test_D8_a_second_name_of_somebodys_file_is_not_written_through(tmp_path: Path) -> None:
    """Goal: a hard link planted as an archive is not written to. Method: link a victim's file there, then archive."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    with DefaultSessionStore(tmp_path / "s", 1, durability="process") as store:
        store.add_user_message("s", "0")
        (tmp_path / "s" / ".archive").mkdir(mode=0o700)
        os.link(victim, tmp_path / "s" / ".archive" / "s.jsonl")
        with pytest.raises(StoreWriteError):
            store.add_user_message("s", "1")
        os.link(victim, tmp_path / "s" / "t.json")
        with pytest.raises(SessionStoreError):
            store.add_user_message("t", "1")
        assert [{"role": "user", "content": "0"}] == store.get_chat_history("s")
    assert "precious" == victim.read_text()


@pytest.mark.parametrize("scheme", ["file", "jsonl"])
def test_D8_a_link_in_the_place_of_a_namespace_is_not_followed(scheme: str, tmp_path: Path) -> None:
    """Goal: nothing is written or read elsewhere. Method: `@alice` leads out of the directory; every call on a session of hers."""
    place, outside = tmp_path / "sessions", tmp_path / "outside"
    place.mkdir()
    outside.mkdir()
    (place / "@alice").symlink_to(outside)
    engine: Any = from_url(f"{scheme}://{place}")
    key = SessionKey("s", "alice")
    record = new_record("user", "x", 1.0)
    for call in (
        lambda: engine.append(key, [record], now_s=1.0, policy=KEEP), lambda: engine.read(key, None), lambda: engine.history(key, None),
        lambda: engine.whole(key), lambda: engine.exists(key), lambda: engine.claim(key, "me", 5.0), lambda: engine.delete(key),
        lambda: engine.update(key, lambda session: None, now_s=1.0, policy=KEEP), lambda: list(engine.find(namespace="alice")),
        lambda: engine.count(namespace="alice"), lambda: list(engine.search(["x"], namespace="alice")),
    ):
        with pytest.raises(SessionStoreError, match="no directory of its own"):
            call()
    assert [] == list(outside.iterdir())
    assert [] == list(engine.find(namespace=None))
    engine.close()
