"""The awaited SQL engine is the sync one behind other drivers: same rows, same errors, any event loop, any thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from places import ALL, ARCHIVE, KEY, NOW_S, retitle
from sql_places import URLS

from praison_store.aio.contract import AsyncEngine
from praison_store.aio.sql import AsyncSqlEngine
from praison_store.engines.sql import SqlEngine
from praison_store.errors import (
    LeaseExpiredError,
    LockTimeoutError,
    RevisionConflictError,
    StoreReadError,
    TableNotFoundError,
)
from praison_store.model.filters import ComparisonFilter
from praison_store.model.message import new_record
from praison_store.model.session import SessionData
from praison_store.model.session_id import SessionKey


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of an empty database of each kind."""
    return URLS[request.param](tmp_path)


def run(engine: AsyncSqlEngine, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test in an event loop of its own, and close the engine there."""

    async def closing() -> None:
        try:
            await main()
        finally:
            await engine.close()

    asyncio.run(closing())


async def say(engine: AsyncSqlEngine, *texts: str, key: SessionKey = KEY, policy: Any = ALL, lease: Any = None) -> int:
    """Append messages in one write."""
    records = [new_record("user", text, NOW_S, message_id=text) for text in texts]
    return await engine.append(key, records, now_s=NOW_S, policy=policy, lease=lease)


def test_every_call_does_what_the_sync_engine_does(url: str) -> None:
    """Goal: nothing is decided twice. Method: each call awaited, the sync engine reads what it left, and back."""
    engine, sync = AsyncSqlEngine(url), SqlEngine(url)
    assert isinstance(engine, AsyncEngine)
    assert sync.capabilities == engine.capabilities

    async def main() -> None:
        assert (None, None, [], False) == (
            await engine.read(KEY, None), await engine.whole(KEY), await engine.history(KEY, 2), await engine.exists(KEY))
        assert [1, 2, 2] == [await say(engine, *texts) for texts in (("a", "b\0é"), ("c",), ("c",))]
        changed = await engine.update(KEY, retitle, now_s=NOW_S, policy=ARCHIVE)
        assert repr(sync.read(KEY, None)) == repr(changed) == repr(await engine.read(KEY, None))
        assert repr(sync.whole(KEY)) == repr(await engine.whole(KEY))
        assert ["b\0é"] == [record["content"] for record in await engine.history(KEY, 2)][:1]
        assert ["s"] == [session.session_id for session, _ in await engine.search(["b\0é"])]
        named = ComparisonFilter("metadata.title", "eq", "new")
        assert list(sync.find(filters=named)) == await engine.find(filters=named)
        assert (1, 0) == (await engine.count(named), await engine.count(namespace="other"))
        with pytest.raises(RevisionConflictError):
            await engine.update(KEY, retitle, now_s=NOW_S, policy=ALL, expected_revision=1)
        assert 0 == (await engine.update(SessionKey("t"), lambda session: False, now_s=NOW_S, policy=ALL)).revision
        assert [True, False] == [await engine.delete(KEY), await engine.delete(KEY)]
        assert 0 == sync.count()

    run(engine, main)
    sync.close()


def test_leases_of_both_engines_are_the_same(url: str) -> None:
    """Goal: one table, one clock. Method: claim by one, refused to the other, fenced, renewed and released."""
    engine, sync = AsyncSqlEngine(url), SqlEngine(url)

    async def main() -> None:
        first = await engine.claim(KEY, "a", 60.0)
        assert first is not None
        assert None is sync.claim(KEY, "b", 60.0)
        again = await engine.claim(KEY, "a", 0.0)
        assert again is not None
        assert first.generation == again.generation
        second = sync.claim(KEY, "b", 60.0)
        assert second is not None
        assert first.generation + 1 == second.generation
        with pytest.raises(LeaseExpiredError):
            await say(engine, "late", lease=first)
        with pytest.raises(LeaseExpiredError):
            await engine.renew(first, 60.0)
        assert not await engine.release(first)
        assert 1 == await say(engine, "x", lease=await engine.renew(second, 60.0))
        assert await engine.release(second)

    run(engine, main)
    sync.close()


def test_fifty_tasks_change_one_key_each_and_all_are_kept(url: str) -> None:
    """Goal: tasks take turns. Method: fifty updates of one context at once, by a pool of five connections."""
    engine = AsyncSqlEngine(url, lock_timeout_s=60.0)

    def setting(name: str) -> Callable[[SessionData], None]:
        return lambda session: session.context.update({name: name})

    async def main() -> None:
        await asyncio.gather(*(
            engine.update(KEY, setting(f"k{number}"), now_s=NOW_S, policy=ALL) for number in range(50)))
        session = await engine.read(KEY, None)
        assert session is not None
        assert (50, 50) == (len(session.context), session.revision)

    run(engine, main)


def test_one_engine_serves_many_loops_and_threads_and_leaves_nothing_open(url: str) -> None:
    """Goal: a loop's end closes its connections. Method: loops in threads and one after another, none calls close."""
    engine = AsyncSqlEngine(url, lock_timeout_s=60.0)
    failures: list[BaseException] = []

    async def main(name: str) -> None:
        await asyncio.gather(*(say(engine, f"{name}:{number}") for number in range(5)))

    def in_thread(name: str) -> None:
        try:
            asyncio.run(main(name))
        except BaseException as error:  # noqa: BLE001 - told by the assertion of the main thread
            failures.append(error)

    threads = [threading.Thread(target=in_thread, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(3):
        asyncio.run(main(f"l{number}"))
    gc.collect()  # a connection left open would warn here, and a warning is an error
    assert [] == failures
    assert 35 == len(asyncio.run(engine.history(KEY, None)))


def test_a_cancelled_write_is_whole_or_not_begun_and_holds_no_lock(url: str) -> None:
    """Goal: nothing goes on behind a cancellation. Method: cancel appends after 0, 1, 2, ... steps of the loop."""
    engine = AsyncSqlEngine(url)

    async def main() -> None:
        await say(engine, "first", "second")
        for steps in range(0, 40, 3):
            task = asyncio.ensure_future(say(engine, f"{steps}:a", f"{steps}:b"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            seen = [record["content"] for record in await engine.history(KEY, None)]
            assert seen.count(f"{steps}:a") == seen.count(f"{steps}:b")
            assert seen == [record["content"] for record in await engine.history(KEY, None)]
        await say(engine, "last")

    run(engine, main)


def test_errors_are_the_sync_engines(url: str) -> None:
    """Goal: typed, and no lock is left. Method: a change that raises, a turn that is taken, tables that are missing."""
    missing = AsyncSqlEngine(url, create=False)
    engine, busy = AsyncSqlEngine(url), SqlEngine(url)

    async def refused(call: Awaitable[Any], kind: type[Exception]) -> None:
        with pytest.raises(kind):
            await call

    async def main() -> None:
        await refused(missing.read(KEY, None), TableNotFoundError)
        await missing.setup_models()
        assert None is await missing.read(KEY, None)
        await missing.close()

        def broken(session: SessionData) -> None:
            raise RuntimeError("half way")

        await refused(engine.update(KEY, broken, now_s=NOW_S, policy=ALL), RuntimeError)
        assert not await engine.exists(KEY)
        await say(engine, "a")

    run(engine, main)

    def change(session: SessionData) -> None:
        impatient = AsyncSqlEngine(url, lock_timeout_s=0.2)
        run(impatient, lambda: refused(say(impatient, "b"), LockTimeoutError))

    busy.update(KEY, change, now_s=NOW_S, policy=ALL)
    busy.close()


@pytest.mark.parametrize("url", ["postgresql://u:secret@127.0.0.1:1/d", "mysql://u:secret@127.0.0.1:1/d"])
def test_D7_a_server_that_does_not_answer_is_an_error_without_the_password(url: str) -> None:
    """Goal: never an empty history. Method: a port nobody listens on."""
    engine = AsyncSqlEngine(url, create=False)

    async def main() -> None:
        with pytest.raises(StoreReadError, match=r"127\.0\.0\.1:1") as caught:
            await engine.history(KEY, None)
        assert "secret" not in str(caught.value)

    run(engine, main)
