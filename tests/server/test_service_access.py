"""Whose session it is: tokens, what each user reaches, and that nothing of anybody else shows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from praison_store import InvalidArgumentError
from praison_store.server import Config, access

Serve = Callable[..., httpx.Client]
Tokens = tuple[str, dict[str, dict[str, str]]]

MESSAGE = {"role": "user", "content": "x"}
# Every route that names a session or a user; {} is the id.
OF_A_SESSION: list[tuple[str, str, Any]] = [
    ("GET", "/sessions/{}", None), ("DELETE", "/sessions/{}", None), ("GET", "/sessions/{}/messages", None),
    ("POST", "/sessions/{}/messages", MESSAGE), ("POST", "/sessions/{}/fork", {}), ("GET", "/sessions/{}/export", None),
    ("GET", "/sessions/{}?namespace=alice", None), ("GET", "/sessions/{}/messages?namespace=alice", None),
]


def test_without_a_token_nothing_but_health_is_answered(serve: Serve, tokens: Tokens) -> None:
    """Goal: 401, and the same for a wrong token. Method: each route with none, with nonsense, with another's end."""
    client = serve(token_file=tokens[0])
    good = tokens[1]["alice"]["Authorization"]
    for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": good[:-1]}, {"Authorization": good[7:]},
                   {"Authorization": good.replace("Bearer", "Basic")}):
        for method, path, body in [*OF_A_SESSION, ("GET", "/sessions", None), ("GET", "/sessions/stats", None),
                                   ("POST", "/query", {"query": "x"}), ("GET", "/metrics", None)]:
            answer = client.request(method, path.format("s"), json=body, headers=header)
            assert (401, "Bearer") == (answer.status_code, answer.headers["WWW-Authenticate"]), path
    assert [200, 200, 200] == [client.get(path).status_code for path in ("/", "/health/live", "/health/ready")]


def test_another_users_session_is_answered_as_one_that_is_not_there(serve: Serve, tokens: Tokens) -> None:
    """Goal: nothing is revealed. Method: each route on alice's session and on none, by bob; byte by byte."""
    client, headers = serve(token_file=tokens[0]), tokens[1]
    hers = client.post("/sessions", json={"metadata": {"secret": 1}}, headers=headers["alice"]).json()["session_id"]
    client.post("/query", json={"query": "a secret", "thread_id": "known"}, headers=headers["alice"]).raise_for_status()
    for session_id in (hers, "known"):
        for method, path, body in OF_A_SESSION:
            seen, none = (client.request(method, path.format(name), json=body, headers=headers["bob"])
                          for name in (session_id, "no-such-session"))
            assert (404, none.content) == (seen.status_code, seen.content), path
    for path in ("/sessions", "/sessions?search=secret", "/sessions?namespace=alice", "/search?q=secret"):
        answer = client.get(path, headers=headers["bob"])
        assert "secret" not in answer.text
        assert answer.status_code in (200, 404)
    assert 404 == client.get("/users/alice/sessions", headers=headers["bob"]).status_code
    for body in ({"user_id": "alice"}, {"user_id": "alice", "query": "x"}):
        path = "/query" if "query" in body else "/sessions"
        assert 404 == client.post(path, json=body, headers=headers["bob"]).status_code
    told = client.get("/sessions/stats", headers=headers["bob"]).json()
    assert (0, 0, 0) == (told["total_sessions"], told["unique_users"], told["total_messages"])
    assert 404 == client.post("/sessions/cleanup", headers=headers["bob"]).status_code
    assert 404 == client.get("/metrics", headers=headers["bob"]).status_code


def test_two_users_may_choose_the_same_id(serve: Serve, tokens: Tokens) -> None:
    """Goal: a name that is taken tells nothing. Method: both query, put and delete the thread `t`."""
    client, headers = serve(token_file=tokens[0]), tokens[1]
    for user in ("alice", "bob"):
        told = client.post("/query", json={"query": f"I am {user}", "thread_id": "t"}, headers=headers[user]).json()
        assert (f"You said: I am {user} (0 earlier)", True) == (
            told["answer"], told["metadata"]["session_info"]["session_created"])
    put = client.put("/sessions/u", json={"messages": []}, headers={**headers["alice"], "If-None-Match": "*"})
    assert 201 == put.status_code
    put = client.put("/sessions/u", json={"messages": []}, headers={**headers["bob"], "If-None-Match": "*"})
    assert 201 == put.status_code
    assert 200 == client.delete("/sessions/t", headers=headers["bob"]).status_code
    mine = client.get("/sessions/t", headers=headers["alice"]).json()
    assert ("I am alice", "alice") == (mine["messages"][0]["content"], mine["user_id"])
    assert 404 == client.put("/sessions/v", json={"messages": [], "user_id": "bob"},
                             headers=headers["alice"]).status_code


