"""Give tests of the service a running one, stopped when the test ends, and clients that speak to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from service_place import RunningService

from praison_store.server import Config


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., httpx.Client]]:
    """Return what starts a service with settings and gives a client of it; `client.service` is the service."""
    begun: list[Any] = []

    def start(**settings: Any) -> httpx.Client:
        service = RunningService(Config(**{"store": str(tmp_path / "served"), **settings}))
        begun.append(service)
        client = httpx.Client(base_url=service.url, timeout=60)
        begun.append(client)
        client.service = service  # type: ignore[attr-defined]  # so that a test needs one name for both
        return client

    yield start
    for one in reversed(begun):
        one.close() if isinstance(one, httpx.Client) else one.stop()


@pytest.fixture
def client(serve: Callable[..., httpx.Client]) -> httpx.Client:
    """Return a client of a service with the default settings."""
    return serve()


@pytest.fixture
def tokens(tmp_path: Path) -> tuple[str, dict[str, dict[str, str]]]:
    """Return a token file, and the header of each user in it."""
    from praison_store.server import access

    file, headers = tmp_path / "tokens", {}
    for user in ("alice", "bob", "admin"):
        token = access.new_token()
        with file.open("a") as lines:
            lines.write(access.line_of(user, token))
        headers[user] = {"Authorization": f"Bearer {token}"}
    return str(file), headers
