"""Requests that meet: ended sessions begun anew by several at once, limits, owners, agents that think, streams cut."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from test_service_expiry import write_old

LONGEST_S = 60.0
Serve = Callable[..., httpx.Client]
OLD = "2020-01-01T00:00:00.000000+00:00"
MESSAGE = {"role": "user", "content": "x"}


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Do something in several threads at the same moment; return what each did."""
    together = threading.Barrier(count)

    def one(number: int) -> Any:
        together.wait(LONGEST_S)
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def test_one_of_many_imports_begins_an_ended_id_anew(serve: Serve, tmp_path: Path) -> None:
    """Goal: one 201, and nothing acknowledged behind it is lost. Method: 8 imports at once, each with an append behind it."""
    place = str(tmp_path / "place")
    write_old(place, *(f"s{number}" for number in range(6)))
    client = serve(store=place, timeout_hours=1.0, cleanup_interval_minutes=0.0, rate_per_second=0)
    for session in range(6):
        name = f"s{session}"

        def bring(number: int, name: str = name) -> tuple[int, int]:
            brought = client.post("/sessions/import", json={"session_id": name, "messages": [{**MESSAGE, "message_id": f"i{number}"}]})
            added = 0
            if brought.status_code == 201:
                added = client.post(f"/sessions/{name}/messages", json={**MESSAGE, "message_id": f"a{number}"}).status_code
            return brought.status_code, added

        told = at_once(8, bring)
        assert [201, *[409] * 7] == sorted(status for status, _ in told)
        winner = next(number for number, (status, _) in enumerate(told) if status == 201)
        stored = [one["message_id"] for one in client.get(f"/sessions/{name}").json()["messages"]]
        assert [f"i{winner}", f"a{winner}"] == stored


def test_a_refused_write_leaves_an_ended_session_ended(serve: Serve, tmp_path: Path) -> None:
    """Goal: nothing is revived by what failed, and the id is free. Method: 412 on it, `If-Match: *`, then a fork onto it."""
    place = str(tmp_path / "place")
    write_old(place, "ended")
    client = serve(store=place, timeout_hours=1.0, cleanup_interval_minutes=0.0)
    for match in ('"x"', "*"):
        assert 412 == client.put("/sessions/ended", json={"messages": []}, headers={"If-Match": match}).status_code
    assert 404 == client.get("/sessions/ended").status_code
    assert 0 == client.get("/sessions").json()["total"]
    client.put("/sessions/other", json={"messages": [MESSAGE]}).raise_for_status()
    assert 201 == client.post("/sessions/other/fork", json={"new_id": "ended"}).status_code
    assert ["x"] == [one["content"] for one in client.get("/sessions/ended").json()["messages"]]


def test_one_of_many_begins_a_session_without_messages(client: httpx.Client) -> None:
    """Goal: `If-None-Match: *` protects an empty session too. Method: 12 puts at once; then tags instead of the star."""
    told = at_once(12, lambda _: client.put("/sessions/e", json={}, headers={"If-None-Match": "*"}))
    assert [201, *[412] * 11] == sorted(answer.status_code for answer in told)
    tag = client.get("/sessions/e").headers["ETag"]
    assert 412 == client.put("/sessions/e", json={}, headers={"If-None-Match": f'"x", {tag}'}).status_code
    assert 200 == client.put("/sessions/e", json={}, headers={"If-Match": f'"x", {tag}'}).status_code


def test_a_limit_never_removes_what_was_just_written(serve: Serve) -> None:
    """Goal: a 2xx is there. Method: one session each, imports and puts with times long ago, one far ahead in the way."""
    client = serve(max_sessions_per_user=1)
    client.post("/sessions/import", json={"session_id": "far", "user_id": "u", "updated_at": "9999-01-01T00:00:00+00:00", "messages": []})
    for name in ("a", "b"):
        whole = {"session_id": name, "user_id": "u", "updated_at": OLD, "messages": [MESSAGE]}
        client.post("/sessions/import", json=whole).raise_for_status()
        assert 200 == client.get(f"/sessions/{name}").status_code
        client.put(f"/sessions/put-{name}", json={**whole, "session_id": f"put-{name}"}).raise_for_status()
        assert 200 == client.get(f"/sessions/put-{name}").status_code
    begun = client.post("/sessions", json={"user_id": "u"}).json()["session_id"]
    assert [begun] == [row["session_id"] for row in client.get("/users/u/sessions").json()["sessions"]]


def test_a_session_an_agent_answers_in_is_not_taken_away(serve: Serve) -> None:
    """Goal: no answer without its session and owner. Method: a limit of one, and 8 queries of one user at once."""
    client = serve(store="memory://", max_sessions_per_user=1, rate_per_second=0)
    told = at_once(8, lambda number: client.post("/query", json={"query": f"q{number}", "user_id": "u"}))
    assert {200} == {answer.status_code for answer in told}
    rows = client.get("/sessions").json()["sessions"]
    assert {"u"} == {row["user_id"] for row in rows}
    client.post("/sessions", json={"user_id": "u"}).raise_for_status()
    assert 1 == client.get("/users/u/sessions").json()["total_count"]


