"""The database server is killed in the middle of appends: each caller is told, nothing acknowledged is missing (D7)."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from typing import Any

import pytest
from processes.workers import DEADLINE_S

from faults.own_servers import KINDS, OwnServer
from praison_store import OutcomeUnknownError, StoreWriteError
from praison_store.engines.sql import SqlEngine
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

KEY, ALL = SessionKey("shared"), policy_named("keep_all", 1)
WRITERS = 2


class Writer:
    """A thread that appends numbered messages, each again by its id until it is acknowledged."""

    def __init__(self, url: str, name: str, up: threading.Event, done: threading.Event) -> None:
        self.name, self._up, self._done = name, up, done
        self.acknowledged = 0
        self.told: Counter[str] = Counter()
        self.failure: BaseException | None = None
        self._engine = SqlEngine(url)
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def end(self) -> None:
        """Wait until it is done; an error it should never have met fails the test."""
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "a writer hangs"
        self._engine.close()
        if self.failure is not None:
            raise self.failure

    def _write(self) -> None:
        try:
            while not self._done.is_set():
                text = f"{self.name}:{self.acknowledged}"
                try:
                    self._engine.append(KEY, [new_record("user", text, 1.0, message_id=text)], now_s=1.0, policy=ALL)
                except (OutcomeUnknownError, StoreWriteError) as error:
                    self.told[type(error).__name__] += 1
                    assert self._up.wait(DEADLINE_S)
                else:
                    self.acknowledged += 1
        except BaseException as error:  # noqa: BLE001 - the test raises it in its own thread
            self.failure = error


def kill_in_the_middle(server: OwnServer, writers: list[Writer], up: threading.Event) -> None:
    """Let each writer append a few more, kill the server at a random moment of the next, and start it again."""
    goals = [writer.acknowledged + random.randint(3, 10) for writer in writers]
    ends_s = time.monotonic() + DEADLINE_S
    while any(writer.acknowledged < goal and writer.failure is None for writer, goal in zip(writers, goals, strict=True)):
        assert time.monotonic() < ends_s, "the writers hang"
        time.sleep(0.001)
    time.sleep(random.random() * 0.005)
    up.clear()
    server.kill()
    server.start()
    up.set()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", list(KINDS))
def test_D7_a_killed_server_is_told_and_a_retry_stores_once(kind: str, kills: int) -> None:
    """Goal: no guess, no loss, no double. Method: kill -9 of all its processes under two writers, again and again."""
    make, is_installed = KINDS[kind]
    if not is_installed:
        pytest.skip(f"no {kind} server's programs are installed")
    up, done = threading.Event(), threading.Event()
    up.set()
    with make() as server:
        SqlEngine(server.url).close()
        writers = [Writer(server.url, f"w{number}", up, done) for number in range(WRITERS)]
        try:
            for _ in range(kills):
                kill_in_the_middle(server, writers, up)
        finally:
            done.set()
            up.set()
            for writer in writers:
                writer.end()
        beside = SqlEngine(server.url)
        found: list[Any] = [message["content"] for message in beside.history(KEY, None)]
        beside.close()
    for writer in writers:
        expected = [f"{writer.name}:{number}" for number in range(writer.acknowledged)]
        own = [text for text in found if text.startswith(f"{writer.name}:")]
        # Done between a refusal and its retry, a writer leaves one message that may be there or not.
        assert own in (expected, [*expected, f"{writer.name}:{writer.acknowledged}"])
    told = sum((writer.told for writer in writers), Counter())
    print(f"{kind}: {kills} kills, {len(found)} appends, told {dict(told)}, 0 lost, 0 doubled")
    assert kills <= sum(told.values()), "a kill hit no append"
