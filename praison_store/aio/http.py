"""Await sessions on a remote HTTP service: the plans of `engines.http_plan`, driven without a thread."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, TypeVar

from ..engines.contract import Capabilities, Change
from ..engines.http import LIMITS_IN_ALL, client_options, plan_for
from ..engines.http_wire import Answer, Call, Failure, Pause, Plan, Reply, failure_of, httpx_module
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy
from .cancellation import settled

T = TypeVar("T")


class _Held:
    """A client of httpx with the generator it lives in, and how many requests are on their way in it."""

    __slots__ = ("client", "is_retired", "life", "requests")

    def __init__(self, life: AsyncGenerator[Any, None], client: Any) -> None:
        self.life, self.client, self.requests, self.is_retired = life, client, 0, False


class AsyncHttpEngine:
    """
    Await form of `HttpEngine`; see there for the arguments.

    Promise: a call that is cancelled while a write is on its way waits for that one answer, so that nothing goes on
    behind the cancellation; it sends nothing more. Usable from several event loops, each with connections of its own,
    which are closed with the engine or with their loop.
    """

    capabilities = Capabilities("http")

    def __init__(
        self, endpoint: str, *, timeout_s: float = 10.0, retries: int = 3, headers: Mapping[str, str] | None = None
    ) -> None:
        self._plan, self._timeout_s = plan_for(endpoint, timeout_s, retries, headers)
        self._httpx = httpx_module()
        self._mutex = threading.Lock()  # loops of several threads share the table
        self._clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Held] = weakref.WeakKeyDictionary()

    async def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Await form of `Engine.history`; see there."""
        return await self._run(self._plan.history(key, newest))

    async def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Await form of `Engine.read`; see there."""
        return await self._run(self._plan.read(key, newest))

    async def exists(self, key: SessionKey) -> bool:
        """Await form of `Engine.exists`; see there."""
        return await self.read(key, None) is not None

    async def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Await form of `Engine.whole`; see there."""
        return await self._run(self._plan.whole(key))

    async def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Await form of `HttpEngine.append`; see there."""
        return await self._run(self._plan.append(
            key, messages, now_s=now_s, policy=policy, lease=lease, least_revision=least_revision))

    async def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Await form of `HttpEngine.update`; see there."""
        return await self._run(self._plan.update(
            key, change, now_s=now_s, policy=policy, expected_revision=expected_revision, keep_archive=keep_archive,
            lease=lease,
        ))

    async def delete(
        self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None
    ) -> bool:
        """Await form of `Engine.delete`; see there."""
        return await self._run(self._plan.delete(key, lease=lease, expected_revision=expected_revision))

    async def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> list[SessionInfo]:
        """Await form of `Engine.find`, as a list; see there."""
        return await self._run(self._plan.find(
            filters=filters, order_by=order_by, limit=limit, offset=offset, namespace=namespace
        ))

    async def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> list[tuple[SessionData, list[Record]]]:
        """Await form of `Engine.search`, as a list; see there."""
        return await self._run(self._plan.search(terms, namespace=namespace))

    async def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Await form of `Engine.count`; see there."""
        return await self._run(self._plan.count(filters, namespace=namespace))

    async def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Await form of `Engine.claim`; see there."""
        return await self._run(self._plan.claim(key, owner, ttl_s))

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Await form of `Engine.renew`; see there."""
        return await self._run(self._plan.renew(lease, ttl_s))

    async def release(self, lease: Lease) -> bool:
        """Await form of `Engine.release`; see there."""
        return await self._run(self._plan.release(lease))

    async def close(self) -> None:
        """Close this loop's connections, and ask other loops that run to close theirs; it may be used again."""
        here = asyncio.get_running_loop()
        with self._mutex:
            clients = list(self._clients.items())
            self._clients.clear()
        for loop, held in clients:
            if loop is here:
                await self._retire(held)
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(self._retire(held), loop)

    # ---- driving ---------------------------------------------------------------------------------------------

    async def _run(self, plan: Plan[T]) -> T:
        """Carry out a plan, step by step, and return its result."""
        try:
            step = next(plan)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = next(plan)
                else:
                    step = plan.send(await self._ask(step))
        except StopIteration as done:
            result: T = done.value
            return result

    async def _ask(self, call: Call) -> Reply:
        """Send one request; one that may change something is never left on its way."""
        if call.method == "GET":
            return await self._exchange(call)
        return (await settled(self._exchange(call))).result()

    async def _exchange(self, call: Call) -> Reply:
        """Send one request and read its answer to the end, in a bounded time."""
        held = await self._open()
        held.requests += 1
        try:
            async with asyncio.timeout(LIMITS_IN_ALL * self._timeout_s):
                response = await held.client.request(
                    call.method, self._plan.endpoint.url + call.target, content=call.body, headers=dict(call.headers)
                )
            return Answer(response.status_code, response.headers.get("ETag"), response.content)
        except TimeoutError as error:
            return Failure(True, error)
        except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            return failure_of(error)
        finally:
            held.requests -= 1
            if held.is_retired and not held.requests:
                await held.life.aclose()

    async def _retire(self, held: _Held) -> None:
        """Close a client of the running loop, behind the last request that is on its way in it."""
        held.is_retired = True
        if not held.requests:
            await held.life.aclose()

    async def _open(self) -> _Held:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        held = self._clients.get(loop)
        if held is None or held.client.is_closed:
            life = self._life()
            held = _Held(life, await anext(life))
            with self._mutex:
                self._clients[loop] = held
        return held

    async def _life(self) -> AsyncGenerator[Any, None]:
        # A loop closes its async generators before it ends, and so the connections that belong to it, whether or not
        # anybody closed the engine; they cannot be closed afterwards.
        client = self._httpx.AsyncClient(**client_options(self._plan, self._timeout_s))
        try:
            yield client
        finally:
            await client.aclose()
