"""Sessions on a remote HTTP service: `GET`, `PUT` and `DELETE {endpoint}/{session_id}`, guarded by ETags."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import InvalidArgumentError
from ..model import arguments
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy
from .contract import Capabilities, Change
from .forks import renew_in_child
from .http_plan import HttpPlan
from .http_wire import Answer, Call, Endpoint, Pause, Plan, Reply, failure_of, httpx_module

T = TypeVar("T")
# Connecting, sending and waiting have a limit each; an answer that trickles in has this many of them in all.
LIMITS_IN_ALL = 3


def plan_for(endpoint: object, timeout_s: object, retries: object, headers: object) -> tuple[HttpPlan, float]:
    """Return the plan and the time limit of an engine's arguments. Raises InvalidArgumentError."""
    limit_s = arguments.seconds(timeout_s, "timeout_s")
    if limit_s == 0:
        raise InvalidArgumentError("timeout_s is more than 0 seconds: pass how long to wait for an answer.")
    times = arguments.at_least(retries, "retries", 0) or 0
    return HttpPlan(Endpoint(endpoint, headers), times, max(30.0, LIMITS_IN_ALL * limit_s)), limit_s


def client_options(plan: HttpPlan, timeout_s: float) -> dict[str, Any]:
    """Return what a client of httpx is made with; redirects are not followed, or credentials might go elsewhere."""
    endpoint = plan.endpoint
    return {
        "timeout": httpx_module().Timeout(timeout_s), "headers": endpoint.headers, "auth": endpoint.auth,
        "follow_redirects": False,
    }


class _Held:
    """A client of httpx, how many requests are on their way in it, and whether it is to be closed behind the last."""

    __slots__ = ("client", "is_retired", "pid", "requests")

    def __init__(self, client: Any) -> None:
        self.client, self.pid, self.requests, self.is_retired = client, os.getpid(), 0, False


