"""Processes that take turns on one lease and count under it, and a referee that stops, kills and confuses them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from praison_store.aio import LeaseExpiredError, SessionManager
from praison_store.aio.leases import HeldLease
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from processes.board import Board
from processes.moved_clock import MovedClock
from processes.workers import DEADLINE_S

KEY = SessionKey("shared")
ALL = policy_named("keep_all", 1)
TTL_S, HOUR_S = 1.0, 3600
# What is on the board: who holds the lease, by which claim, and how many calls of the engine it is in; whether all shall
# end; then four numbers of each worker.
HOLDER, GENERATION, CALLS, STOP, FIRST = 0, 1, 2, 3, 4
ACKNOWLEDGED, TOLD, REFUSED, READY = range(4)
OF_EACH = 4
MOST_WORKERS = 200
INCREMENTS_OF_A_TURN = 8


def work(url: str, board_path: str, number: str) -> None:
    """Take the lease again and again, and count under it, until told to stop; a process's whole life."""
    with Board(FIRST + OF_EACH * MOST_WORKERS, Path(board_path)) as board:
        asyncio.run(_work(url, board, FIRST + OF_EACH * int(number)))


async def _work(url: str, board: Board, own: int) -> None:
    manager = SessionManager(endpoint=url, lock_ttl=TTL_S, heartbeat_interval=TTL_S / 4, wait_timeout=DEADLINE_S)
    calls = [0]
    for name in ("read", "update", "renew", "release"):
        setattr(manager.engine, name, _counted(getattr(manager.engine, name), calls, board))
    await manager.engine.read(KEY, None)
    board[own + READY] = 1
    while not board[STOP]:
        held: HeldLease | None = None
        try:
            async with manager.agent_lock.acquire(KEY.session_id, f"worker-{own}") as held:
                board[CALLS] = calls[0]
                board[HOLDER], board[GENERATION] = os.getpid(), held.generation
                for _ in range(INCREMENTS_OF_A_TURN):
                    await _increment(manager, held)
                    board[own + ACKNOWLEDGED] += 1
                board[HOLDER] = 0
        except LeaseExpiredError:
            assert held is not None
            board[own + TOLD] += 1
            await _write_late(manager, held, board, own)
    await manager.cleanup()
    await manager.engine.close()


def _counted(call: Callable[..., Any], calls: list[int], board: Board) -> Callable[..., Any]:
    """Tell of each call while it lasts: who is stopped in one may have the turn of a write, which no lease ends."""

    async def counted(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if board[HOLDER] == os.getpid():
            board[CALLS] = calls[0]
        try:
            return await call(*arguments, **named)
        finally:
            calls[0] -= 1
            if board[HOLDER] == os.getpid():
                board[CALLS] = calls[0]

    return counted


async def _increment(manager: SessionManager, held: HeldLease) -> None:
    """Read the count, let others run, and write it one higher: two holders at once would lose one."""
    found = await manager.engine.read(KEY, None)
    count = found.context.get("count", 0) if found else 0
    await asyncio.sleep(0.01)

    def counted(session: SessionData) -> None:
        session.context["count"] = count + 1
        if session.context.get("generation", 0) > held.generation:
            session.context["went_down"] = session.context.get("went_down", 0) + 1
        session.context["generation"] = held.generation

    await manager.engine.update(KEY, counted, now_s=1.0, policy=ALL, lease=held.lease)


async def _write_late(manager: SessionManager, held: HeldLease, board: Board, own: int) -> None:
    """Write all the same; it is refused once another followed, and until then a write under the newest claim."""
    try:
        await _increment(manager, held)
    except LeaseExpiredError:
        board[own + REFUSED] += 1
    else:
        board[own + ACKNOWLEDGED] += 1


class Referee:
    """Keep some workers at work, and do to the one that holds the lease what may happen to it."""

    def __init__(self, url: str, directory: Path, workers: int) -> None:
        self._url, self._board_path = url, directory / "board"
        self.board = Board(FIRST + OF_EACH * MOST_WORKERS, self._board_path)
        self.clock = MovedClock(directory)
        self._started = 0
        self._running: dict[int, subprocess.Popen[str]] = {}
        for _ in range(workers):
            self._start()
        self._await_ready()
        self.takeovers_s: list[float] = []

    def _start(self) -> None:
        process = self.clock.start(__name__, "work", self._url, str(self._board_path), str(self._started))
        self._started += 1
        self._running[process.pid] = process

    def _await_ready(self) -> None:
        """Wait until every worker wants the lease, or how soon it is taken would tell how soon one starts."""
        while self.total(READY) < self._started:
            self._assert_alive()
            time.sleep(0.005)

    def _caught(self, signal_number: int) -> tuple[int, int]:
        """Send a signal to whoever holds the lease, between two calls; return its id and the lease's generation."""
        ends_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < ends_s:
            self._assert_alive()
            pid, generation = self.board[HOLDER], self.board[GENERATION]
            if pid not in self._running:
                time.sleep(0.0005)
                continue
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED)
            if (pid, generation, 0) == (self.board[HOLDER], self.board[GENERATION], self.board[CALLS]):
                os.kill(pid, signal_number)
                return pid, generation
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.001)
        raise AssertionError("nobody holds the lease")

    def _await_successor(self, generation: int) -> None:
        began_s = time.monotonic()
        while self.board[GENERATION] <= generation:
            self._assert_alive()
            assert time.monotonic() - began_s < TTL_S + 30, "the lease of a holder that is gone was not taken"
            time.sleep(0.001)
        self.takeovers_s.append(time.monotonic() - began_s)

    def stop_a_holder(self) -> None:
        """Stop the holder for longer than its lease lasts; it is told when it goes on, and nothing of it is late."""
        pid, generation = self._caught(signal.SIGSTOP)
        told = self.total(TOLD)
        self._await_successor(generation)
        os.kill(pid, signal.SIGCONT)
        ends_s = time.monotonic() + DEADLINE_S
        while self.total(TOLD) == told:
            self._assert_alive()
            assert time.monotonic() < ends_s, "the old holder was not told"
            time.sleep(0.001)

    def kill_a_holder(self) -> None:
        """Kill the holder; another takes its lease, and a new worker its place."""
        pid, generation = self._caught(signal.SIGKILL)
        self._reaped(self._running.pop(pid))
        self._await_successor(generation)
        self._start()
        self._await_ready()

    def move_the_clock(self, seconds: int) -> None:
        """Set the wall clock of all workers, and kill the holder: the lease of the dead must not last as much longer."""
        pid, generation = self._caught(signal.SIGSTOP)
        self.clock.move(seconds)
        os.kill(pid, signal.SIGKILL)
        self._reaped(self._running.pop(pid))
        self._await_successor(generation)
        self._start()
        self._await_ready()

    def total(self, which: int) -> int:
        """Return the sum of one number over all workers there ever were."""
        return sum(self.board[FIRST + OF_EACH * number + which] for number in range(self._started))

    def finish(self) -> None:
        """Have all workers end by themselves; each must."""
        self.board[STOP] = 1
        for process in self._running.values():
            assert 0 == process.wait(DEADLINE_S)
            self._reaped(process)
        self._running.clear()

    def close(self) -> None:
        """End whoever is left, and give the board back."""
        for process in self._running.values():
            process.kill()
            self._reaped(process)
        self.board.__exit__()

    def _assert_alive(self) -> None:
        for pid, process in self._running.items():
            found: Any = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            assert found is None, f"a worker failed: {process.wait()}"

    @staticmethod
    def _reaped(process: subprocess.Popen[str]) -> None:
        process.communicate(timeout=DEADLINE_S)
