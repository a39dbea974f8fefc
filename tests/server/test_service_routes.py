"""What each route answers: 004's fields, whole sessions, messages, forks, exports, imports, searches and queries."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from praison_store import DefaultSessionStore
from praison_store.aio import AgentConfig

Serve = Callable[..., httpx.Client]


def begin(client: httpx.Client, **body: Any) -> str:
    """Begin a session; return its id."""
    return str(client.post("/sessions", json=body).raise_for_status().json()["session_id"])


def test_a_session_is_begun_described_listed_and_deleted(client: httpx.Client) -> None:
    """Goal: 004's routes and fields. Method: each in the order a client uses them."""
    session_id = begin(client, user_id="john", metadata={"source": "webapp"})
    told = client.get(f"/sessions/{session_id}").json()
    assert (session_id, "john", {}) == (told["session_id"], told["user_id"], told["context"])
    assert {"source": "webapp", "query_count": 0, "created_from": "api"} == told["metadata"]
    assert told["created_at"] <= told["last_accessed"]
    listed = client.get("/users/john/sessions").json()
    assert ([session_id], 1) == ([row["session_id"] for row in listed["sessions"]], listed["total_count"])
    assert {"sessions": [], "total_count": 0} == client.get("/users/mary/sessions").json()
    assert {"message": "Session deleted successfully"} == client.delete(f"/sessions/{session_id}").json()
    for answer in (client.get(f"/sessions/{session_id}"), client.delete(f"/sessions/{session_id}")):
        assert (404, {"detail": "Session not found"}) == (answer.status_code, answer.json())


def test_a_query_begins_continues_and_counts(client: httpx.Client) -> None:
    """Goal: no thread_id is a new session, an unknown one is that session, a known one goes on. Method: the echo."""
    first = client.post("/query", json={"query": "Hello", "user_id": "john"}).json()
    thread_id = first["metadata"]["thread_id"]
    assert ("You said: Hello (0 earlier)", []) == (first["answer"], first["logs"])
    assert {"user_id": "john", "session_created": True, "session_queries": 1} == first["metadata"]["session_info"]
    second = client.post("/query", json={"query": "Again", "thread_id": thread_id, "user_id": "john"}).json()
    assert "You said: Again (1 earlier)" == second["answer"], "the agent has the earlier turn"
    assert {"user_id": "john", "session_created": False, "session_queries": 2} == second["metadata"]["session_info"]
    assert ("echo", "echo", 5) == tuple(
        second["metadata"][name] for name in ("agent_type", "agent_name", "query_length"))
    named = client.post("/query", json={"query": "x", "thread_id": "chosen/by me"}).json()
    assert "chosen/by me" == named["metadata"]["thread_id"]
    told = client.get(f"/sessions/{thread_id}").json()
    assert (2, "Again", "echo", "query") == tuple(
        told["metadata"][name] for name in ("query_count", "last_query", "last_agent_type", "created_from"))
    assert ("Again", "You said: Again (1 earlier)", "echo", 0, None) == tuple(
        told["context"][name] for name in ("last_query", "last_response", "last_agent_used", "error_count", "last_error"))
    assert ["user", "assistant"] * 2 == [message["role"] for message in told["messages"]]


def test_a_session_of_another_user_is_not_continued(client: httpx.Client) -> None:
    """Goal: no session is shared by accident. Method: another user_id on a known thread."""
    thread_id = begin(client, user_id="john")
    assert 404 == client.post("/query", json={"query": "x", "thread_id": thread_id, "user_id": "mary"}).status_code
    assert [] == client.get(f"/sessions/{thread_id}").json()["messages"]


def test_an_agent_that_fails_is_counted_and_what_was_asked_is_kept(serve: Serve) -> None:
    """Goal: 502 without a word of the failure. Method: an agent whose error names a path and a key."""
    def failing(messages: list[Any]) -> str:
        raise RuntimeError("no key sk-12345 in /etc/secret")

    client = serve(agents={"bad": failing})
    answer = client.post("/query", json={"query": "x", "thread_id": "t"})
    assert (502, {"detail": "The agent did not answer. What was asked is kept."}) == (
        answer.status_code, answer.json())
    told = client.get("/sessions/t")
    assert (1, "RuntimeError") == (told.json()["context"]["error_count"], told.json()["context"]["last_error"])
    assert (1, ["x"]) == (told.json()["metadata"]["query_count"], [m["content"] for m in told.json()["messages"]])
    assert "sk-12345" not in told.text
    assert 404 == client.post("/query", json={"query": "x", "agent_type": "unknown"}).status_code


async def _pieces(messages: list[Any]) -> Any:
    for piece in ("one ", "two ", "three"):
        yield piece