def test_an_admin_sees_continues_and_deletes_everybodys(serve: Serve, tokens: Tokens) -> None:
    """Goal: admin sees all. Method: sessions of two users by their ids, in lists, in numbers."""
    client, headers = serve(token_file=tokens[0]), tokens[1]
    ids = [client.post("/sessions", json={}, headers=headers[user]).json()["session_id"] for user in ("alice", "bob")]
    assert set(ids) == {row["session_id"] for row in client.get("/sessions", headers=headers["admin"]).json()["sessions"]}
    assert ["alice", "bob"] == [client.get(f"/sessions/{one}", headers=headers["admin"]).json()["user_id"] for one in ids]
    assert 1 == client.get("/users/alice/sessions", headers=headers["admin"]).json()["total_count"]
    for_alice = client.post("/sessions", json={"user_id": "alice"}, headers=headers["admin"]).json()["session_id"]
    assert 200 == client.get(f"/sessions/{for_alice}", headers=headers["alice"]).status_code
    assert 200 == client.delete(f"/sessions/{ids[1]}", headers=headers["admin"]).status_code
    assert 404 == client.get(f"/sessions/{ids[1]}", headers=headers["bob"]).status_code
    assert 200 == client.get("/metrics", headers=headers["admin"]).status_code


def test_a_limit_of_one_user_leaves_everybody_elses_alone(serve: Serve, tokens: Tokens) -> None:
    """Goal: only one's own are evicted. Method: an admin begins sessions of token users, of others and of nobody."""
    client, headers = serve(token_file=tokens[0], max_sessions_per_user=1), tokens[1]
    for user in ("alice", "bob", "stranger", None, None, "alice", "stranger"):
        client.post("/sessions", json={"user_id": user}, headers=headers["admin"]).raise_for_status()
    rows = client.get("/sessions", headers=headers["admin"]).json()["sessions"]
    assert ["alice", "bob", "stranger", None, None] == sorted(
        (row["user_id"] for row in rows), key=lambda user: user or "z")


def test_a_token_taken_out_of_the_file_ends_at_once(serve: Serve, tokens: Tokens) -> None:
    """Goal: revocation needs no restart; a bad line or a missing file locks nobody else out. Method: rewrite it."""
    client, headers = serve(token_file=tokens[0]), tokens[1]
    file = Path(tokens[0])
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("# revoked\n" + "".join(lines[1:]))
    assert [401, 200] == [client.get("/sessions", headers=headers[user]).status_code for user in ("alice", "bob")]
    file.write_text("nonsense\n" + "".join(lines[1:]))
    assert [401, 200] == [client.get("/sessions", headers=headers[user]).status_code for user in ("alice", "bob")]
    file.unlink()
    assert 200 == client.get("/sessions", headers=headers["bob"]).status_code


def test_a_service_for_other_machines_needs_tokens(tokens: Tokens, tmp_path: Path) -> None:
    """Goal: no open service by mistake. Method: addresses, with and without a file; wrong lines and names."""
    with pytest.raises(InvalidArgumentError, match="tokens"):
        Config(host="0.0.0.0")
    assert Config(host="0.0.0.0", token_file=tokens[0]).host
    for host in ("127.0.0.1", "localhost", "::1"):
        Config(host=host)
    (tmp_path / "bad").write_text("# fine\nalice sha256:zz\n")
    with pytest.raises(InvalidArgumentError, match="line 2"):
        access.Tokens(str(tmp_path / "bad"))
    for user in ("", "a b", "#a"):
        with pytest.raises(InvalidArgumentError):
            access.line_of(user, "t")


@pytest.mark.long
def test_how_long_an_answer_takes_tells_nothing_either(serve: Serve, tokens: Tokens) -> None:
    """Goal: time tells bob alice's sessions from none as little as bytes do. Method: each route, medians of 400 pairs taken in turn."""
    client, headers = serve(token_file=tokens[0], rate_per_second=0), tokens[1]
    many = [{"role": "user", "content": "x" * 500}] * 2000
    client.put("/sessions/known", json={"messages": many}, headers=headers["alice"]).raise_for_status()
    client.put("/sessions/known/lease", json={"owner": "a", "ttl_s": 600}, headers=headers["alice"]).raise_for_status()
    others: list[tuple[str, str, Any]] = [("GET", "/sessions/{}?namespace=", None), ("PUT", "/sessions/{}/lease", {"owner": "a", "ttl_s": 60, "generation": 1})]
    for method, path, body in [*OF_A_SESSION, *others]:
        times: dict[str, list[float]] = {"known": [], "other": []}
        for turn in range(800):
            name = "known" if turn % 2 else "other"
            begun_s = time.perf_counter()
            answer = client.request(method, path.format(name), json=body, headers=headers["bob"])
            times[name].append(time.perf_counter() - begun_s)
            assert 400 <= answer.status_code < 500, (path, answer.text)
        known, other = (statistics.median(found) * 1e6 for found in times.values())
        print(f"{method} {path}: another's {known:.0f} us, none {other:.0f} us, ratio {known / other:.3f}")
