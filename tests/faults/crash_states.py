"""
The harness of crash states: live through some steps on a modelled disk, lose power at every moment of the last one,
and open each directory that may be left with a fresh store.

What is found must be the state after the steps acknowledged, or after the one that was going on (D2 full; with
`ordered` any state there was, D2); every session whole, with no repair (D1); whatever was damaged before is kept (D5);
and the next message is stored behind what is there.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from faults.disk_model import Disk, Left
from faults.operations import BRIM, SUFFIXES, State, Step, add, damage, file_of, open_store, state_of, steps, vacuum
from praison_store import DefaultSessionStore, SessionStoreError
from praison_store import store as door
from praison_store.disk import seam

# More bytes than two sectors, so that the parts of one message can be there in any order.
_LONG = " and so on" * 130
_BLOB = "x" * 70_000  # a log that replaces it is mostly dead


def _unknown_is_fine(step: Step) -> Step:
    """Return a step that does nothing where there is no such session, or where the new one is there."""

    def do(store: DefaultSessionStore) -> None:
        with suppress(SessionStoreError):
            step(store)

    return do


def _damage(store: DefaultSessionStore) -> None:
    if file_of(store, "one").exists() and len(store.get_session("one").messages) > 1:
        damage(store)


def _leave_over(store: DefaultSessionStore) -> None:
    Path(f"{file_of(store, 'one')}.0123456789abcdef.tmp").write_bytes(b'{"session_id":"o')


class Deed(NamedTuple):
    """What a step does, and what happens to its files before it, behind the store's back."""

    run: Callable[[int], Step]
    before: Step | None = None


def _batch(at: int) -> Step:
    messages = [{"role": "user", "content": f"batch-{at}-{number}"} for number in range(BRIM)]
    return lambda store: store.add_messages("one", messages)


# Each is told its place among the steps, so that no two do the same.
DEEDS: dict[str, Deed] = {
    "append": Deed(lambda at: add("one", f"new-{at}{_LONG}")),
    "overflow": Deed(_batch),
    "update": Deed(lambda at: lambda store: store.rename_session("one", f"title {at}")),
    "replace": Deed(lambda at: lambda store: store.set_chat_history("one", [{"role": "user", "content": f"set-{at}"}])),
    "compact": Deed(lambda at: lambda store: store.update_session_metadata("one", blob=f"{at}")),
    "clear": Deed(lambda _at: lambda store: store.clear_session("one")),
    "delete": Deed(lambda _at: lambda store: store.delete_session("one")),
    "fork": Deed(lambda at: _unknown_is_fine(lambda store: store.fork_session("one", f"forked-{at}"))),
    "quarantine": Deed(lambda _at: lambda store: store.get_chat_history("one"), _damage),
    "vacuum": Deed(lambda _at: vacuum, _leave_over),
}
BEFORE: dict[str, Step] = {
    "nothing": lambda store: None,
    "a full session": steps(
        add("one", *(f"old-{number}" for number in range(2 * BRIM))), add("other", "other-0"),
        lambda store: store.update_session_metadata("one", blob=_BLOB),
    ),
}


class Life(NamedTuple):
    """What is there before, and the steps; power is lost in the last one."""

    engine: str
    before: str
    steps: tuple[str, ...]
    durability: str = "full"
    model: str = "posix"

    def __str__(self) -> str:
        return f"{self.engine}, {self.durability}, {self.model}, {self.before}: {', '.join(self.steps)}"


class Crash(NamedTuple):
    """What one loss of power leaves, the states that are legal then, and the damaged bytes that must be kept."""

    left: Left
    legal: list[State]
    damaged: list[bytes]
    told: str


