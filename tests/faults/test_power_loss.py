"""Whatever a loss of power leaves, behind every call of a session's life, is whole as its durability says (D2)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.operations import State, add, open_store, state_of
from faults.power import Disk, Files
from praison_store import CorruptSessionError, DefaultSessionStore
from praison_store.disk import seam

Step = Callable[[DefaultSessionStore], Any]
LIFE: list[Step] = [
    *(add("one", f"first-{number}") for number in range(8)),
    lambda store: store.rename_session("one", "a title"),
    *(add("one", f"second-{number}") for number in range(3)),
    lambda store: store.clear_session("one"),
    *(add("one", f"third-{number}") for number in range(9)),
    lambda store: store.fork_session("one", "forked"),
    lambda store: store.delete_session("one"),
    *(add("one", f"fourth-{number}") for number in range(7)),
    lambda store: store.set_chat_history("one", [{"role": "user", "content": "instead"}]),
]


class Lived:
    """A life lived on a modelled disk: the states between its steps, and what each call could have left."""

    def __init__(self, root: Path, durability: str, *, is_ordered: bool) -> None:
        self.states: list[State] = [{}]
        self.crashes: dict[tuple[int, tuple[tuple[str, bytes], ...]], str] = {}
        disk, directory = Disk(root, is_ordered=is_ordered), root / "sessions"

        def around(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
            result = disk(name, call, *args, **named)
            self._remember(disk, name)
            return result

        with seam.intercept(around):
            store = open_store(directory, durability=durability)
        for step in LIFE:
            with seam.intercept(around):
                step(store)
            self.states.append(state_of(directory))
            self._remember(disk, "the end of the step")
        store.close()

    def _remember(self, disk: Disk, when: str) -> None:
        steps = len(self.states) - 1
        for files in disk.crashes():
            self.crashes.setdefault((steps, tuple(sorted(files.items()))), when)

    def after_crashes(self, tmp_path: Path) -> Iterator[tuple[int, str, State | None]]:
        """Yield for each crash the steps acknowledged, the last call, and the state found; None for a damaged file."""
        for number, ((steps, files), when) in enumerate(self.crashes.items()):
            directory = tmp_path / f"crash-{number}"
            _write(directory, dict(files))
            yield steps, when, _state_without_repair(directory / "sessions")
            shutil.rmtree(directory)


def _state_without_repair(directory: Path) -> State | None:
    try:
        state = state_of(directory)
    except CorruptSessionError:
        return None
    return None if (directory / ".quarantine").exists() else state


def _write(directory: Path, files: Files) -> None:
    (directory / "sessions").mkdir(parents=True)
    for name, raw in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


@pytest.mark.parametrize("is_ordered", [True, False], ids=["a journal", "no more than POSIX"])
def test_D2_full_keeps_every_acknowledged_write_over_a_loss_of_power(tmp_path: Path, is_ordered: bool) -> None:
    """
    Goal: `full` survives a loss of power at any call, and so does what a clear or a delete acknowledged.

    Method: live through writes, moves to the archive, a clear, a fork and a delete on a modelled disk; build every
    directory a crash may leave behind each call; what is found is the state after the last acknowledged step or the
    next one, and no file needed repair.
    """
    lived = Lived(tmp_path / "root", "full", is_ordered=is_ordered)
    for steps, when, state in lived.after_crashes(tmp_path):
        assert state in lived.states[steps : steps + 2], f"{steps} steps acknowledged, lost power behind {when}"
    print(f"{len(lived.crashes)} crashes")


def test_D2_ordered_keeps_every_session_whole_over_a_loss_of_power(tmp_path: Path) -> None:
    """
    Goal: `ordered` may miss the newest writes, but what is found is a state there was, whole.

    Method: as with `full`, on a disk whose journal keeps the order of renames.
    """
    lived = Lived(tmp_path / "root", "ordered", is_ordered=True)
    for steps, when, state in lived.after_crashes(tmp_path):
        assert state in lived.states[: steps + 2], f"{steps} steps acknowledged, lost power behind {when}"
    print(f"{len(lived.crashes)} crashes")


def test_D2_the_model_of_the_disk_tells_a_missing_flush(tmp_path: Path) -> None:
    """Goal: the model is worth something. Method: with `process`, which flushes nothing, it finds lost messages."""
    lived = Lived(tmp_path / "root", "process", is_ordered=True)
    crashes = lived.after_crashes(tmp_path)
    assert not all(state in lived.states[steps : steps + 2] for steps, _, state in crashes)
