"""What bare servers get wrong: URLs, bodies, half-open requests, foreign pages, and too much of anything."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx
import pytest

from praison_store.server.limits import Buckets
from praison_store.server.running import ClosingProtocol

Serve = Callable[..., httpx.Client]
LONGEST_S = 30.0


def exchanged(client: httpx.Client, raw: bytes, *, until_closed: bool = True) -> bytes:
    """Send bytes; return what comes back until the service closes the connection."""
    port = client.service.port  # type: ignore[attr-defined]
    with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_S) as connection:
        connection.sendall(raw)
        found = b""
        while until_closed or b"\r\n\r\n" not in found:
            part = connection.recv(65536)
            if not part:
                break
            found += part
        return found


def asked(method: str, path: str, headers: str = "", body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n".encode() + body


def status(answer: bytes) -> int:
    """Return the status of an answer's bytes."""
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("segment", ["%ff", "a%c0%afb", "%zz", "%", "%ED%A0%80"])
def test_an_id_that_is_no_utf_8_is_refused(client: httpx.Client, segment: str) -> None:
    """Goal: not all of them one session. Method: bytes no UTF-8 has, in path and query."""
    for method, path in (("GET", f"/sessions/{segment}"), ("DELETE", f"/sessions/{segment}"),
                         ("GET", f"/sessions?namespace={segment}"), ("GET", f"/users/{segment}/sessions")):
        assert 400 == status(exchanged(client, asked(method, path))), path


def test_an_encoded_slash_is_part_of_the_id(client: httpx.Client) -> None:
    """Goal: `a%2Fb` is the session a/b. Method: begin it by a query, read it, and look for others."""
    client.post("/query", json={"query": "x", "thread_id": "a/b"}).raise_for_status()
    assert b'"session_id":"a/b"' in exchanged(client, asked("GET", "/sessions/a%2Fb"))
    assert 404 == status(exchanged(client, asked("GET", "/sessions/a/b")))
    assert b'"a/b"' in exchanged(client, asked("GET", "/sessions/a%2Fb/export"))
    assert ["a/b"] == [row["session_id"] for row in client.get("/sessions").json()["sessions"]]


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"query": ' + b"[" * 5000, b"null,"])
def test_a_body_that_is_no_json_is_a_client_error(client: httpx.Client, body: bytes) -> None:
    """Goal: 400, never 500. Method: broken bodies on every route that takes one."""
    for method, path in (("POST", "/query"), ("POST", "/sessions"), ("PUT", "/sessions/s"), ("POST", "/sessions/import"),
                         ("POST", "/sessions/s/messages"), ("PUT", "/sessions/s/lease"), ("POST", "/query/stream")):
        answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"})
        wanted = (400, 422) if body == b"" else (400,)
        if body == b"" and path == "/sessions":
            assert 200 == answer.status_code  # every field of a new session may be left out
            continue
        assert answer.status_code in wanted, (path, answer.text)
        assert isinstance(answer.json()["detail"], (str, list))


@pytest.mark.parametrize("body", [{}, {"query": 5}, {"query": ""}, {"query": "x", "oops": 1}, [], "x", {"query": "x", "thread_id": ""}])
def test_a_body_of_a_wrong_form_is_422_and_says_where(client: httpx.Client, body: Any) -> None:
    """Goal: the place is named. Method: wrong bodies of a query."""
    answer = client.post("/query", json=body)
    assert 422 == answer.status_code
    assert answer.json()["detail"][0]["loc"]


def test_what_would_not_read_back_equal_is_refused_or_kept_exactly(client: httpx.Client) -> None:
    """Goal: D6 over HTTP. Method: NaN and a long number in metadata, in a message, in a whole session."""
    headers = {"Content-Type": "application/json"}
    for number in ("NaN", "1e999", str(2**70)):
        body = f'{{"metadata": {{"n": {number}}}}}'
        assert 422 == client.post("/sessions", content=body, headers=headers).status_code, number
    whole = f'{{"messages": [{{"role": "user", "content": "x", "metadata": {{"n": {2**70}}}}}]}}'
    assert 201 == client.put("/sessions/s", content=whole, headers=headers).status_code
    assert 2**70 == client.get("/sessions/s").json()["messages"][0]["metadata"]["n"]
    assert str(2**70) in client.get("/sessions/s/messages").text


