"""What goes over the wire to a session service and comes back, as plain values; and what a failure of it is called."""

from __future__ import annotations

import random
import re
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

from ..errors import (
    InvalidArgumentError,
    MissingExtraError,
    OutcomeUnknownError,
    StoreReadError,
    StoreWriteError,
    UnsupportedOperationError,
    shown,
)
from ..model.lease import Lease
from ..model.session_id import SessionKey, file_stem

T = TypeVar("T")
# Servers and proxies take a request line of 8 KB. What is longer is asked in parts, or decided by the asker.
MOST_QUERY_BYTES = 4096
_MOST_TERM_LETTERS = 64
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
NOT_OFFERED = frozenset({404, 405, 501})
# These answers come from something in front of the service, which may still be at work on the request.
_FROM_THE_WAY = frozenset({408, 502, 504})
_DOTS = re.compile(r"\.{1,2}~*")
# 004's `GET /sessions/stats` is no session; the same name with an escape, which means the same elsewhere, is.
_TAKEN = {"stats": "%73tats"}
_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_ADVICE = {
    401: "check the credentials in the URL or the headers",
    403: "check the credentials in the URL or the headers",
    413: "the service takes no session that large: keep fewer messages, or raise its limit",
    414: "the service takes no id that long: use a shorter one",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request: `target` is what follows the endpoint."""

    method: str
    target: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds before the next request."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered, read to its end."""

    status: int
    etag: str | None
    body: bytes

    @property
    def is_success(self) -> bool:
        """Tell whether the service did what it was asked."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer came; `sent` where the request may have reached the service all the same."""

    sent: bool
    cause: Exception


Reply = Answer | Failure
# An operation written once: it yields what is to be done, and whoever drives it, awaiting or not, sends the reply in.
Plan = Generator[Call | Pause, Reply | None, T]


class Endpoint:
    """
    The URL of a service, apart from the secrets in it.

    Args:
        url: `http://` or `https://`, a host, and the path sessions are kept under; a user and a password in it are
            sent as Basic authentication and shown in no error or log.
        headers: sent with every request; never shown.
    Raises:
        InvalidArgumentError: It is no such URL, or has a query: a key in there would end up in logs.
    """

    def __init__(self, url: object, headers: object = None) -> None:
        if not isinstance(url, str):
            raise InvalidArgumentError(f"An endpoint is a URL like https://host/sessions, not {shown(url)}: pass one.")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            url.encode("ascii")
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        wrong = any(character <= " " or character == "\x7f" for character in url)
        if parts.scheme not in ("http", "https") or not host or wrong:
            # The URL itself may hold a password, so it is not told.
            raise InvalidArgumentError("An endpoint is a URL of ASCII like https://host/sessions: pass one.")
        if parts.query or parts.fragment:
            raise InvalidArgumentError(
                "An endpoint has no ? or #: what stands behind them would be written to logs. Pass a key as a header."
            )
        place = f"[{host}]" if ":" in host else host
        self.url = f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"
        user, password = parts.username, parts.password
        self.auth = None if user is None and password is None else (unquote(user or ""), unquote(password or ""))
        self.headers = {"Accept": "application/json", **_checked_headers(headers)}

    def target(self, key: SessionKey, *below: str) -> str:
        """Return what follows the endpoint for a session; its id is one segment, whatever it holds (D8)."""
        file_stem(key.session_id)
        # A segment of dots means a way up to many a proxy, encoded or not; followed by a `~` it means nothing. An id
        # that is dots and `~` already gets one more, so that no two ids share a segment; a service takes one away.
        named = key.session_id + "~" if _DOTS.fullmatch(key.session_id) else key.session_id
        segment = _TAKEN.get(named) or quote(named, safe="").replace(".", "%2E")
        query = ""
        if key.namespace:
            file_stem(key.namespace)
            query = "?" + urlencode({"namespace": key.namespace})
        return "/" + "/".join((segment, *below)) + query

    def shown(self, target: str) -> str:
        """Return a request's URL for an error: no secret is in it."""
        return self.url + target.partition("?")[0]


def _checked_headers(headers: object) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise InvalidArgumentError("headers are a dict of names and texts: pass one, or None.")
    for name, value in headers.items():
        fits = isinstance(name, str) and name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not fits or not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise InvalidArgumentError(f"The header {shown(name)} is no name with a line of ASCII text: mend it.")
    return dict(headers)


def pause(attempt: int) -> Pause:
    """Return how long to wait before a request is sent again: twice as long each time, and never in step."""
    spread = random.uniform(0.5, 1.5)  # nosec B311 # a pause, no secret
    return Pause(min(_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S) * spread)


def under(lease: Lease | None) -> dict[str, str]:
    """Return the header by which the service refuses a write of a holder that another one followed."""
    return {} if lease is None else {"If-Lease": f"{lease.generation} {quote(lease.owner, safe='')}"}


def may_follow(reply: Reply) -> bool:
    """Tell whether a request may still be carried out after this reply."""
    return reply.sent if isinstance(reply, Failure) else reply.status in _FROM_THE_WAY


def is_refusal(reply: Reply) -> bool:
    """Tell whether a reply proves that the request changed nothing."""
    return not reply.sent if isinstance(reply, Failure) else 300 <= reply.status < 500 and reply.status != 408


def what_came(reply: Reply) -> tuple[str, OSError | None]:
    """Return a reply in words that hold no secret, and the error of the system behind it."""
    if isinstance(reply, Answer):
        return f"the service answered {reply.status}", None
    cause: BaseException | None = reply.cause
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return f"{type(reply.cause).__name__}, {cause.strerror}", cause
        cause = cause.__cause__ or cause.__context__
    return f"no whole answer came ({type(reply.cause).__name__})", None


def fail_read(url: str, reply: Reply) -> NoReturn:
    """Raise StoreReadError for a reply that is none."""
    came, cause = what_came(reply)
    advice = _advice(reply, "see that the service runs, then read again")
    raise StoreReadError(f"{url} could not be read: {came}; {advice}.", path=url, cause=cause) from _cause_of(reply)


def fail_write(url: str, reply: Reply, *, unknown: bool = False) -> NoReturn:
    """Raise StoreWriteError; with `unknown` OutcomeUnknownError, because the change may be in place or come yet."""
    came, cause = what_came(reply)
    if unknown:
        raise OutcomeUnknownError(
            f"Whether {url} was changed is not known: {came}. Read it, or write again with the same message_id, which "
            f"is stored once.", path=url, cause=cause,
        ) from _cause_of(reply)
    advice = _advice(reply, "see that the service runs, then write again")
    message = f"{url} was not changed: {came}; {advice}."
    raise StoreWriteError(message, path=url, cause=cause) from _cause_of(reply)


def not_offered(url: str, operation: str, reply: Answer) -> UnsupportedOperationError:
    """Return the error of a service that has no such request."""
    return UnsupportedOperationError(
        f"The service at {url} has no {operation} (it answered {reply.status}): use another service or engine.",
        operation=operation,
    )


def _advice(reply: Reply, otherwise: str) -> str:
    return _ADVICE.get(reply.status, otherwise) if isinstance(reply, Answer) else otherwise


def _cause_of(reply: Reply) -> Exception | None:
    return reply.cause if isinstance(reply, Failure) else None


def httpx_module() -> Any:
    """Return httpx, which takes 60 ms to import. Raises MissingExtraError where it is not installed."""
    try:
        import httpx
    except ImportError as error:
        if error.name != "httpx":
            raise
        message = "Sessions on an HTTP service need httpx: pip install 'praison_store[http]'."
        raise MissingExtraError(message, extra="http") from error
    return httpx


def failure_of(error: Exception) -> Failure:
    """Return the failure an error of httpx stands for."""
    httpx = httpx_module()
    never_left = (
        httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol,
        httpx.LocalProtocolError, httpx.InvalidURL, httpx.ProxyError,
    )
    return Failure(not isinstance(error, never_left), error)


def batches(terms: Iterable[str]) -> Iterator[list[str]]:
    """Yield search terms, as many at once as one request takes; of long ones the head, which finds no less."""
    batch: list[str] = []
    size_bytes = 0
    for term in dict.fromkeys(term[:_MOST_TERM_LETTERS] for term in terms):
        length = len(urlencode([("search", term)], errors="replace"))
        if batch and size_bytes + length > MOST_QUERY_BYTES:
            yield batch
            batch, size_bytes = [], 0
        batch.append(term)
        size_bytes += length
    if batch:
        yield batch
