"""Cut the power of a disk under a writer, over and over, and count what is there afterwards; behind `run_mounted`."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from processes.workers import everything, numbers_by_writer

from faults.loop_disk import LoopDisk
from praison_store import CorruptSessionError, DefaultSessionStore, SessionStoreError
from praison_store.disk import seam

WINDOW = 8
CUTS_OF_A_DIRECTORY = 10
DEADLINE_S = 60.0
# A loss of power is worst when nobody flushes by chance afterwards, and tears most when somebody else does meanwhile.
MEANWHILE = ("nothing", "sync", "a neighbour's flush")


def store_on(engine: str, directory: Path, durability: str) -> DefaultSessionStore:
    """Return a store of an engine on a directory, with a small window, so that messages leave it often."""
    url = {"jsonl": f"jsonl://{directory}", "sqlite": f"sqlite:///{directory}/sessions.db"}.get(engine)
    if url is None:
        return DefaultSessionStore(directory, WINDOW, durability=durability)
    directory.mkdir(mode=0o700, exist_ok=True)
    return DefaultSessionStore(db=url, max_messages=WINDOW, durability=durability)


# ---- stores broken on purpose ---------------------------------------------------------------------------------


def _flushing_nothing(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    return None if name == "fsync" else call(*args, **named)


def _flushing_no_directory(name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    if name == "fsync" and os.path.isdir(f"/proc/self/fd/{args[0]}"):
        return None
    return call(*args, **named)


BROKEN = {"no flush": _flushing_nothing, "no directory flush": _flushing_no_directory}


# ---- the writer -----------------------------------------------------------------------------------------------


def _write(store: DefaultSessionStore, writer: str, acknowledged: int, rest_behind: int | None) -> None:
    """Append `<writer>:0`, `<writer>:1`, ... and tell of each one as soon as the call returned; rename now and then."""
    number = 0
    while True:
        store.add_user_message("shared", f"{writer}:{number}")
        os.write(acknowledged, b"+")
        number += 1
        if number == rest_behind:
            signal.pause()
        if number % 5 == 0:
            store.rename_session("shared", f"{writer} {number}")


def _start(open_store: Callable[[], DefaultSessionStore], writer: str, rest_behind: int | None, broken: str
           ) -> tuple[int, int]:
    told, acknowledged = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with ExitStack() as stack:
                if broken:
                    stack.enter_context(seam.intercept(BROKEN[broken]))
                _write(open_store(), writer, acknowledged, rest_behind)
        except OSError:
            traceback.print_exc()  # behind the cut it is what a writer meets; before it, the test tells of it
        finally:
            os._exit(1)
    os.close(acknowledged)
    return pid, told


def _wait_for(told: int, count: int) -> int:
    """Return how many writes were acknowledged as soon as that many were."""
    done = 0
    while done < count:
        piece = os.read(told, count - done)
        if not piece:
            raise AssertionError("the writer ended before its power was cut")
        done += len(piece)
    return done


def _acknowledged_by_now(told: int) -> int:
    os.set_blocking(told, False)
    try:
        return len(os.read(told, 1 << 16))
    except BlockingIOError:
        return 0


# ---- one cut --------------------------------------------------------------------------------------------------


def _cut(
    disk: LoopDisk, open_store: Callable[[], DefaultSessionStore], writer: str, broken: str, chance: random.Random,
    meanwhile: str,
) -> int:
    """Let a writer write, cut the power, mount again; return how many writes were acknowledged before the cut."""
    count, is_at_rest = chance.randint(2, 24), chance.random() < 0.5
    pid, told = _start(open_store, writer, count if is_at_rest else None, broken)
    try:
        done = _wait_for(told, count // 2)
        if meanwhile == "sync":
            disk.sync()
        done += _wait_for(told, count - done)
        if meanwhile == "a neighbour's flush":
            disk.flush_a_neighbour()
        time.sleep(chance.uniform(0.0, 0.002))  # the moment is random; what counts was told before the ioctl
        done += _acknowledged_by_now(told)
        disk.cut_power()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(told)
    disk.unmount()
    disk.mount()
    return done


class Found:
    """What a fresh store finds after a loss of power: each writer's numbers, and whether anything was torn."""

    def __init__(self, engine: str, directory: Path, durability: str) -> None:
        self.numbers: dict[str, list[int]] = {}
        self.torn = _is_torn(engine, directory)
        try:
            with store_on(engine, directory, durability) as store:
                self.numbers = numbers_by_writer(everything(store, "shared"))
                if engine == "json_files":
                    store.vacuum()
        except CorruptSessionError:
            self.torn = "refused"
        except SessionStoreError as error:
            self.torn = f"unreadable: {error}"
        if any(numbers != list(range(len(numbers))) for numbers in self.numbers.values()):
            self.torn = self.torn or "messages missing in between, twice, or out of order"
        if (directory / ".quarantine").exists():
            self.torn = self.torn or "repaired"
        self.left = [path.name for path in directory.rglob("*.tmp")]

    def lost(self, acknowledged: dict[str, int]) -> int:
        """Return how many acknowledged messages are not there."""
        return sum(max(count - len(self.numbers.get(writer, [])), 0) for writer, count in acknowledged.items())


