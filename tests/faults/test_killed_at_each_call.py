"""A process is killed at each call of each operation: what it left is whole, and the next writer goes on (D1, D7)."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from processes.workers import needs_fork

from faults.interruptions import Killing
from faults.operations import BRIM, OPERATIONS, Operation, names_in, open_store, state_of
from faults.test_failing_calls import Rehearsed, rehearse
from praison_store.disk import seam

pytestmark = needs_fork


def kill(rehearsed: Rehearsed, directory: Path, around: Killing) -> None:
    """Run an operation in a forked child that is killed at one of its calls."""
    pid = os.fork()
    if pid == 0:
        try:
            with open_store(directory) as store, seam.intercept(around):
                rehearsed.operation.run(store)
        finally:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert -signal.SIGKILL == os.waitstatus_to_exitcode(status)


def check_what_is_left(rehearsed: Rehearsed, directory: Path, told: str) -> None:
    """The session is the old one or the new one; the next writer needs no patience; vacuum leaves nothing over."""
    if "damaged" not in rehearsed.operation.name:
        for path in directory.glob("*.json"):
            json.loads(path.read_bytes())
    assert state_of(directory) in rehearsed.states(), told
    with open_store(directory, lock_timeout=0.0) as store:
        rehearsed.operation.run(store)
        assert rehearsed.after == state_of(directory), told
        store.add_user_message("one", "next")
        assert "next" == store.get_chat_history("one")[-1]["content"], told
        assert [] == [problem for problem in store.check().problems if problem.code != "leftover"], told
        store.vacuum()
        assert [] == store.check().problems, told
    assert [] == [name for name in names_in(directory) if name.endswith(".tmp")], told


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_D1_D7_a_kill_at_any_call_leaves_the_old_session_or_the_new(tmp_path: Path, operation: Operation) -> None:
    """
    Goal: no moment of an operation at which its process may not die.

    Method: SIGKILL before each call of the seam in turn, and behind the last, in a forked child; look at what is
    left, repeat the operation, write on, and vacuum.
    """
    rehearsed = rehearse(operation, tmp_path)
    last = len(rehearsed.calls) - 1
    kills = [*(Killing(index, behind=False) for index in range(last + 1)), Killing(last, behind=True)]
    for killing in kills:
        directory = tmp_path / "run"
        shutil.copytree(rehearsed.before_directory, directory)
        kill(rehearsed, directory, killing)
        check_what_is_left(rehearsed, directory, f"{rehearsed.calls[killing.index]} at {killing.index}")
        shutil.rmtree(directory)
    print(f"{operation.name}: {len(kills)} kills")


def test_D3_a_kill_at_any_call_of_a_first_write_in_a_new_directory(tmp_path: Path) -> None:
    """Goal: also directories and the first lock file may be half made. Method: kill at each call, from nothing on."""
    index, count = 0, BRIM + 1
    while True:
        directory = tmp_path / str(index)
        pid = os.fork()
        if pid == 0:
            try:
                with seam.intercept(Killing(index, behind=False)), open_store(directory) as store:
                    for number in range(count):
                        store.add_user_message("one", str(number), message_id=str(number))
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        with open_store(directory, lock_timeout=0.0) as store:
            for number in range(count):
                store.add_user_message("one", str(number), message_id=str(number))
        assert [str(number) for number in range(count)] == state_of(directory)["one"]["messages"]
        if os.waitstatus_to_exitcode(status) == 0:
            break
        index += 1
    print(f"{index} kills")
