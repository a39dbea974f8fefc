"""The OpenAPI document tells the truth: schemathesis makes requests from it, and no answer surprises."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

Serve = Callable[..., httpx.Client]


def test_every_route_that_is_promised_is_documented(client: httpx.Client) -> None:
    """Goal: a user finds it all at /docs. Method: paths and methods of the document, and the page itself."""
    paths = client.get("/openapi.json").json()["paths"]
    found = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    one = "/sessions/{session_id}"
    assert set() == {
        ("POST", "/query"), ("POST", "/query/stream"), ("GET", "/agents"), ("POST", "/sessions"), ("GET", "/sessions"),
        ("GET", one), ("PUT", one), ("DELETE", one), ("GET", "/users/{user_id}/sessions"), ("GET", "/sessions/stats"),
        ("POST", "/sessions/cleanup"), ("GET", "/"), ("GET", f"{one}/messages"), ("POST", f"{one}/messages"),
        ("GET", "/search"), ("POST", f"{one}/fork"), ("GET", f"{one}/export"), ("POST", "/sessions/import"),
        ("PUT", f"{one}/lease"), ("DELETE", f"{one}/lease"), ("GET", "/metrics"), ("GET", "/health/live"),
    } - found
    assert 200 == client.get("/docs").status_code


def hammered(client: httpx.Client, examples: int, seconds_a_route: float) -> int:
    """Send requests made from the document; return how many. Raises where an answer is none it promises."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    asked_for = [not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
                 checks.response_schema_conformance, checks.response_headers_conformance]
    document = schemathesis.openapi.from_url(f"{client.service.url}/openapi.json")  # type: ignore[attr-defined]
    sent, stop_s = 0, [0.0]
    for found in document.get_all_operations():
        operation = found.ok()
        stop_s[0] = time.monotonic() + seconds_a_route

        @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal sent
            if time.monotonic() < stop_s[0]:
                sent += 1
                case.call_and_validate(checks=asked_for)

        ask()
    return sent


def test_requests_made_from_the_document_are_answered_as_it_says(serve: Serve) -> None:
    """Goal: no 500, no undocumented status. Method: schemathesis, a few requests of each route."""
    assert 100 < hammered(serve(store="memory://", rate_per_second=0), 8, 3)


@pytest.mark.long
def test_many_requests_made_from_the_document_are_answered_as_it_says(serve: Serve) -> None:
    """Goal: as above. Method: schemathesis, 150 requests of each route, on files."""
    print(hammered(serve(rate_per_second=0), 150, 60), "requests")
