"""Eight processes write one session through a service: each names the version it changes, and none erases another's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from praison_store.engines.http import HttpEngine
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named
from processes.workers import DEADLINE_S, Job, forks_beside_threads, run_all

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from http_place import Service

KEY, ALL = SessionKey("shared"), policy_named("keep_all", 1)
pytestmark = [forks_beside_threads]


def append_all(url: str, writer: str, count: int) -> int:
    """Append messages one by one with an engine of one's own, and return how many were acknowledged."""
    engine = HttpEngine(url, timeout_s=DEADLINE_S)
    for number in range(count):
        record = new_record("user", f"{writer}:{number}", 1.0, message_id=f"{writer}:{number}")
        engine.append(KEY, [record], now_s=1.0, policy=ALL)
    engine.close()
    return count


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.long)])
def test_D3_eight_processes_on_one_session_of_a_service_lose_nothing(count: int) -> None:
    """Goal: all of them, each writer's in its order, a revision each. Method: a service in this process, 8 x `count`."""
    service = Service()
    service.start()
    try:
        jobs: list[Job] = [(append_all, (service.url, f"w{number}", count)) for number in range(8)]
        assert [count] * 8 == run_all(jobs, start="spawn", deadline_s=4 * DEADLINE_S)
        engine = HttpEngine(service.url)
        session = engine.read(KEY, None)
        engine.close()
    finally:
        service.stop()
    assert session is not None
    texts = [str(message.content) for message in session.messages]
    assert 8 * count == len(set(texts)) == len(texts) == session.revision
    for writer in range(8):
        assert [f"w{writer}:{number}" for number in range(count)] == [text for text in texts if text.startswith(f"w{writer}:")]
