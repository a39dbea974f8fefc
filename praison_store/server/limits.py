"""What every request passes before a route sees it: its form, its Host, its token, its turn, its size."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from ..codec import values
from ..errors import SessionStoreError
from .access import EVERYBODY, Tokens, Who
from .config import Config, is_loopback
from .metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
logger = logging.getLogger("praison_store.server")
access_log = logging.getLogger("praison_store.access")
# Programs that watch the service have no token, and must be answered when everything else waits.
OPEN = ("/", "/health/live", "/health/ready", "/docs", "/openapi.json")
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_ESCAPES = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_MOST_WAITING, _LONGEST_WAIT_S, _LONGEST_BODY_S = 8192, 30.0, 60.0
_MOST_CLIENTS = 10_000
_DRAIN_S, _DRAIN_BYTES = 5.0, 1_000_000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass
class RefusedError(Exception):
    """A request that goes no further: the status, what is told, and whether the connection ends with it."""

    status: int
    detail: str
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    closes: bool = False
    drains_bytes: int = _DRAIN_BYTES


class Buckets:
    """
    How fast each client may ask: `rate` a second, twice as many at once.

    Cost: bounded; with too many clients the ones that are full again are forgotten.
    """

    def __init__(self, rate: float) -> None:
        self._rate, self._most = rate, 2 * rate
        self._clients: dict[str, tuple[float, float]] = {}

    def take(self, client: str, now_s: float) -> float:
        """Take one; return 0, or how many seconds to wait for the next."""
        if not self._rate:
            return 0.0
        left, seen_s = self._clients.get(client, (self._most, now_s))
        left = min(self._most, left + (now_s - seen_s) * self._rate)
        if left < 1:
            return (1 - left) / self._rate
        if len(self._clients) > _MOST_CLIENTS:
            full_s = now_s - self._most / self._rate
            self._clients = {name: one for name, one in self._clients.items() if one[1] > full_s}
        self._clients[client] = (left - 1, now_s)
        return 0.0


class Slots:
    """
    So many requests at once; those behind wait, in order, and too many of them are refused.

    Promise: a user with a token has half of the slots at most, so that nobody alone keeps all others waiting.
    """

    def __init__(self, most: int) -> None:
        self._slots = asyncio.Semaphore(most) if most else None
        self._share = max(1, most // 2)
        self._users: dict[str, int] = {}
        self._waiting = 0

    @asynccontextmanager
    async def slot(self, user: str | None) -> AsyncIterator[None]:
        """Wait for a slot, and give it back. Raises RefusedError."""
        if self._slots is None:
            yield
            return
        own = 0 if user is None else self._users.get(user, 0)
        if own >= self._share or (self._slots.locked() and self._waiting >= _MOST_WAITING):
            raise _busy()
        if user is not None:
            self._users[user] = own + 1
        try:
            await self._acquired(self._slots)
            try:
                yield
            finally:
                self._slots.release()
        finally:
            if user is not None:
                self._users[user] -= 1
                if not self._users[user]:
                    del self._users[user]

    async def _acquired(self, slots: asyncio.Semaphore) -> None:
        self._waiting += 1
        try:
            await asyncio.wait_for(slots.acquire(), _LONGEST_WAIT_S)
        except TimeoutError:
            raise _busy() from None
        finally:
            self._waiting -= 1


def _busy() -> RefusedError:
    return RefusedError(429, "The service is busy: try again.", [(b"retry-after", b"1")])


class Gate:
    """
    The application behind its limits, as ASGI.

    Promise: a request that is refused reached no route; a body is read when it may be as long as it says, and no
    further; an error nobody expected is one line in the log and a 500 without a word of it.
    """

    def __init__(self, app: App, *, config: Config, tokens: Tokens | None, metrics: Metrics) -> None:
        self._app, self._config, self._tokens, self._metrics = app, config, tokens, metrics
        self._buckets = Buckets(config.rate_per_second)
        self._slots, self._query_slots = Slots(config.max_concurrency), Slots(4 * config.max_concurrency)
        self._hosts = _hosts_of(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand on what is none."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        begun_s = time.perf_counter()
        told = _Told(send, secrets.token_hex(8))
        self._metrics.open.inc()
        try:
            await self._answered(scope, receive, told)
        except RefusedError as refused:
            await told.refuse(refused, receive)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError):
                told.status = told.status or 499
                raise
            logger.error("request %s: %s", told.request_id, _kind_of(error))  # noqa: TRY400 - a trace shows paths
            if not told.status:
                await told.refuse(RefusedError(500, "The service failed."), receive)
        finally:
            self._metrics.open.dec()
            self._note(scope, told, time.perf_counter() - begun_s)

    async def _answered(self, scope: Scope, receive: Receive, told: _Told) -> None:
        headers = dict(scope["headers"])
        scope["path"] = decoded_path(scope)
        scope.setdefault("state", {})["request_id"] = told.request_id
        self._check_host(headers)
        address = (scope.get("client") or ("", 0))[0]
        who = self._who(scope, headers, address)
        scope["state"]["who"] = told.who = who
        if scope["path"] in OPEN:
            await self._app(scope, receive, told.send)
            return
        user = None if who is None else who.user
        self._check_rate(user or address)
        slots = self._query_slots if scope["path"].startswith("/query") else self._slots
        self._check_length(headers)
        async with slots.slot(user):
            body = await _body_of(receive, self._config.max_body_bytes, self._config.request_timeout_seconds)
            await self._app(scope, _replayed(body, receive), told.send)

    def _check_rate(self, client: str) -> None:
        wait_s = self._buckets.take(client, time.monotonic())
        if wait_s:
            raise RefusedError(429, "Too many requests: slower.", [(b"retry-after", b"%d" % (int(wait_s) + 1))])

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        """Refuse a page of another site: by its Host where a name was bent to this machine, by its Origin else."""
        host = _host_of(headers.get(b"host", b"").decode("latin-1"))
        if self._hosts and host not in self._hosts:
            raise RefusedError(403, "This Host is not answered to; the setting `hosts` names those that are.")
        origin = headers.get(b"origin")
        if origin is None or origin.decode("latin-1") in self._config.cors_origins:
            return
        try:
            parts = urlsplit(origin.decode("latin-1"))
            same = parts.scheme in ("http", "https") and parts.netloc.lower().encode() == headers[b"host"].lower()
        except (ValueError, KeyError):
            same = False
        if not same:
            raise RefusedError(403, "Pages of another origin are not answered.")

    def _who(self, scope: Scope, headers: dict[bytes, bytes], address: str) -> Who | None:
        if self._tokens is None:
            return EVERYBODY
        path = scope["path"]
        if path in OPEN or path == "/ui" or path.startswith("/ui/"):
            return None
        try:
            for number in self._tokens.refresh():
                logger.warning("line %d of the token file is none and lets nobody in", number)
        except SessionStoreError:
            # The last file that could be read goes on: while one is being replaced nobody is locked out.
            logger.warning("the token file cannot be read; the tokens read before stay")
        who = self._tokens.who(headers.get(b"authorization", b"").decode("latin-1"))
        if who is None:
            self._check_rate(address)
            raise RefusedError(401, "A bearer token is needed.", [(b"www-authenticate", b"Bearer")])
        return who

    def _check_length(self, headers: dict[bytes, bytes]) -> None:
        if b"content-length" in headers and b"transfer-encoding" in headers:
            # One of the two is a lie, and what stands in front of the service may believe the other one.
            raise RefusedError(400, "A request has a Content-Length or a Transfer-Encoding, not both.", closes=True)
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._config.max_body_bytes:
            raise _too_long(self._config.max_body_bytes)

    def _note(self, scope: Scope, told: _Told, took_s: float) -> None:
        # The route as it is written, never the path itself: that holds ids, and not all who read the log may.
        route = getattr(scope.get("route"), "path", None) or ("/ui" if scope["path"].startswith("/ui") else "-")
        route = scope["path"] if scope["path"] in OPEN else route
        method = scope["method"] if scope["method"] in _METHODS else "-"
        self._metrics.requests.labels(method, route, str(told.status or 499)).inc()
        self._metrics.seconds.labels(route).observe(took_s)
        access_log.info(json.dumps({
            "time": round(time.time(), 3), "request_id": told.request_id, "method": method, "route": route,
            "status": told.status or 499, "ms": round(took_s * 1000, 1), "bytes": told.size_bytes,
            "user": told.who.user if told.who and told.who.user else "admin" if told.who and self._tokens else None,
        }))


class _Told:
    """What a request was answered so far."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self.request_id = send, request_id
        self.status = 0
        self.size_bytes = 0
        self.who: Who | None = None

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode()),
                                  (b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
        self.size_bytes += len(message.get("body", b""))
        await self._send(message)

    async def refuse(self, refused: RefusedError, receive: Receive) -> None:
        """Answer that it goes no further; what still comes is let go of, for a moment, so that the answer is read."""
        body = values.dumps({"detail": refused.detail})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *refused.headers]
        if refused.closes:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": refused.closes})
        if refused.closes:
            await _drained(receive, refused.drains_bytes)
            await self.send({"type": "http.response.body", "body": b""})


