"""JSON in and out by the package's own codec, and how an error is told: never with a path, a token or a trace."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from ..codec import values
from ..errors import InvalidMessageError, SessionStoreError
from .status import PreconditionError, status_of

_ERRORS = {
    400: "The request cannot be meant", 401: "No valid token", 403: "A foreign Host or Origin",
    404: "Not found, or not yours", 408: "The request came too slowly", 409: "Another was first",
    412: "Another version", 413: "The body is too large", 422: "A value cannot be meant",
    423: "Another holds the session", 429: "Too many requests", 500: "The service failed",
    501: "This store cannot do that", 502: "The agent failed", 503: "The store is not available",
}
# What `limits` answers before a route is reached, and what any store may fail with.
_ANYWHERE = (400, 401, 403, 408, 413, 422, 429, 500, 501, 503)


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return how a route's errors are documented: those of all routes, and its own."""
    schema = {"type": "object", "properties": {"detail": {}}, "required": ["detail"]}
    return {status: {"description": _ERRORS[status], "content": {"application/json": {"schema": schema}}}
            for status in (*_ANYWHERE, *statuses)}


class Answer(Response):
    """A JSON answer; `extended` where a session holds what only the standard library's JSON tells exactly."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, *, extended: bool = False, **named: Any) -> None:
        self._extended = extended
        super().__init__(content, status_code, **named)

    def render(self, content: Any) -> bytes:
        """Return the bytes of the content."""
        return values.dumps_extended(content) if self._extended else values.dumps(content, "answer")


class JsonRoute(APIRoute):
    """A route whose request's JSON is read by the codec: what is none is a 400, and NaN is not read as null."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, given requests that read JSON by the codec."""
        original = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await original(_JsonRequest(request.scope, request.receive))

        return handle


class _JsonRequest(Request):
    async def json(self) -> Any:
        """Return the body's value. Raises json.JSONDecodeError where it is none."""
        return value_of(await self.body())


def value_of(body: bytes) -> Any:
    """Return the value of a body. Raises json.JSONDecodeError where it is none."""
    try:
        return values.loads_any(body)[0]
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise json.JSONDecodeError("the body is no JSON", "", 0) from error


async def tell_store_error(_request: Request, error: Exception) -> Response:
    """Answer an error of the store by its row in `status`."""
    assert isinstance(error, (SessionStoreError, PreconditionError))  # nosec B101 # registered for these
    status, text = status_of(error)
    return Answer({"detail": _written(text)}, status)


async def tell_invalid(_request: Request, error: Exception) -> Response:
    """Answer a request whose form is wrong: 400 where its body is no JSON, else 422 with the places."""
    assert isinstance(error, RequestValidationError)  # nosec B101 # registered for it
    found = error.errors()
    if any(one.get("type") == "json_invalid" for one in found):
        return Answer({"detail": "The body is not JSON."}, 400)
    places = [{"loc": [part if isinstance(part, int) else _written(str(part)) for part in one.get("loc", ())],
               "msg": _written(str(one.get("msg", ""))), "type": str(one.get("type", ""))} for one in found]
    return Answer({"detail": places}, 422)


async def tell_http_error(_request: Request, error: Exception) -> Response:
    """Answer an unknown path or method as every other error is answered."""
    status = getattr(error, "status_code", 500)
    return Answer({"detail": _written(str(getattr(error, "detail", "")))}, status,
                  headers=getattr(error, "headers", None))


def _written(text: str) -> str:
    # A name in a body may hold a lone surrogate, which no answer can.
    return text.encode("utf-8", "replace").decode()


def answer(content: Any, *, extended: bool = False, status: int = 200, **named: Any) -> Answer:
    """Return an answer; what orjson cannot tell exactly is told by the standard library."""
    try:
        return Answer(content, status, extended=extended, **named)
    except InvalidMessageError:
        return Answer(content, status, extended=True, **named)
