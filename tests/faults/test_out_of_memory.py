"""Any one allocation of an operation fails: no turn is kept, no descriptor stays open, the session is whole (D7)."""

from __future__ import annotations

import faulthandler
import gc
import os
import shutil
import signal
from collections import Counter
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
from processes.board import children
from processes.workers import DEADLINE_S, needs_fork, run_all

from faults.call_faults import Rehearsed, open_descriptors
from faults.operations import names_in
from faults.subjects import TITLES, check_what_is_left, in_memory, rehearsed
from praison_store.codec import values

pytestmark = [
    needs_fork,
    pytest.mark.skipif(find_spec("_testcapi") is None, reason="this Python has no _testcapi, which fails allocations"),
]
QUICK = ["json_files: append with room", "jsonl: append with room"]
SAMPLES = 40
HANG_S = 60  # of a child that is done in milliseconds; more than memory would let it take on a busy machine
# C code that does not look at what an allocation gave may take its process down; that is a kill like any other.
DEATHS = (-signal.SIGSEGV, -signal.SIGABRT)


def run_short_of_memory(found: Rehearsed, directory: Path, index: int) -> str:
    """
    Run an operation while its allocation of an index, counted from 0, fails; check what it left, and go on.

    Only that one, because the interpreter never comes back from some loops while every allocation fails.

    Returns:
        The name of the error; "done" where it succeeded all the same, "unspent" where it has fewer allocations.
    """
    import _testcapi  # type: ignore[import-not-found] # CPython's own tests have it, and no stubs

    store, outcome, is_unspent = found.operation.open(directory), "done", False
    before = open_descriptors()
    _testcapi.set_nomemory(index, index + 1)
    try:
        found.operation.run(store)
    except Exception as error:  # noqa: BLE001 - C code may tell of it by any error; what counts is what is left
        _testcapi.remove_mem_hooks()
        outcome = type(error).__name__
    else:
        is_unspent = _an_allocation_fails()
    finally:
        _testcapi.remove_mem_hooks()
    if is_unspent:
        return "unspent"
    told = f"allocation {index}, {outcome}"
    assert [] == quarantined(directory), f"a whole file was called damaged: {told}"
    assert outcome != "done" or found.after == found.operation.state_of(directory), f"nothing was told: {told}"
    check_what_is_left(found, directory, told)
    assert store.add_user_message("one", "next") is True
    assert "next" == store.get_chat_history("one")[-1]["content"], told
    store.close()
    gc.collect()
    assert set() == open_descriptors() - before, f"descriptors left open: {told}"
    return outcome


def quarantined(directory: Path) -> list[str]:
    """Return what was moved aside as damaged."""
    return [name for name in names_in(directory) if ".quarantine" in name]


def _an_allocation_fails() -> bool:
    try:
        for _ in repeat(None, 1_000_000):
            object()
    except MemoryError:
        return True
    return False


def in_child(found: Rehearsed, directory: Path, index: int) -> str:
    """Do that in a forked child; where C code died of it, look at what a killed process left."""
    shutil.copytree(found.before_directory, directory)

    def work(tell: int) -> None:
        faulthandler.disable()  # a death is counted, and its traceback would be read as this test's
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(HANG_S)
        os.write(tell, run_short_of_memory(found, directory, index).encode())

    with children() as fork:
        child = fork(work)
        outcome, status = child.outcome()
    if status in DEATHS:
        check_what_is_left(found, directory, f"allocation {index}, died of signal {-status}")
        assert [] == quarantined(directory)
        outcome = signal.Signals(-status).name.encode()
    else:
        assert 0 == status, f"allocation {index}, status {status}: {outcome.decode(errors='replace')}"
    shutil.rmtree(directory)
    return outcome.decode()


def allocations_of(found: Rehearsed, directory: Path) -> int:
    """Return how many allocations an operation makes: a failure behind the last one stays unspent."""
    most = 64
    while in_child(found, directory, most) != "unspent":
        most *= 2
    least = 0
    while least < most:
        middle = (least + most) // 2
        if in_child(found, directory, middle) == "unspent":
            most = middle
        else:
            least = middle + 1
    return most


def fail_each(root: str, title: str, samples: int) -> dict[str, Any]:
    """Fail each allocation of an operation, or some of them; return how many there are, and what came of it."""
    found, directory = rehearsed(title, Path(root)), Path(root) / "run"
    count = allocations_of(found, directory)
    step = max(1, count // samples) if samples else 1
    outcomes = Counter(in_child(found, directory, index) for index in range(0, count, step))
    return {"allocations": count, "tried": sum(outcomes.values()), **outcomes}


def fail_allocations(tmp_path: Path, title: str, samples: int) -> None:
    """Do it in a process of its own, and print what came of it."""
    with in_memory(tmp_path) as root:
        (outcome,) = run_all([(fail_each, (root, title, samples))], start="spawn",
                             deadline_s=DEADLINE_S if samples else 3600.0)
    print(f"{title}: {outcome}, 0 stuck, 0 descriptors leaked")
    assert outcome["tried"] > outcome.get("MemoryError", 0) // 2 > 0


@pytest.mark.parametrize("title", QUICK)
def test_D3_D7_an_allocation_that_fails_keeps_no_turn_and_no_descriptor(tmp_path: Path, title: str) -> None:
    """Goal: a process short of memory hinders nobody. Method: 40 allocations fail, each alone; others, and it, go on."""
    fail_allocations(tmp_path, title, SAMPLES)


@pytest.mark.long
@pytest.mark.parametrize("title", TITLES)
def test_D3_D7_every_allocation_that_fails_keeps_no_turn_and_no_descriptor(tmp_path: Path, title: str) -> None:
    """Goal and method: the short form's, with every allocation."""
    fail_allocations(tmp_path, title, 0)


def told_of_a_line(index: int) -> tuple[str, int]:
    """Read a line while its allocation of an index fails; return what that was told as, and how the process ended."""

    def work(tell: int) -> None:
        import _testcapi

        faulthandler.disable()
        outcome = "done"
        _testcapi.set_nomemory(index, index + 1)
        try:
            try:
                values.loads(b'{"log": 1, "updated_at": "now", "numbers": [1, 2, 3]}')
            finally:
                _testcapi.remove_mem_hooks()  # SystemError where C code left its error behind and returned all the same
        except Exception as error:  # noqa: BLE001 - whichever it is, it is told
            outcome = type(error).__name__
        os.write(tell, outcome.encode())

    with children() as fork:
        told, status = fork(work).outcome()
    return told.decode(), status


def told_of_lines(count: int) -> list[tuple[str, int]]:
    """Return what the first allocations of reading a line were told as; in a process that holds nothing else."""
    return [told_of_a_line(index) for index in range(count)]


def test_D5_want_of_memory_is_never_told_as_damage() -> None:
    """Goal: no whole file is moved aside for it. Method: fail each allocation of reading a line, where orjson lives on."""
    (outcomes,) = run_all([(told_of_lines, (12,))], start="spawn")
    assert "MemoryError" == outcomes[0][0]
    for told, status in outcomes:
        assert status in (0, *DEATHS), told
        assert told in ("done", "MemoryError", "SystemError", "")