def test_two_users_who_name_one_new_thread_share_nothing(client: httpx.Client) -> None:
    """Goal: no session is shared by accident. Method: both begin it at once; one answers, one is 404; several times."""
    users = ("ann", "bo")
    for turn in range(10):
        told = at_once(2, lambda number, turn=turn: client.post(
            "/query", json={"query": "x", "thread_id": f"t{turn}", "user_id": users[number]}))
        assert [200, 404] == sorted(answer.status_code for answer in told)


def test_agents_that_think_keep_the_store_from_nothing(serve: Serve) -> None:
    """Goal: threads of their own. Method: more thinking agents than the loop's executor has threads; a read and an append."""
    thinks, begun = threading.Event(), threading.Semaphore(0)

    def think(_messages: list[Any]) -> str:
        begun.release()
        assert thinks.wait(LONGEST_S)
        return "done"

    client = serve(agents={"think": think}, rate_per_second=0)
    with ThreadPoolExecutor(40) as threads:
        asked = [threads.submit(client.post, "/query", json={"query": "x"}) for _ in range(40)]
        try:
            for _ in asked:
                assert begun.acquire(timeout=LONGEST_S)
            assert 201 == client.put("/sessions/s", json={"messages": [MESSAGE]}).status_code
            assert 200 == client.get("/sessions/s").status_code
        finally:
            thinks.set()
    assert {200} == {one.result().status_code for one in asked}


def test_whoever_hangs_up_on_a_stream_finds_the_answer(serve: Serve) -> None:
    """Goal: a stream keeps what `POST /query` keeps. Method: hang up behind the first event, while the agent thinks."""
    thinks = threading.Event()

    def think(_messages: list[Any]) -> str:
        assert thinks.wait(LONGEST_S)
        return "done"

    client = serve(agents={"think": think})
    with client.stream("POST", "/query/stream", json={"query": "x", "thread_id": "t"}) as answer:
        assert next(answer.iter_lines()) == "event: session"
    thinks.set()
    for _ in range(600):
        if len(found := client.get("/sessions/t").json()["messages"]) == 2:
            break
        threading.Event().wait(0.1)
    assert ["x", "done"] == [one["content"] for one in found]


def test_a_user_cannot_keep_all_others_waiting(serve: Serve, tokens: tuple[str, dict[str, dict[str, str]]]) -> None:
    """Goal: one user has half of the slots at most. Method: bob's queries fill what he may have; alice's is answered."""
    thinks, begun = threading.Event(), threading.Semaphore(0)

    def think(messages: list[Any]) -> str:
        if messages[-1]["content"] == "wait":
            begun.release()
            assert thinks.wait(LONGEST_S)
        return "done"

    client, headers = serve(token_file=tokens[0], max_concurrency=2, agents={"think": think}, rate_per_second=0), tokens[1]
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(client.post, "/query", json={"query": "wait"}, headers=headers["bob"]) for _ in range(8)]
        try:
            for _ in range(4):
                assert begun.acquire(timeout=LONGEST_S)
            assert 429 == client.post("/query", json={"query": "x"}, headers=headers["bob"]).status_code
            assert 200 == client.post("/query", json={"query": "x"}, headers=headers["alice"]).status_code
        finally:
            thinks.set()
    assert [200] * 4 + [429] * 4 == sorted(one.result().status_code for one in asked)


@pytest.mark.parametrize("pattern", ["a" * 201, "%" * 201])
def test_a_pattern_that_would_hold_up_everybody_is_refused(client: httpx.Client, pattern: str) -> None:
    """Goal: 400 or 422 at once. Method: patterns longer than anybody's, alone and within a filter."""
    nested = f'{{"type": "not", "filter": {{"type": "comparison", "field": "user_id", "op": "like", "value": "{pattern}"}}}}'
    for query in ({"metadata.t__like": f'"{pattern}"'}, {"filter": nested}):
        assert client.get("/sessions", params=query).status_code in (400, 422)


def test_messages_under_a_lease_that_is_anothers_are_refused(client: httpx.Client) -> None:
    """Goal: `If-Lease` counts on every write. Method: a claim, another's claim behind its end, both append."""
    client.put("/sessions/s", json={"messages": []}).raise_for_status()
    first = client.put("/sessions/s/lease", json={"owner": "a", "ttl_s": 60}).json()
    client.delete("/sessions/s/lease", params={"owner": "a", "generation": first["generation"]}).raise_for_status()
    second = client.put("/sessions/s/lease", json={"owner": "b", "ttl_s": 60}).json()
    statuses = [client.post("/sessions/s/messages", json=MESSAGE, headers={"If-Lease": f"{lease['generation']} {lease['owner']}"}).status_code
                for lease in (first, second)]
    assert [423, 201] == statuses
    assert 1 == len(client.get("/sessions/s").json()["messages"])
