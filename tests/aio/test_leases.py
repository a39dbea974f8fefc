"""A lease held by a block: it is kept alive, its loss is told at once, and a late holder changes nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from aio.engines import WatchedEngine, owner_of, within

from praison_store.aio import LeaseExpiredError, LeaseHeldError, SessionManager
from praison_store.errors import InvalidArgumentError, OutcomeUnknownError, StoreWriteError
from praison_store.model.lease import Lease
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

ALL = policy_named("keep_all", 1)


def stealing(engine: WatchedEngine) -> Any:
    """Return what lets another take the lease in front of a renewal."""

    async def steal(lease: Lease, _ttl_s: float) -> None:
        await engine.inner.release(lease)
        assert await engine.inner.claim(lease.key, "thief", 30.0)

    return steal


def test_a_lost_lease_comes_out_of_the_block_and_late_writes_are_refused(tmp_path: Path) -> None:
    """Goal: a holder is told at its next await. Method: steal the lease at a heartbeat, in each kind of block."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine, lock_ttl=30, heartbeat_interval=0.01)
        engine.before["renew"] = stealing(engine)
        with pytest.raises(LeaseExpiredError):
            async with manager.agent_lock.acquire("s", "agent") as held:
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert (0, "thief") == (task.cancelling(), owner_of(tmp_path, "s"))
        with pytest.raises(LeaseExpiredError):
            held.check()
        record = new_record("user", "late", 1.0)
        with pytest.raises(LeaseExpiredError):
            await engine.inner.append(held.key, [record], now_s=1.0, policy=ALL, lease=held.lease)
        with pytest.raises(LeaseExpiredError):
            await within(manager.session("t"), lambda session: session.context.update(late=True), asyncio.Event().wait())
        assert (None, "thief") == (await manager.get_session("t"), owner_of(tmp_path, "t"))

    asyncio.run(main())


def test_a_write_under_a_lease_that_was_lost_unnoticed_is_refused(tmp_path: Path) -> None:
    """Goal: fencing does not rest on the heartbeat. Method: steal the lease while none beats, and leave the block."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine)

        async def steal(session: Any) -> None:
            await stealing(engine)(manager.agent_lock.holders[session.key].lease, 0.0)

        acts = {"write": lambda session: session.context.update(late=True),
                "reading": lambda session: setattr(session, "is_deleted", True)}
        for work, act in acts.items():
            with pytest.raises(LeaseExpiredError):
                await within(manager.session(work), act, steal)
            assert (None, "thief") == (await manager.get_session(work), owner_of(tmp_path, work))
        with pytest.raises(LeaseExpiredError):
            await within(manager.agent_lock.acquire("lock", "agent"), lambda held: stealing(engine)(held.lease, 0.0))

    asyncio.run(main())


def test_a_renewal_that_fails_is_tried_again_and_one_that_never_answers_ends_the_block(tmp_path: Path) -> None:
    """Goal: one lost packet is no lost lease. Method: renewals that raise, then succeed; then one that hangs."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine, lock_ttl=20, heartbeat_interval=0.01)
        renewed = asyncio.Event()
        failures = iter([True, True])

        def fail(*_arguments: Any) -> None:
            if next(failures, False):
                raise StoreWriteError("no network", path="s")
            renewed.set()

        engine.before["renew"] = fail
        async with manager.agent_lock.acquire("s", "agent") as held:
            await renewed.wait()
            held.check()
        released = asyncio.Event()
        engine.before["renew"] = lambda *_arguments: released.wait()
        impatient = SessionManager(engine=engine, lock_ttl=0.1, heartbeat_interval=0.05)

        async def wait_and_release() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                released.set()

        with pytest.raises(LeaseExpiredError):
            await within(impatient.agent_lock.acquire("s", "agent"), wait_and_release())
        assert None is owner_of(tmp_path, "s")

    asyncio.run(main())


