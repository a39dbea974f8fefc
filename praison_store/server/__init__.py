"""
The HTTP service: sessions, queries and statistics for any program that speaks HTTP and JSON.

    praison-store serve --port 8080            or            app = create_app(Config(store="sqlite:///sessions.db"))

Contract: what was answered with 2xx is stored as its engine promises. A session past its time is unknown to every
request from that moment on. A token's user meets the sessions of one namespace, their own, so that nothing a request
tells or how long it takes depends on anybody else's. No answer holds a path, a token or a trace.

    limits     what every request passes before it is looked at     access     whose token it is
    service    what all routes share: keys, live sessions           expiry     what ends when: time and number
    documents  whole sessions and leases, as `HttpEngine` asks      sessions   parts of sessions, and what is known
    queries    agents that answer                                   running    workers, sockets, the end

Considered and not taken: owners as a field that each route compares. A foreign session would then be read to be
refused, which takes longer than an unknown one, and a name that is taken would tell that it is.
"""

from __future__ import annotations

from typing import Any

from ..errors import MissingExtraError
from .config import Config

__all__ = ["Config", "create_app"]
_PACKAGES = ("fastapi", "starlette", "uvicorn", "pydantic", "prometheus_client", "yaml")


def create_app(config: Config | None = None) -> Any:
    """
    Return the service as an ASGI application, for a server of one's own.

    Raises:
        MissingExtraError: A package of the extra `server` is missing. InvalidArgumentError: A setting cannot be meant.
    """
    try:
        from .app import application
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise MissingExtraError(
            f"The service needs {error.name}: pip install 'praison_store[server]'.", extra="server") from error
    return application(config or Config())
