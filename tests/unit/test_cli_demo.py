"""The demo: real processes write one session at once, and its proof would notice a loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from praison_store import DefaultSessionStore
from praison_store.cli.demo import Proof, prove

DEMO = [sys.executable, "-m", "praison_store.cli", "demo"]
DEADLINE_S = 60


def test_D3_the_demo_stores_every_message_of_every_process_once(make_store: Callable[..., DefaultSessionStore]) -> None:
    """Goal: the demo tells the truth. Method: run it, then count its messages by ourselves, archive included."""
    directory = str(make_store().session_dir)
    command = [*DEMO, "--workers", "3", "--messages", "60", "--dir", directory, "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (0, "") == (done.returncode, done.stderr)
    proof = json.loads(done.stdout)
    assert (True, 180, 0, 0, 0) == tuple(proof[name] for name in ("ok", "found", "missing", "repeated", "out_of_order"))
    assert Path(directory, "demo.json") == Path(proof["file"])
    store = make_store()
    said = [*store.get_archived_messages("demo"), *store.get_session("demo").messages]
    marks = [(message.metadata["worker"], message.metadata["number"]) for message in said]
    assert {(worker, number): 1 for worker in (1, 2, 3) for number in range(1, 61)} == Counter(marks)
    for worker in (1, 2, 3):
        assert list(range(1, 61)) == [number for who, number in marks if who == worker]


def test_the_demo_tells_a_newcomer_what_happened_and_what_to_do_next(tmp_path: Path) -> None:
    """Goal: the first command somebody tries is understood. Method: run it bare; then run what it proposes."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [*DEMO, "--workers", "2", "--messages", "5"], check=False, capture_output=True, text=True, env=environment,
        timeout=DEADLINE_S,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert "The last 6 of 10 messages" in done.stdout
    assert "each of the 10 is there exactly once" in done.stdout
    proposed = [line.split() for line in done.stdout.splitlines() if line.startswith("  praison-store ")]
    assert 5 == len(proposed)
    for _program, *arguments in proposed:
        options = ["--for", "0"] if arguments[0] == "tail" else []
        command = [sys.executable, "-m", "praison_store.cli", *arguments, *options]
        assert 0 == subprocess.run(command, check=False, capture_output=True, timeout=DEADLINE_S).returncode, arguments


def test_a_second_demo_in_one_directory_takes_a_session_of_its_own(store: DefaultSessionStore) -> None:
    """Goal: the proof counts its own messages only. Method: a session of the name `demo` is there already."""
    store.add_user_message("demo", "mine")
    command = [*DEMO, "--workers", "1", "--messages", "2", "--dir", str(store.session_dir), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=DEADLINE_S)
    assert (0, "demo-2") == (done.returncode, json.loads(done.stdout)["session_id"])
    assert [{"role": "user", "content": "mine"}] == store.get_chat_history("demo")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ([(1, 1), (1, 2), (2, 1), (2, 2)], (0, 0, 0)),
        ([(1, 1), (1, 2), (2, 2)], (1, 0, 0)),
        ([(1, 1), (1, 2), (2, 1), (2, 1), (2, 2)], (0, 1, 1)),
        ([(1, 2), (1, 1), (2, 1), (2, 2)], (0, 0, 1)),
    ],
    ids=["all", "one lost", "one twice", "one out of order"],
)
def test_the_proof_notices_what_is_wrong(
    stored: list[tuple[int, int]], expected: tuple[int, int, int], store: DefaultSessionStore
) -> None:
    """Goal: a demo that lost a message would say so. Method: store what workers would, with one flaw, and prove it."""
    for worker, number in stored:
        store.add_message("demo", "user", "x", {"worker": worker, "number": number})
    proof = Proof(str(store.session_dir), "demo", "", workers=2, messages_each=2)
    prove(store, proof)
    assert expected == (proof.missing, proof.repeated, proof.out_of_order)
    assert (expected == (0, 0, 0)) is proof.ok


def test_workers_that_cannot_write_are_told_of_and_the_demo_fails(tmp_path: Path) -> None:
    """Goal: no traceback and no success where nothing was stored. Method: a directory stands where the lock goes."""
    (tmp_path / "demo.json.lock").mkdir()
    command = [*DEMO, "--workers", "2", "--dir", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=DEADLINE_S)
    assert 1 == done.returncode
    assert "Traceback" not in done.stderr
    failed = [line for line in done.stderr.splitlines() if line.startswith("Worker ")]
    assert 2 == len(failed)
    assert any("demo.json.lock" in line for line in failed)
    assert done.stderr.splitlines()[-1].startswith("error: Something is wrong: 100 missing")


def test_ctrl_c_ends_the_demo_and_its_workers_without_a_word(tmp_path: Path) -> None:
    """Goal: Ctrl-C leaves no process behind. Method: signal the whole group, as a terminal does, while they write."""
    process = subprocess.Popen(
        [*DEMO, "--messages", "1000000", "--dir", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )
    deadline_s = time.monotonic() + DEADLINE_S
    while not (tmp_path / "demo.json").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert (130, "", "") == (process.returncode, out, err)
    while _is_alive(process.pid):
        assert time.monotonic() < deadline_s, "a worker is still there"
        time.sleep(0.01)
    with DefaultSessionStore(tmp_path) as store:
        assert [] == [problem.message for problem in store.check().problems if problem.code != "leftover"]


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