def decoded_path(scope: Scope) -> str:
    """
    Return the path routes are found by: as it came, each segment still encoded, so that `a%2Fb` is one.

    Raises:
        RefusedError: It holds what is no UTF-8, which every server would read as one and the same mark.
    """
    raw = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    raw = raw.partition(b"?")[0]
    for part in (raw, scope.get("query_string", b"")):
        try:
            if _ESCAPES.search(part):
                raise ValueError("a % without two digits")
            unquote_to_bytes(part).decode("utf-8")
        except ValueError:
            raise RefusedError(400, "The URL is not percent-encoded UTF-8.") from None
    return str(raw.decode("ascii", "replace"))


def _hosts_of(config: Config) -> frozenset[str]:
    """Return the names that are answered to; none where a token protects, and nobody said which there are."""
    named = frozenset(one.lower() for one in config.hosts)
    return named | _LOCAL_HOSTS | {config.host.lower()} if named or is_loopback(config.host) else frozenset()


def _host_of(header: str) -> str:
    name = header.rpartition(":")[0] if re.search(r":\d+$", header) else header
    return name.strip("[]").lower()


def _too_long(most_bytes: int) -> RefusedError:
    # One that is a little too long is let in and forgotten, because most clients read no answer before they sent all.
    drains_bytes = max(_DRAIN_BYTES, 4 * most_bytes)
    return RefusedError(413, f"A body has at most {most_bytes} bytes.", closes=True, drains_bytes=drains_bytes)


async def _body_of(receive: Receive, most_bytes: int, idle_s: float) -> bytes:
    """Return a body. Raises RefusedError where it gets too long, comes too slowly, or its sender goes away."""
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []
    size_bytes, stop_s = 0, loop.time() + _LONGEST_BODY_S
    while True:
        try:
            message = await asyncio.wait_for(receive(), min(idle_s, max(stop_s - loop.time(), 0.001)))
        except TimeoutError:
            raise RefusedError(408, "The body came too slowly.", closes=True) from None
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "The body ended too early.")
        part = message.get("body", b"")
        size_bytes += len(part)
        if size_bytes > most_bytes:
            raise _too_long(most_bytes)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _drained(receive: Receive, left: int) -> None:
    try:
        async with asyncio.timeout(_DRAIN_S):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, then what comes behind it."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _kind_of(error: BaseException) -> str:
    """Return an error nobody expected, as a line that shows no value and no path: its kind, and where it came from."""
    trace = error.__traceback__ or sys.exc_info()[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else f" in {trace.tb_frame.f_globals.get('__name__')}.{trace.tb_frame.f_code.co_name}"
    line = "" if trace is None else f", line {trace.tb_lineno}"
    return f"{type(error).__name__}{where}{line}"