def events_of(text: str) -> list[tuple[str, Any]]:
    """Return the events of a stream."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.strip().split("\n\n")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def test_an_answer_comes_in_pieces_and_is_stored_whole(serve: Serve) -> None:
    """Goal: server-sent events. Method: an agent that yields, a function, an AgentConfig; then one that fails."""
    def whole(messages: list[Any], parameters: dict[str, Any]) -> str:
        return f"all at once {parameters['n']}"

    def failing(messages: list[Any]) -> str:
        raise RuntimeError("secret")

    config = AgentConfig(name="Named", llm=lambda messages: messages[0]["content"], instructions="Be brief")
    client = serve(agents={"pieces": _pieces, "whole": whole, "config": config, "bad": failing})
    found = events_of(client.post("/query/stream", json={"query": "x", "thread_id": "t"}).text)
    assert [("session", {"thread_id": "t"}), *(("delta", {"text": text}) for text in ("one ", "two ", "three"))] == (
        found[:-1])
    assert ("done", "one two three") == (found[-1][0], found[-1][1]["answer"])
    assert "one two three" == client.get("/sessions/t").json()["messages"][-1]["content"]
    asked = {"query": "y", "thread_id": "t", "agent_type": "whole", "parameters": {"n": 5}}
    assert "all at once 5" == client.post("/query", json=asked).json()["answer"]
    named = client.post("/query", json={"query": "y", "agent_type": "config"}).json()
    assert ("Be brief", "Named", "config") == (
        named["answer"], named["metadata"]["agent_name"], named["metadata"]["agent_type"])
    bad = events_of(client.post("/query/stream", json={"query": "y", "agent_type": "bad"}).text)
    assert ["session", "error"] == [name for name, _ in bad]
    assert "secret" not in json.dumps(bad)
    assert ["pieces", "whole", "config", "bad"] == [one["name"] for one in client.get("/agents").json()["agents"]]


def test_messages_are_appended_once_and_read_page_by_page(client: httpx.Client) -> None:
    """Goal: a page is what was asked for. Method: 25 messages, pages from both ends, one sent twice."""
    session_id = begin(client)
    messages = [{"role": "user", "content": str(number), "message_id": f"m{number}"} for number in range(25)]
    for _ in range(2):
        sent = client.post(f"/sessions/{session_id}/messages", json={"messages": messages})
        assert 201 == sent.status_code
    page = client.get(f"/sessions/{session_id}/messages", params={"offset": 20, "limit": 10}).json()
    assert (25, 20, list(range(20, 25))) == (page["total"], page["offset"], [row["index"] for row in page["messages"]])
    newest = client.get(f"/sessions/{session_id}/messages", params={"newest": True, "limit": 3}).json()
    assert ["22", "23", "24"] == [row["content"] for row in newest["messages"]]
    assert 201 == client.post(f"/sessions/{session_id}/messages", json={"role": "user", "content": "x"}).status_code
    assert 404 == client.post("/sessions/unknown/messages", json={"role": "user", "content": "x"}).status_code
    for wrong in ({"role": "user"}, {"messages": []}, {"messages": [{"content": "x"}]}, {"role": 5, "content": "x"}):
        assert 422 == client.post(f"/sessions/{session_id}/messages", json=wrong).status_code
    assert 422 == client.get(f"/sessions/{session_id}/messages", params={"limit": 1001}).status_code


def test_a_session_is_forked_exported_imported_and_found(client: httpx.Client) -> None:
    """Goal: what a user then expects. Method: one after the other, and each refusal."""
    session_id = begin(client, user_id="john")
    texts = ["I like Python", "So do I", "And Rust"]
    client.post(f"/sessions/{session_id}/messages", json={
        "messages": [{"role": "user", "content": text} for text in texts]}).raise_for_status()
    forked = client.post(f"/sessions/{session_id}/fork", json={"at": 2, "new_id": "fork"}).json()
    assert {"session_id": "fork", "parent_id": session_id, "message_count": 2} == forked
    assert 409 == client.post(f"/sessions/{session_id}/fork", json={"new_id": "fork"}).status_code
    assert 201 == client.post(f"/sessions/{session_id}/fork").status_code
    exported = client.get(f"/sessions/{session_id}/export").json()
    assert 409 == client.post("/sessions/import", json=exported).status_code
    client.delete(f"/sessions/{session_id}").raise_for_status()
    assert 201 == client.post("/sessions/import", json=exported).status_code
    assert exported["sessions"][0]["messages"] == (
        client.get(f"/sessions/{session_id}/export").json()["sessions"][0]["messages"])
    assert 400 == client.post("/sessions/import", json={"sessions": []}).status_code
    hits = client.get("/search", params={"q": "rust"}).json()
    assert {"And Rust"} == {hit["snippet"] for hit in hits["hits"]}
    assert (2, True) == (hits["total"], session_id in {hit["session_id"] for hit in hits["hits"]})
    assert 422 == client.get("/search").status_code


def test_a_whole_session_is_replaced_only_as_it_was_seen(client: httpx.Client) -> None:
    """Goal: 000's requests with ETags. Method: put, get, put with old and new tags, delete with both."""
    document = {"messages": [{"role": "user", "content": "a"}], "context": {"n": 1}}
    assert 201 == client.put("/sessions/s", json=document, headers={"If-None-Match": "*"}).status_code
    assert 412 == client.put("/sessions/s", json=document, headers={"If-None-Match": "*"}).status_code
    got = client.get("/sessions/s")
    tag = got.headers["ETag"]
    assert 304 == client.get("/sessions/s", headers={"If-None-Match": tag}).status_code
    changed = {**got.json(), "context": {"n": 2}}
    assert 200 == client.put("/sessions/s", json=changed, headers={"If-Match": tag}).status_code
    assert 412 == client.put("/sessions/s", json=changed, headers={"If-Match": tag}).status_code
    assert {"n": 2} == client.get("/sessions/s").json()["context"]
    assert 412 == client.delete("/sessions/s", headers={"If-Match": tag}).status_code
    tag = client.get("/sessions/s").headers["ETag"]
    assert 200 == client.delete("/sessions/s", headers={"If-Match": tag}).status_code
    assert 412 == client.put("/sessions/s", json=changed, headers={"If-Match": "*"}).status_code
    assert 400 == client.put("/sessions/s", json={"session_id": "t", "messages": []}).status_code