def test_a_body_over_the_limit_is_refused_before_it_is_read(serve: Serve) -> None:
    """Goal: 413 and no memory spent. Method: 200 MB that are announced, and 200 MB in chunks, sent as far as they go."""
    client = serve(max_body_mb=0.1)
    announced = asked("POST", "/query", f"Content-Length: {200_000_000}\r\n")
    assert 413 == status(exchanged(client, announced))
    sent = 0

    def chunks() -> Any:
        nonlocal sent
        for _ in range(3200):
            sent += 65536
            yield b"x" * 65536

    with suppress(httpx.TransportError):  # it may be cut off while it still sends, before it looks for the answer
        assert 413 == client.post("/query", content=chunks()).status_code
    assert sent < 20_000_000
    assert 413 == client.post("/query", content=b"x" * 100_001).status_code
    assert 200 == client.get("/sessions").status_code
    for length in ("-1", "x", "1" * 30):
        assert status(exchanged(client, asked("POST", "/query", f"Content-Length: {length}\r\n"))) in (400, 413)


def test_a_request_of_two_lengths_is_refused(client: httpx.Client) -> None:
    """Goal: nothing is smuggled behind a proxy. Method: a length and chunks at once; methods nobody knows, in the counters."""
    both = asked("POST", "/query", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")
    assert 400 == status(exchanged(client, both))
    for number in range(5):
        exchanged(client, asked(f"QWERTY{chr(65 + number)}", "/x", ""))
    assert "QWERTY" not in client.get("/metrics").text


@pytest.mark.parametrize("patience_s", [1.0, pytest.param(10.0, marks=pytest.mark.long)])
def test_half_open_requests_are_closed(serve: Serve, monkeypatch: pytest.MonkeyPatch, patience_s: float) -> None:
    """Goal: 200 of 200. Method: half a line, half a header, half a body, nothing at all; wait for the end of each, and tell it."""
    assert ClosingProtocol.half_open_s < 10
    if patience_s < 10:
        monkeypatch.setattr(ClosingProtocol, "half_open_s", patience_s)
    client = serve(request_timeout_seconds=patience_s)
    port = client.service.port  # type: ignore[attr-defined]
    heads = [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-", asked("POST", "/query", "Content-Length: 9\r\n", b"{")]

    def held(number: int) -> float:
        with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_S) as connection:
            connection.sendall(heads[number % len(heads)])
            begun_s = time.monotonic()
            while connection.recv(4096):
                pass
            return time.monotonic() - begun_s

    with ThreadPoolExecutor(200) as threads:
        took_s = list(threads.map(held, range(200)))
    print(f"closed after {min(took_s):.1f} to {max(took_s):.1f} s")
    assert 200 == len(took_s)


def test_a_connection_that_is_used_stays(client: httpx.Client) -> None:
    """Goal: the guard closes no good connection. Method: a request, a pause, a request in two parts, on one socket."""
    port = client.service.port  # type: ignore[attr-defined]
    whole = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=LONGEST_S) as connection:
        for parts in ([whole], [whole[:10], whole[10:]], [whole]):
            for part in parts:
                connection.sendall(part)
                threading.Event().wait(0.05)
            found = b""
            while b'"ok"' not in found:
                found += connection.recv(4096)
            assert found.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("headers", [
    {"Host": "evil.example"}, {"Host": "evil.example:8080"}, {"Host": ""}, {"Origin": "http://evil.example"},
    {"Origin": "null"}, {"Origin": "https://127.0.0.1.evil.example"}])
def test_a_foreign_host_or_origin_is_refused(client: httpx.Client, headers: dict[str, str]) -> None:
    """Goal: no page of another site gets in. Method: bent names and foreign origins; then the service's own."""
    assert 403 == client.get("/sessions", headers=headers).status_code
    assert "access-control-allow-origin" not in client.get("/sessions", headers=headers).headers
    own = f"127.0.0.1:{client.service.port}"  # type: ignore[attr-defined]
    assert 200 == client.get("/sessions", headers={"Origin": f"http://{own}"}).status_code


def test_pages_of_a_named_origin_and_host_get_in(serve: Serve) -> None:
    """Goal: CORS where it is configured. Method: a preflight and a request of that origin, under that name."""
    client = serve(cors_origins=("https://app.example",), hosts=("store.example",))
    preflight = client.options("/sessions", headers={
        "Origin": "https://app.example", "Access-Control-Request-Method": "POST"})
    assert (200, "https://app.example") == (preflight.status_code, preflight.headers["access-control-allow-origin"])
    answer = client.get("/sessions", headers={"Origin": "https://app.example", "Host": "store.example"})
    assert (200, "https://app.example") == (answer.status_code, answer.headers["access-control-allow-origin"])
    assert 403 == client.get("/sessions", headers={"Origin": "https://other.example"}).status_code


def test_who_asks_too_fast_is_told_to_wait(serve: Serve) -> None:
    """Goal: a clear 429. Method: a rate of five a second; health is answered all the same."""
    client = serve(rate_per_second=5.0)
    answers = [client.get("/sessions") for _ in range(30)]
    refused = [one for one in answers if one.status_code == 429]
    assert refused
    assert {"1"} == {one.headers["Retry-After"] for one in refused}
    assert 200 == client.get("/").status_code


def test_a_bucket_fills_again_and_clients_have_one_each() -> None:
    """Goal: the rate is the rate. Method: a clock of our own."""
    buckets = Buckets(2.0)
    assert [0, 0, 0, 0] == [buckets.take("a", 0.0) for _ in range(4)]
    assert 0.5 == buckets.take("a", 0.0)
    assert 0 == buckets.take("b", 0.0)
    assert 0 == buckets.take("a", 0.5)
    assert 0 < buckets.take("a", 0.5)
    assert 0 == Buckets(0.0).take("a", 0.0)


def test_many_at_once_take_turns_and_none_is_lost(serve: Serve) -> None:
    """Goal: a bound on what runs, not on who may come. Method: two turns, 100 requests of 50 threads."""
    client = serve(max_concurrency=2)

    def begin(_: int) -> int:
        return httpx.post(f"{client.service.url}/sessions", json={}, timeout=60).status_code  # type: ignore[attr-defined]

    with ThreadPoolExecutor(50) as threads:
        assert {200} == set(threads.map(begin, range(100)))
    assert 100 == client.get("/sessions").json()["total"]


def test_pages_are_bounded(serve: Serve) -> None:
    """Goal: no answer grows with the store. Method: more sessions than a page has."""
    client = serve(max_page=3)
    for _ in range(5):
        client.post("/sessions", json={"user_id": "u"}).raise_for_status()
    page = client.get("/sessions", params={"limit": 100}).json()
    assert (3, 5) == (len(page["sessions"]), page["total"])
    for query in ("limit=-1", "offset=-1", "limit=x"):
        assert 422 == client.get(f"/sessions?{query}").status_code
    assert 400 == client.get("/sessions?user_id__eq=unquoted").status_code
    assert 5 == client.get("/sessions", params={"user_id__eq": '"u"', "limit": 0}).json()["total"]


def test_the_access_log_is_structured_and_tells_no_secret(
    serve: Serve, caplog: pytest.LogCaptureFixture, tokens: tuple[str, dict[str, dict[str, str]]], tmp_path: Any
) -> None:
    """Goal: one JSON line each, without token, id, path or trace. Method: good requests, and an agent's code that fails."""
    caplog.set_level(logging.INFO)
    client = serve(token_file=tokens[0])
    header = tokens[1]["alice"]
    client.post("/query", json={"query": "secret words", "thread_id": "secret-id"}, headers=header).raise_for_status()
    client.get("/sessions/secret-id", headers=header).raise_for_status()
    app = client.service.app  # type: ignore[attr-defined]
    app.state.service.engine = None
    broken = client.get("/sessions/secret-id", headers=header)
    assert (500, {"detail": "The service failed."}) == (broken.status_code, broken.json())
    client.service.stop()  # type: ignore[attr-defined]  # a line is written when its answer has gone
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "praison_store.access"]
    assert ["/query", "/sessions/{session_id}", "/sessions/{session_id}"] == [line["route"] for line in lines]
    assert [200, 200, 500] == [line["status"] for line in lines]
    assert {"alice"} == {line["user"] for line in lines}
    text = "\n".join(record.getMessage() for record in caplog.records if record.name != "httpx")
    for secret in ("secret", header["Authorization"][7:], str(tmp_path), "Traceback", ".py"):
        assert secret not in text, secret