class HttpEngine:
    """
    Sessions on an HTTP service, which any number of machines may share.

    Args:
        endpoint: the URL sessions are kept under; a user and a password in it are sent, and shown nowhere.
        timeout_s: more than 0 seconds to connect, to send and to wait for each part of an answer.
        retries: 0 or more times a request is sent again where it is safe; each waits twice as long as the one before.
        headers: sent with every request, and shown nowhere.
    Raises:
        InvalidArgumentError: No such URL, or an argument that cannot be meant. MissingExtraError: httpx is missing.
    Shape: a session is its `SessionData.to_dict()` with `archived_messages` and `recent_writes`; a PUT has If-Match, or
    `If-None-Match: *` for a new one. `GET {endpoint}?namespace=&limit=&offset=&order_by=&<filter>` and `?search=` list
    `{"sessions": [...], "total": n}`; `PUT` and `DELETE {endpoint}/{session_id}/lease` claim, renew and release; a
    write under a lease has `If-Lease`. A service without lists or leases raises UnsupportedOperationError for them.
    An id is one percent-encoded segment; `.` and `..`, with nothing but `~` behind or none, have one `~` more there.
    Cost: a write is one GET and one PUT of the whole session, archive included.
    Source: the three requests follow the Codin SessionManager README.
    Not promised: with a service that ignores If-Match, two writers erase each other.
    """

    capabilities = Capabilities("http")

    def __init__(
        self, endpoint: str, *, timeout_s: float = 10.0, retries: int = 3, headers: Mapping[str, str] | None = None
    ) -> None:
        self._plan, self._timeout_s = plan_for(endpoint, timeout_s, retries, headers)
        self._httpx = httpx_module()
        self._mutex = threading.Lock()
        self._held: _Held | None = None
        self._left_to_parent: list[_Held] = []
        renew_in_child(self)

    def renew_after_fork(self) -> None:
        """Take a new mutex, in a forked child: a thread that is not there may hold the old one."""
        self._mutex = threading.Lock()

    def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Return the newest messages as a model API takes them; see `Engine.history`."""
        return self._run(self._plan.history(key, newest))

    def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Return a session with its newest messages; see `Engine.read`."""
        return self._run(self._plan.read(key, newest))

    def exists(self, key: SessionKey) -> bool:
        """Tell whether the service has the session."""
        return self.read(key, None) is not None

    def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Return a session with all its messages, and the archive; see `Engine.whole`."""
        return self._run(self._plan.whole(key))

    def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """
        Store messages behind those that are there; see `Engine.append`.

        Raises:
            StoreReadError, StoreWriteError, LockTimeoutError: Nothing was stored. OutcomeUnknownError: The answer got
                lost, and the service cannot be asked; repeat it with a `message_id`, which is stored once.
        """
        return self._run(self._plan.append(
            key, messages, now_s=now_s, policy=policy, lease=lease, least_revision=least_revision))

    def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Read, change and write a session; see `Engine.update`. The change is made anew where another came first."""
        return self._run(self._plan.update(
            key, change, now_s=now_s, policy=policy, expected_revision=expected_revision, keep_archive=keep_archive,
            lease=lease,
        ))

    def delete(self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None) -> bool:
        """Forget a session; see `Engine.delete`."""
        return self._run(self._plan.delete(key, lease=lease, expected_revision=expected_revision))

    def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> Iterator[SessionInfo]:
        """Yield sessions; see `Engine.find`. All are asked for at once, before the first is yielded."""
        return iter(self._run(self._plan.find(
            filters=filters, order_by=order_by, limit=limit, offset=offset, namespace=namespace
        )))

    def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> Iterator[tuple[SessionData, list[Record]]]:
        """Yield sessions that may hold one of the terms; see `Engine.search`."""
        return iter(self._run(self._plan.search(terms, namespace=namespace)))

    def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Return how many sessions match."""
        return self._run(self._plan.count(filters, namespace=namespace))

    def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Take the lease on a session, by the service's clock; see `Engine.claim`."""
        return self._run(self._plan.claim(key, owner, ttl_s))

    def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Hold a lease longer; see `Engine.renew`."""
        return self._run(self._plan.renew(lease, ttl_s))

    def release(self, lease: Lease) -> bool:
        """Give a lease back; see `Engine.release`."""
        return self._run(self._plan.release(lease))

    def close(self) -> None:
        """Close the connections, those in use behind their requests; the engine may be used again."""
        with self._mutex:
            held, self._held = self._held, None
            if held is not None:
                held.is_retired = True
                held.requests += 1
        if held is not None:
            self._give_back(held)

    # ---- driving ---------------------------------------------------------------------------------------------

    def _run(self, plan: Plan[T]) -> T:
        """Carry out a plan, step by step, and return its result."""
        try:
            step = next(plan)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = next(plan)
                else:
                    step = plan.send(self._ask(step))
        except StopIteration as done:
            result: T = done.value
            return result

    def _ask(self, call: Call) -> Reply:
        """Send one request and read its answer to the end, in a bounded time."""
        stop_s = time.monotonic() + LIMITS_IN_ALL * self._timeout_s
        held = self._open()
        try:
            with held.client.stream(
                call.method, self._plan.endpoint.url + call.target, content=call.body, headers=dict(call.headers)
            ) as response:
                parts = []
                for part in response.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > stop_s:
                        raise self._httpx.ReadTimeout("the answer trickles in")
                return Answer(response.status_code, response.headers.get("ETag"), b"".join(parts))
        except (self._httpx.HTTPError, self._httpx.InvalidURL) as error:
            return failure_of(error)
        finally:
            self._give_back(held)

    def _open(self) -> _Held:
        """Return the client of this process; a forked child takes its own, because two cannot share a connection."""
        held = self._used(None)
        if held is None:
            # Made outside the mutex, because reading the certificates takes long enough for others to wait.
            made = _Held(self._httpx.Client(**client_options(self._plan, self._timeout_s)))
            held = self._used(made) or made
            if held is not made:
                made.client.close()
        return held

    def _used(self, made: _Held | None) -> _Held | None:
        """Return this process's client, or `made` where there is none yet; a request is counted in it."""
        with self._mutex:
            if self._held is not None and self._held.pid != os.getpid():
                # Closing it would say goodbye on the parent's connections.
                self._left_to_parent.append(self._held)
                self._held = None
            if self._held is None:
                self._held = made
            if self._held is not None:
                self._held.requests += 1
            return self._held

    def _give_back(self, held: _Held) -> None:
        # httpx leaves a connection open that is closed while another thread makes it, so the last one closes them all.
        with self._mutex:
            held.requests -= 1
            is_last = held.is_retired and not held.requests
        if is_last and held.pid == os.getpid():
            held.client.close()