@pytest.mark.parametrize("session_id", ["stats", "a/b", ".", "..", "..~", "ä ü", "import", "cleanup", "a%2Fb", "?#", "x" * 900])
def test_any_id_is_its_own_session(client: httpx.Client, session_id: str) -> None:
    """Goal: no id is another's, or a route. Method: HttpEngine's own segments, and what the directory then holds."""
    from praison_store.engines.http import HttpEngine
    from praison_store.model.session_id import SessionKey
    from praison_store.retention import policy_named

    with httpx.Client() as _:
        engine = HttpEngine(f"{client.base_url}/sessions".replace("//sessions", "/sessions"))
        record = {"role": "user", "content": session_id, "timestamp": 1.0, "metadata": {}}
        engine.append(SessionKey(session_id), [record], now_s=1.0, policy=policy_named("keep_all", 1))
        assert [session_id] == [one["content"] for one in engine.history(SessionKey(session_id), None)]
        assert [session_id] == [info.session_id for info in engine.find()]
        assert engine.delete(SessionKey(session_id))
        engine.close()


def test_two_hundred_queries_at_once_are_all_counted(client: httpx.Client) -> None:
    """Goal: query_count is exact. Method: 200 queries of 20 threads on one session."""
    def ask() -> None:
        with httpx.Client(base_url=client.base_url, timeout=120) as own:
            for _ in range(10):
                own.post("/query", json={"query": "x", "thread_id": "t"}).raise_for_status()

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = client.get("/sessions/t").json()
    assert (200, 400) == (told["metadata"]["query_count"], len(told["messages"]))


def test_the_service_sees_what_a_program_writes_and_the_other_way_round(serve: Serve, tmp_path: Path) -> None:
    """Goal: one directory, any door. Method: a store of this process beside the service."""
    client = serve(store=str(tmp_path / "both"))
    with DefaultSessionStore(str(tmp_path / "both")) as store:
        store.add_user_message("s", "by the store")
        assert "by the store" == client.get("/sessions/s").json()["messages"][0]["content"]
        client.post("/sessions/s/messages", json={"role": "assistant", "content": "by the service"}).raise_for_status()
        assert ["by the store", "by the service"] == [one["content"] for one in store.get_chat_history("s")]


def test_statistics_and_health_tell_what_is_there(client: httpx.Client) -> None:
    """Goal: 004's names. Method: three sessions of two users, with messages."""
    for user in ("a", "b", "b"):
        client.post("/query", json={"query": "x", "user_id": user}).raise_for_status()
    told = client.get("/sessions/stats").json()
    assert (3, 3, 2, 6) == tuple(
        told[name] for name in ("active_sessions_memory", "total_sessions", "unique_users", "total_messages"))
    assert ("json_files", 0, None) == tuple(
        told[name] for name in ("storage_type", "session_timeout_hours", "last_cleanup"))
    assert {"message": "Cleaned up 0 expired sessions"} == client.post("/sessions/cleanup").json()
    assert client.get("/sessions/stats").json()["last_cleanup"]
    for path in ("/", "/health/live", "/health/ready"):
        assert "ok" == client.get(path).json()["status"]
    metrics = client.get("/metrics").text
    assert 'praison_store_queries_total{agent="echo",outcome="answered"} 3.0' in metrics
    assert 'route="/query",status="200"' in metrics


def test_the_page_may_load_and_run_its_own_files_only(tmp_path: Path) -> None:
    """Goal: what stands in a session never runs. Method: the headers of a file, as the folder at /ui is served."""
    import asyncio

    from praison_store.server.app import POLICY, Page

    (tmp_path / "index.html").write_text("<p>page</p>")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=Page(directory=tmp_path, html=True))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking:
            return await asking.get("/")

    answer = asyncio.run(ask())
    assert (200, POLICY, "DENY") == (
        answer.status_code, answer.headers["Content-Security-Policy"], answer.headers["X-Frame-Options"])