def test_a_cancellation_from_outside_stays_one_although_the_lease_is_lost(tmp_path: Path) -> None:
    """Goal: who cancels a task is heard. Method: cancel it in the same turn of the loop in which the lease is lost."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine, lock_ttl=30, heartbeat_interval=0.01)
        lost = asyncio.Event()

        async def hold() -> None:
            async with manager.agent_lock.acquire("s", "agent"):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    lost.set()
                    await asyncio.Event().wait()

        engine.before["renew"] = stealing(engine)
        task = asyncio.ensure_future(hold())
        await lost.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert {} == manager.agent_lock.holders

    asyncio.run(main())


def test_an_owner_is_never_used_twice_and_generations_grow(tmp_path: Path) -> None:
    """Goal: a holder is told from every other. Method: acquire one lock again and again, as one agent."""

    async def main() -> None:
        manager = SessionManager(endpoint=str(tmp_path))
        seen = []
        for _ in range(5):
            async with manager.agent_lock.acquire("s", "agent", user_id="alice") as held:
                seen.append((held.generation, held.owner))
        assert [1, 2, 3, 4, 5] == [generation for generation, _owner in seen]
        assert 5 == len({owner for _generation, owner in seen})
        await manager.cleanup()

    asyncio.run(main())


def test_a_block_of_the_same_task_shares_the_lock_and_another_task_does_not(tmp_path: Path) -> None:
    """Goal: an agent's run may open its session. Method: a session and a lock inside a lock; a task beside it."""

    async def main() -> None:
        manager = SessionManager(endpoint=str(tmp_path))
        async with manager.agent_lock.acquire("s", "agent") as outer:
            async with manager.agent_lock.acquire("s", "agent") as inner:
                assert outer is inner
            async with manager.session("s") as session:
                session.context["a"] = 1
            assert outer.owner == owner_of(tmp_path, "s")

            async def beside() -> None:
                async with manager.session("s", on_busy="fail"):
                    pass

            with pytest.raises(LeaseHeldError):
                await asyncio.ensure_future(beside())
        assert None is owner_of(tmp_path, "s")
        for wrong in ({"on_busy": "perhaps"}, {"wait_timeout": -1}):
            with pytest.raises(InvalidArgumentError):
                manager.agent_lock.acquire("s", "agent", **wrong)  # type: ignore[arg-type]  # wrong on purpose
        await manager.cleanup()

    asyncio.run(main())


def test_a_late_write_in_a_worker_thread_is_refused_too(tmp_path: Path) -> None:
    """Goal: the last write carries its lease. Method: a new session, a changed one and a message, each lease stolen."""

    async def main() -> None:
        manager = SessionManager(endpoint=str(tmp_path))

        async def steal(session: Any) -> None:
            lease = manager.agent_lock.holders[session.key].lease
            assert lease is not None
            await manager.engine.release(lease)
            assert await manager.engine.claim(session.key, "thief", 30.0)

        async with manager.session("old") as session:
            session.context["a"] = 1
        async with manager.session("said") as session:
            session.context["a"] = 1
        acts = {"new": lambda session: session.context.update(a=2), "old": lambda session: session.context.update(a=2),
                "said": lambda session: session.add_user_message("late")}
        for session_id, act in acts.items():
            with pytest.raises(LeaseExpiredError):
                await within(manager.session(session_id), act, steal)
            assert "thief" == owner_of(tmp_path, session_id)
        assert None is await manager.get_session("new")
        for session_id in ("old", "said"):
            found = await manager.get_session(session_id)
            assert found is not None
            assert ({"a": 1}, []) == (found.context, found.messages)
        await manager.cleanup()

    asyncio.run(main())


def test_a_claim_whose_outcome_is_unknown_leaves_nothing_claimed(tmp_path: Path) -> None:
    """Goal: a failed entry holds no lease. Method: fail behind the first claim, then look who holds it."""

    async def main() -> None:
        engine = WatchedEngine(tmp_path)
        manager = SessionManager(engine=engine)

        async def unknown(key: SessionKey, owner: str, ttl_s: float) -> None:
            del engine.before["claim"]
            assert await engine.inner.claim(key, owner, ttl_s)
            raise OutcomeUnknownError("not proven durable", path=str(tmp_path))

        engine.before["claim"] = unknown
        with pytest.raises(OutcomeUnknownError):
            await within(manager.agent_lock.acquire("s", "agent"))
        assert None is owner_of(tmp_path, "s")

    asyncio.run(main())


def test_a_lease_is_renewed_while_every_thread_waits(tmp_path: Path) -> None:
    """Goal: busy files cost nobody a lease. Method: all threads of the loop wait, for longer than the lease lasts."""

    async def main() -> None:
        manager = SessionManager(str(tmp_path), lock_ttl=0.6, heartbeat_interval=0.1)
        loop, gate = asyncio.get_running_loop(), threading.Event()
        async with manager.agent_lock.acquire("s", "a") as held:
            waiting = [loop.run_in_executor(None, gate.wait, 30.0) for _ in range(100)]
            first = held.lease
            assert first is not None
            try:
                async with asyncio.timeout(30):
                    while (held.lease or first).expires_at_s <= first.expires_at_s + 0.6:
                        await asyncio.sleep(0.02)
            finally:
                gate.set()
            await asyncio.gather(*waiting)
        await manager.cleanup()

    asyncio.run(main())