def _is_torn(engine: str, directory: Path) -> str:
    """Look at the files with other eyes than the store's; what is damaged, or nothing."""
    if engine == "json_files":
        for path in directory.glob("*.json"):
            try:
                assert "shared" == json.loads(path.read_bytes())["session_id"]
            except ValueError:
                return "no JSON"
    if engine == "sqlite" and (directory / "sessions.db").exists():
        connection = sqlite3.connect(directory / "sessions.db")
        try:
            ((answer,),) = connection.execute("PRAGMA integrity_check").fetchall()
        except (sqlite3.DatabaseError, ValueError) as error:
            answer = str(error)
        finally:
            connection.close()
        return "" if answer == "ok" else answer
    return ""


# ---- many cuts ------------------------------------------------------------------------------------------------


def cut_many(
    directory: str, *, kind: str, engine: str, durability: str, cuts: int, seed: int, broken: str = "",
    mounted_with: str = "",
) -> dict[str, Any]:
    """
    Cut the power of one disk many times under writers of an engine; in the mounted process.

    Returns:
        How many cuts, messages acknowledged, and of those lost; the cuts that lost or tore, with what was torn; and
        the names of temporary files left.
    """
    chance = random.Random(seed)
    totals: Counter[str] = Counter(cuts=cuts, acknowledged=0, lost=0, losing_cuts=0, torn_cuts=0)
    torn: Counter[str] = Counter()
    left: list[str] = []
    acknowledged: dict[str, int] = {}
    number_of_directory = 0
    _warm_up(engine, Path(directory), durability)
    with LoopDisk(kind, Path(directory), mounted_with=mounted_with) as disk:
        for number in range(cuts):
            sessions = disk.root / f"sessions-{number_of_directory}"

            def open_store(sessions: Path = sessions) -> DefaultSessionStore:
                return store_on(engine, sessions, durability)

            count = _cut(disk, open_store, f"writer-{number}", broken, chance, MEANWHILE[number % 3])
            acknowledged[f"writer-{number}"] = count
            found = Found(engine, sessions, durability)
            lost = found.lost(acknowledged)
            totals.update(acknowledged=count, lost=lost, losing_cuts=lost > 0, torn_cuts=bool(found.torn))
            torn.update([found.torn] if found.torn else [])
            left += found.left
            # What was found once is on the disk, and stays there over the next cut.
            acknowledged = {writer: len(numbers) for writer, numbers in found.numbers.items()}
            if found.torn or lost or number % CUTS_OF_A_DIRECTORY == CUTS_OF_A_DIRECTORY - 1:
                acknowledged, number_of_directory = {}, number_of_directory + 1
    return {**totals, "torn": dict(torn), "left": left}


def _warm_up(engine: str, directory: Path, durability: str) -> None:
    """Import what a forked writer would import anew each time."""
    with store_on(engine, directory / "warm", durability) as store:
        store.add_user_message("warm", "up")
        store.get_archived_messages("warm")
