"""
The harness of turns: while one store writes, a second begins at one of its calls; at one of the second's calls the
first goes on by that call and a third writes. Three are needed: who locks a file that lost its name is met by the
third only. No clock decides anything, so that each meeting can be had again.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from faults.operations import SUFFIXES, add, open_store, state_of
from praison_store import DefaultSessionStore, LockTimeoutError, SessionStoreError
from praison_store.disk import seam

Sessions = tuple[str, str, str]
SAME: Sessions = ("one", "one", "one")
BETWEEN: Sessions = ("one", "other", "one")


class Meeting:
    """Let the second writer begin at one call of the first, and the third write at one call of the second."""

    def __init__(self, first_at: int, second_at: int, second: Callable[[], None], third: Callable[[], None]) -> None:
        self.first_at, self.second_at = first_at, second_at
        self.second, self.third = second, third
        self.met = [False, False]
        self._who = 0
        self._counts = [0, 0, 0]
        self._first: Callable[[], Any] = lambda: None

    def __call__(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        who, index = self._who, self._counts[self._who]
        self._counts[who] += 1
        if who == 0 and index == self.first_at:
            answer: Future[Any] = Future()

            def once() -> None:
                if not answer.done():
                    try:
                        answer.set_result(call(*args, **named))
                    except OSError as error:
                        answer.set_exception(error)  # the first writer's to hear, not the second's

            self._first, self.met[0] = once, True
            self._do(1, self.second)
            once()
            return answer.result()
        if who == 1 and index == self.second_at:
            self.met[1] = True
            self._first()
            self._do(2, self.third)
        return call(*args, **named)

    def _do(self, who: int, write: Callable[[], None]) -> None:
        before, self._who = self._who, who
        write()
        self._who = before


def meet_everywhere(root: Path, engine: str, sessions: Sessions) -> int:
    """
    Have three writers meet at every pair of calls; what each was told is stored must be there, once.

    Returns:
        How many meetings there were.
    """
    before = root / "before"
    with open_store(before, engine=engine) as store:
        add("one", "old-0", "old-1")(store)
        add("other", "old-0", "old-1")(store)
    meetings = 0
    for first_at in itertools.count():
        for second_at in itertools.count():
            met = _meet(root / "run", before, engine, sessions, first_at, second_at)
            meetings += 1
            if not met[1]:
                break
        if not met[0]:
            return meetings
    raise AssertionError("unreachable")


def _meet(directory: Path, before: Path, engine: str, sessions: Sessions, first_at: int, second_at: int) -> list[bool]:
    shutil.copytree(before, directory)
    expected = {session_id: ["old-0", "old-1"] for session_id in ("one", "other")}
    refused: list[str] = []

    def writing(who: int, store: DefaultSessionStore) -> Callable[[], None]:
        def write() -> None:
            try:
                store.add_user_message(sessions[who], f"from {who}")
            except LockTimeoutError:
                return  # not acknowledged: it is another's turn
            except SessionStoreError as error:
                refused.append(str(error))  # to be told when all is done: an error must not go up into another's call
                return
            expected[sessions[who]].append(f"from {who}")

        return write

    with ExitStack() as opened:
        options: dict[str, Any] = {"engine": engine, "lock_timeout": 0.0, "durability": "process"}
        stores = [opened.enter_context(open_store(directory, **options)) for _ in range(3)]
        writers = [writing(who, store) for who, store in enumerate(stores)]
        meeting = Meeting(first_at, second_at, writers[1], writers[2])
        with seam.intercept(meeting):
            writers[0]()
    assert [] == refused, f"{engine}, {sessions}: {first_at} and {second_at}"
    state = state_of(directory, engine=engine)
    for session_id, contents in expected.items():
        told = f"{engine}, {sessions}: {first_at} and {second_at}"
        assert sorted(contents) == sorted(state[session_id]["messages"]), told
    assert [] == [path.name for path in directory.iterdir() if path.name.endswith(".tmp")]
    assert {"one", "other"} == {path.stem for path in directory.glob(f"*{SUFFIXES[engine]}")}
    shutil.rmtree(directory)
    return meeting.met
