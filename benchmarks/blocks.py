"""
What does `async with manager.session(id)` cost on files, beside the sync calls it makes?

A block claims a lease, reads the session, and at its end writes one message and gives the lease back: four calls. Both
ways make them in one run, in random order, on sessions of the same length; the awaited way also starts two threads'
work and compares the session with what was read.
"""

from __future__ import annotations

import asyncio
import time

from praison_store.aio import SessionManager
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.model.message import new_record
from praison_store.model.session_id import key_of
from praison_store.retention import policy_named

from .harness import Contender, interleaved, ratio
from .report import Report
from .stores import text_of

ALL = policy_named("keep_all", 1)
SYNC, BLOCK = "claim, read, append, release", "async with"
BAR = 1.5


def measure(report: Report) -> None:
    """Measure with and without flushing, short sessions and long ones."""
    for durability in ("full", "process"):
        for messages in (100, 1000):
            _beside(report, durability, messages)


def _beside(report: Report, durability: str, messages: int) -> None:
    directory = report.directory / f"{durability}-{messages}"
    engines = {name: JsonFilesEngine(str(directory / str(index)), durability=durability)
               for index, name in enumerate((SYNC, BLOCK))}
    key = key_of("benchmark")
    records = [new_record("user", text_of(f"message {number} "), 1.0) for number in range(messages)]

    def refilled(engine: JsonFilesEngine) -> None:
        engine.delete(key)
        engine.append(key, records, now_s=time.time(), policy=ALL)
        engine.read(key, None)

    loop = asyncio.new_event_loop()
    manager = SessionManager(engine=engines[BLOCK])

    def calls() -> None:
        engine = engines[SYNC]
        lease = engine.claim(key, "benchmark", 30.0)
        assert lease is not None
        engine.read(key, None)
        one = [new_record("user", text_of("one more "), time.time(), message_id=f"m{time.time_ns()}")]
        engine.append(key, one, now_s=time.time(), policy=ALL, lease=lease)
        engine.release(lease)

    async def block() -> int:
        start_ns = time.perf_counter_ns()
        async with manager.session("benchmark") as session:
            session.add_message("user", text_of("one more "))
        return time.perf_counter_ns() - start_ns

    try:
        timings = interleaved(
            [Contender(SYNC, calls, lambda: refilled(engines[SYNC])),
             Contender(BLOCK, lambda: loop.run_until_complete(block()), lambda: refilled(engines[BLOCK]))],
            report.rounds(400, 10),
        )
        name = f"{durability}, {messages:,} messages"
        report.times(name, timings, floors={BLOCK: SYNC})
        report.bar(f"{name}: a block, x the calls it makes", "<=", BAR, ratio(timings, BLOCK, SYNC))
    finally:
        loop.run_until_complete(manager.cleanup())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        for engine in engines.values():
            engine.close()