class Judge:
    """Open each directory a crash leaves, once; `seen` are those that were."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.seen: set[int] = set()

    def judge_life(self, life: Life) -> None:
        """Lose power at every moment of a life's last step. Raises AssertionError where a state is illegal."""
        with pytest.MonkeyPatch.context() as patch:
            for crash in _crashes(life, self.directory / "life", patch):
                known = hash((life.engine, tuple(sorted(crash.left.items())), json.dumps(crash.legal)))
                if known not in self.seen:
                    self.seen.add(known)
                    self._judge(life, crash, self.directory / "crash")

    def _judge(self, life: Life, crash: Crash, directory: Path) -> None:
        for path, raw in crash.left.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            if path.endswith("/"):
                (directory / path).mkdir(exist_ok=True)
            else:
                (directory / path).write_bytes(raw)
        directory.mkdir(exist_ok=True)
        for path, raw in crash.left.items():
            if path.endswith(".json") and "/" not in path and raw not in crash.damaged:
                json.loads(raw)  # any reader of JSON finds it whole (D1)
        found = state_of(directory, engine=life.engine)
        assert found in crash.legal, f"{crash.told}: {found}"
        for damaged in crash.damaged:
            assert damaged in [path.read_bytes() for path in directory.rglob("*") if path.is_file()], crash.told
        for kept in (directory / ".quarantine").glob("*"):
            raw = kept.read_bytes()
            # Zeros under a whole mark look like damage, and are kept like it; nothing else does.
            assert raw in crash.damaged or (raw in crash.left.values() and b"\0" in raw), f"{crash.told}: {kept}"
        with open_store(directory, engine=life.engine, lock_timeout=0.0) as store:
            shown = [message["content"] for message in store.get_chat_history("one")]
            assert store.add_user_message("one", "next") is True
        with open_store(directory, engine=life.engine, lock_timeout=0.0) as store:
            found_next = [message["content"] for message in store.get_chat_history("one")]
        assert [*shown, "next"][-len(found_next) :] == found_next, crash.told
        assert len(found_next) > min(len(shown), 3), crash.told
        shutil.rmtree(directory)


def _crashes(life: Life, root: Path, patch: pytest.MonkeyPatch) -> Iterator[Crash]:
    """Live a life; yield what each loss of power in its last step may leave."""
    root.mkdir()
    disk = Disk(root, life.model)
    # The door reads the clock itself; a life that is lived again must write the same bytes.
    patch.setattr(door, "time", SimpleNamespace(time=disk.now_s))
    states: list[State] = []
    damaged: list[bytes] = []
    found: list[tuple[Left, int, str]] = []

    def watched(name: str, call: Callable[..., object], *args: object, **named: object) -> object:
        result = disk(name, call, *args, **named)
        if name in _CHANGES:
            found.extend((left, len(states), name) for left in disk.crashes())
        return result

    options: dict[str, Any] = {"engine": life.engine, "durability": life.durability, "lock_timeout": 0.0}
    with open_store(root, **options) as store, seam.intercept(disk):
        BEFORE[life.before](store)
    disk.settle()
    for at, name in enumerate(life.steps):
        deed = DEEDS[name]
        if deed.before is not None:
            _settled_by(deed.before, disk, root, options, damaged, life.engine)
        states.append(_state_of_copy(root, life.engine))
        is_last = at == len(life.steps) - 1
        with open_store(root, **options) as store:
            if is_last:
                found.extend((left, len(states), "nothing") for left in disk.crashes())
            with seam.intercept(watched if is_last else disk):
                deed.run(at)(store)
    states.append(_state_of_copy(root, life.engine))
    found.extend((left, len(states), "the end") for left in disk.crashes())
    shutil.rmtree(root)
    for left, acknowledged, when in found:
        first = acknowledged - 1 if life.durability == "full" else 0
        yield Crash(left, states[first : acknowledged + 1], damaged, f"{life}: power lost behind {when}")


_CHANGES = {"open", "write", "writev", "ftruncate", "replace", "unlink", "link", "mkdir", "fsync"}


def _settled_by(
    before: Step, disk: Disk, root: Path, options: dict[str, Any], damaged: list[bytes], engine: str
) -> None:
    """Do something behind the store's back; the damaged bytes it makes must be kept from now on."""
    path = root / f"one{SUFFIXES[engine]}"
    old = path.read_bytes() if path.exists() else b""
    with open_store(root, **options) as store:
        before(store)
    disk.settle()
    if path.exists() and path.read_bytes() != old:
        damaged.append(path.read_bytes())


def _state_of_copy(root: Path, engine: str) -> State:
    copy = root.parent / "copy"
    shutil.copytree(root, copy)
    state = state_of(copy, engine=engine)
    shutil.rmtree(copy)
    return state
