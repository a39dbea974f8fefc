"""The HTTP engines where the network fails: an answer is lost, late, no session, or somebody else was first."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import pytest
from http_place import LONGEST_S, Service
from processes.workers import forks_beside_threads, needs_fork

from praison_store import SessionManager
from praison_store.aio.contract import AsyncEngine
from praison_store.aio.http import AsyncHttpEngine
from praison_store.engines import Engine
from praison_store.engines.http import HttpEngine
from praison_store.errors import (
    InvalidArgumentError,
    LeaseExpiredError,
    LockTimeoutError,
    MissingExtraError,
    OutcomeUnknownError,
    RevisionConflictError,
    StoreReadError,
    StoreWriteError,
    UnsupportedOperationError,
)
from praison_store.model import portable
from praison_store.model.lease import LeaseRow
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey
from praison_store.retention import policy_named

KEY, NOW_S, ALL = SessionKey("s"), 1_767_326_400.0, policy_named("keep_all", 1)
Act = Callable[..., Any]


@pytest.fixture
def service() -> Iterator[Service]:
    """Give a service that stops with the test."""
    made = Service()
    yield made
    made.stop()


@pytest.fixture(params=["sync", "async"])
def acting(request: pytest.FixtureRequest, service: Service) -> Iterator[Callable[..., Act]]:
    """Give a function that makes an engine and returns how to call it: both engines are asked in the same words."""
    closing: list[Callable[[], Any]] = []
    with asyncio.Runner() as runner:

        def make(endpoint: str | None = None, **options: Any) -> Act:
            url = service.url if endpoint is None else endpoint
            if request.param == "sync":
                engine = HttpEngine(url, **options)
                closing.append(engine.close)
                return lambda method, *given, **named: getattr(engine, method)(*given, **named)
            awaited = AsyncHttpEngine(url, **options)
            closing.append(lambda: runner.run(awaited.close()))

            async def call(method: str, *given: Any, **named: Any) -> Any:
                return await getattr(awaited, method)(*given, **named)

            return lambda method, *given, **named: runner.run(call(method, *given, **named))

        yield make
        for close in closing:
            close()


@pytest.fixture
def act(acting: Callable[..., Act]) -> Act:
    """Give an engine with the default options."""
    return acting()


@pytest.fixture
def other(service: Service) -> Iterator[HttpEngine]:
    """Give another writer on the same service."""
    engine = HttpEngine(service.url)
    yield engine
    engine.close()


def say(act: Act, text: str, key: SessionKey = KEY, message_id: str | None = None, **named: Any) -> Any:
    """Append one message."""
    record = new_record("user", text, NOW_S, message_id=message_id)
    return act("append", key, [record], now_s=NOW_S, policy=ALL, **named)


def say_with(engine: HttpEngine, text: str, key: SessionKey = KEY) -> int:
    """Append one message by another engine."""
    return engine.append(key, [new_record("user", text, NOW_S)], now_s=NOW_S, policy=ALL)


def texts(act: Act, key: SessionKey = KEY) -> list[Any]:
    """Return what a history shows."""
    return [message["content"] for message in act("history", key, None)]


def test_both_engines_have_the_contracts_methods() -> None:
    """Goal: managers take them. Method: the two protocols."""
    assert isinstance(HttpEngine("http://127.0.0.1:1"), Engine)
    assert isinstance(AsyncHttpEngine("http://127.0.0.1:1"), AsyncEngine)


# ---- answers that get lost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("done_first", [True, False], ids=["done", "not done"])
@pytest.mark.parametrize("begun", [True, False], ids=["known", "new"])
def test_D7_a_lost_answer_stores_a_message_once(service: Service, act: Act, done_first: bool, begun: bool) -> None:
    """Goal: a write is repeated only where it did not happen. Method: hang up behind or in front of the write."""
    if begun:
        say(act, "a")
    service.inject(method="PUT", drop=True, done_first=done_first)
    assert (2 if begun else 1) == say(act, "b")
    assert [*"a" * begun, "b"] == texts(act)


def test_D7_a_lost_answer_is_found_below_what_others_wrote_since(
    service: Service, act: Act, other: HttpEngine
) -> None:
    """Goal: the newest write need not be this one. Method: others write between the lost answer and the next look."""
    say(act, "a")
    service.inject(method="PUT", drop=True, done_first=True)
    look = service.inject(method="GET", after="PUT", hold=threading.Event())
    with ThreadPoolExecutor(1) as pool:

        def write() -> None:
            service.held.acquire()
            for text in "xyz":
                say_with(other, text)
            look.hold.set()  # type: ignore[union-attr] # it was given one above

        writing = pool.submit(write)
        say(act, "b")
        writing.result()
    assert [*"abxyz"] == texts(act)


def test_D3_where_another_came_first_behind_a_lost_request_it_is_made_anew(
    service: Service, act: Act, other: HttpEngine
) -> None:
    """Goal: a write that never arrived is told from one that did. Method: lose the request; another writes; then look."""
    for begun in (False, True):
        service.inject(method="PUT", drop=True)
        look = service.inject(method="GET", after="PUT", hold=threading.Event())
        with ThreadPoolExecutor(1) as pool:

            def write(look: Any = look) -> None:
                service.held.acquire()
                say_with(other, "x")
                look.hold.set()

            writing = pool.submit(write)
            assert (4 if begun else 2) == say(act, "b")
            writing.result()
    assert [*"xbxb"] == texts(act)


def test_a_client_that_drops_our_list_of_writes_costs_no_message(service: Service, act: Act) -> None:
    """Goal: the list begins anew. Method: take it out of the document; then lose answers again."""
    say(act, "a")
    kept = service.documents[KEY]
    document = json.loads(kept.raw)
    del document["recent_writes"]
    kept.raw = json.dumps(document).encode()
    for text in "bc":
        service.inject(method="PUT", drop=True, done_first=text == "b")
        say(act, text)
    assert [*"abc"] == texts(act)


def test_a_session_is_kept_with_what_only_the_standard_json_can_hold(service: Service, act: Act) -> None:
    """Goal: an import loses nothing, archive included. Method: NaN, a long integer, long digits in a text; then append."""
    odd = {"nan": float("nan"), "long": 2**70, "digits": "1" * 40}
    archived = [new_record("user", "old", NOW_S)]
    session = portable.imported({"session_id": "s", "messages": [{"role": "user", "content": "a", "metadata": odd}],
                                 "archived_messages": archived})
    act("update", KEY, portable.become(session), now_s=NOW_S, policy=ALL)
    say(act, "b")
    found, past = act("whole", KEY)
    assert repr(odd) == repr(found.messages[0].metadata)
    assert (["a", "b"], archived) == ([message.content for message in found.messages], past)


def test_a_message_id_that_is_taken_is_told_of(
    service: Service, act: Act, caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: a message that is not stored is not silent. Method: another text under the id of the first."""
    say(act, "a", message_id="m")
    assert 1 == say(act, "b", message_id="m")
    assert [] != [record for record in caplog.records if "taken by another message" in record.getMessage()]


def test_D7_where_nothing_tells_the_outcome_is_called_unknown(
    service: Service, acting: Callable[..., Act], other: HttpEngine
) -> None:
    """Goal: no guess. Method: lose the answer, then fail every look; then delete the session before the look."""
    act = acting(retries=1)
    say(act, "a")
    service.inject(method="PUT", drop=True, done_first=True)
    service.inject(method="GET", after="PUT", times=2, status=500)
    with pytest.raises(OutcomeUnknownError, match="message_id"):
        say(act, "b", message_id="m")
    service.faults.clear()
    assert 2 == say(act, "b", message_id="m"), "a repeat is stored once"
    assert ["a", "b"] == texts(act)


def test_D7_a_deleted_session_hides_whether_a_write_happened(
    service: Service, act: Act, other: HttpEngine
) -> None:
    """Goal: a write that may have been deleted is not done again. Method: delete it before the look."""
    say(act, "a")
    service.inject(method="PUT", drop=True, done_first=True)
    look = service.inject(method="GET", after="PUT", hold=threading.Event())
    with ThreadPoolExecutor(1) as pool:

        def delete() -> None:
            service.held.acquire()
            service.documents.clear()
            look.hold.set()  # type: ignore[union-attr] # it was given one above

        deleting = pool.submit(delete)
        with pytest.raises(OutcomeUnknownError):
            say(act, "b")
        deleting.result()
    assert [] == texts(act)


def test_D3_a_write_that_arrives_late_erases_nothing(service: Service, acting: Callable[..., Act]) -> None:
    """Goal: a request the client gave up on may still come. Method: hold it, let its repeat through, then release."""
    act = acting(timeout_s=0.3)
    say(act, "a")
    late = service.inject(method="PUT", hold=threading.Event())
    assert 2 == say(act, "b")
    assert 3 == say(act, "c")
    assert late.hold is not None
    late.hold.set()
    service.stop()
    service.start()
    assert [*"abc"] == texts(act)


def test_a_lost_answer_to_a_delete_is_no_second_delete(service: Service, act: Act, other: HttpEngine) -> None:
    """Goal: True for what was there, and a session begun since stays. Method: lose the answer; begin it anew."""
    say(act, "a")
    service.inject(method="DELETE", drop=True, done_first=True)
    assert act("delete", KEY) is True
    assert act("delete", KEY) is False
    say(act, "b")
    take = service.fault_for

    def begin_anew(method: str, path: str) -> Any:
        if method == "DELETE" and not service.documents:
            service.fault_for = take  # type: ignore[method-assign] # as it was
            record = new_record("user", "new", NOW_S)
            other.append(KEY, [record], now_s=NOW_S + 5, policy=ALL)
        return take(method, path)

    service.fault_for = begin_anew  # type: ignore[method-assign] # the service is ours, and made for this
    service.inject(method="DELETE", drop=True, done_first=True)
    assert act("delete", KEY) is True
    assert ["new"] == texts(act)


# ---- answers that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [204, 301, 302, 400, 401, 403, 405, 409, 410, 418, 423, 429, 500, 501, 502, 503, 504])
def test_D5_a_service_that_fails_is_never_a_new_session(
    service: Service, acting: Callable[..., Act], status: int
) -> None:
    """Goal: only 404 means unknown. Method: every other answer to a read; nothing is written after it."""
    act = acting(retries=1)
    say(act, "a")
    service.inject(method="GET", times=100, status=status)
    before = len(service.seen)
    for call in (
        lambda: act("read", KEY, None), lambda: act("history", KEY, 1), lambda: act("whole", KEY),
        lambda: act("exists", KEY), lambda: say(act, "b"), lambda: act("delete", KEY),
        lambda: act("update", KEY, lambda session: None, now_s=NOW_S, policy=ALL),
    ):
        with pytest.raises(StoreReadError, match=f"{status}"):
            call()
    assert {"GET"} == {method for method, _, _ in service.seen[before:]}
    service.faults.clear()
    assert ["a"] == texts(act)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 429, 500, 501, 502, 503, 504])
def test_D7_a_write_that_is_refused_leaves_the_old_session(
    service: Service, acting: Callable[..., Act], status: int
) -> None:
    """Goal: nothing stored, and said so. Method: each status; a gateway's may be followed by the write itself."""
    act = acting(retries=1)
    say(act, "a")
    service.inject(method="PUT", times=100, status=status)
    with pytest.raises(StoreWriteError, match=f"{status}") as caught:
        say(act, "b")
    assert (status in (502, 504)) == isinstance(caught.value, OutcomeUnknownError)
    assert f"{service.url}/s" == caught.value.path
    service.faults.clear()
    assert ["a"] == texts(act)


def test_a_service_that_comes_back_is_asked_again(service: Service, act: Act) -> None:
    """Goal: a short break is not an error. Method: two failures in front of each request."""
    for method in ("GET", "PUT", "DELETE"):
        service.inject(method=method, times=2, status=503)
    assert 1 == say(act, "a")
    assert act("delete", KEY) is True


def test_where_nobody_listens_the_error_tells_so(acting: Callable[..., Act]) -> None:
    """Goal: errno and the next step are there. Method: a port nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        act = acting(f"http://127.0.0.1:{taken.getsockname()[1]}/sessions", retries=0)
        with pytest.raises(StoreReadError, match="could not be read") as caught:
            say(act, "a")
        with pytest.raises(StoreWriteError) as written:
            act("claim", KEY, "me", 5.0)
    assert not isinstance(written.value, OutcomeUnknownError)
    assert errno.ECONNREFUSED == caught.value.errno


BODIES: dict[str, bytes] = {
    "empty": b"", "no JSON": b"<html>busy</html>", "cut": b'{"session_id":"s","messages":[{"role"', "a list": b"[]",
    "no messages": b'{"session_id":"s"}', "messages of text": b'{"session_id":"s","messages":["x"]}',
    "another session": b'{"session_id":"t","messages":[]}', "a wrong field": b'{"session_id":"s","messages":[],"metadata":5}',
    "an archive of text": b'{"session_id":"s","messages":[],"archived_messages":["x"]}', "not UTF-8": b"\xff\xfe{",
    "an error page of the service": b'{"error":"no"}', "nested": b"[" * 100_000,
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_D5_what_is_no_session_is_an_error_and_not_an_empty_one(service: Service, act: Act, body: bytes) -> None:
    """Goal: damage never looks like nothing. Method: each body in place of a session, read and appended to."""
    say(act, "a")
    service.inject(method="GET", times=100, body=body)
    for call in (lambda: act("read", KEY, None), lambda: say(act, "b"), lambda: act("delete", KEY)):
        with pytest.raises(StoreReadError, match="is not what this package keeps"):
            call()
    service.faults.clear()
    assert ["a"] == texts(act)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"sessions":{},"total":1}', b'{"sessions":[],"total":"1"}',
                                  b'{"sessions":[{"id":1}],"total":1}', b'{"sessions":[]}'])
def test_what_is_no_listing_is_an_error_and_not_an_empty_one(service: Service, act: Act, body: bytes) -> None:
    """Goal: no session is hidden. Method: each body in place of a listing."""
    service.inject(method="GET", times=100, body=body)
    for call in (lambda: act("find"), lambda: act("count"), lambda: act("search", ["x"])):
        with pytest.raises(StoreReadError, match="is not what this package keeps"):
            call()


def test_everything_ends_in_a_bounded_time(service: Service, acting: Callable[..., Act]) -> None:
    """Goal: a service that says nothing hangs nobody. Method: hold reads, then writes, beyond the limit."""
    act = acting(timeout_s=0.5, retries=0)
    say(act, "a")
    for method, error in (("GET", StoreReadError), ("PUT", OutcomeUnknownError), ("DELETE", OutcomeUnknownError)):
        silent = service.inject(method=method, hold=threading.Event())
        with pytest.raises(error):
            act("delete", KEY) if method == "DELETE" else say(act, "b")
        assert silent.hold is not None
        silent.hold.set()


# ---- other writers -----------------------------------------------------------------------------------------------


def test_D3_8_threads_append_50_each_and_none_is_lost(service: Service) -> None:
    """Goal: 400 of 400. Method: one engine, eight threads, one session; each 412 is a read and another try."""
    engine = HttpEngine(service.url)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda writer: [say_with(engine, f"{writer}-{n}") for n in range(50)], range(8)))
    session = engine.read(KEY, None)
    engine.close()
    assert session is not None
    assert 400 == session.revision
    said = [message.content for message in session.messages]
    assert {f"{writer}-{n}" for writer in range(8) for n in range(50)} == set(said)
    assert 400 == len(said)
    assert any(method == "PUT" for method, _, _ in service.seen[800:]), "they met"


def test_D3_8_tasks_append_50_each_and_none_is_lost(service: Service) -> None:
    """Goal: 400 of 400 for tasks too. Method: one engine, eight tasks, one session."""

    async def write(engine: AsyncHttpEngine, writer: int) -> None:
        for n in range(50):
            record = new_record("user", f"{writer}-{n}", NOW_S)
            await engine.append(KEY, [record], now_s=NOW_S, policy=ALL)

    async def all_of_them() -> list[Any]:
        engine = AsyncHttpEngine(service.url)
        await asyncio.gather(*(write(engine, writer) for writer in range(8)))
        history = await engine.history(KEY, None)
        await engine.close()
        return [message["content"] for message in history]

    said = asyncio.run(all_of_them())
    assert {f"{writer}-{n}" for writer in range(8) for n in range(50)} == set(said)
    assert 400 == len(said)


def test_D3_managers_on_one_service_merge_what_they_save(service: Service) -> None:
    """Goal: the sync manager runs on a service. Method: four managers in threads, ten messages and a key each."""

    def work(number: int) -> None:
        with SessionManager({"backend": service.url, "autosave_interval": 0}) as manager:
            session = manager.create_session("s")
            for n in range(10):
                session.add_message({"role": "user", "content": f"{number}-{n}"})
                session.update_metadata({f"k{number}": n})
                manager.save_session(session)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with SessionManager({"backend": service.url}) as manager:
        session = manager.load_session("s")
    assert {f"{number}-{n}" for number in range(4) for n in range(10)} == {m["content"] for m in session.messages}
    assert (40, {f"k{number}": 9 for number in range(4)}) == (len(session.messages), session.metadata)


def test_D3_a_session_begun_anew_at_the_same_revision_is_not_overwritten(
    service: Service, act: Act, other: HttpEngine
) -> None:
    """Goal: revision 1 of another session is another version. Method: delete and begin it anew within a change."""
    say(act, "old")
    turns: list[list[Any]] = []

    def change(session: Any) -> None:
        turns.append([message.content for message in session.messages])
        if len(turns) == 1:
            other.delete(KEY)
            say_with(other, "new")
        session.metadata["title"] = "x"

    changed = act("update", KEY, change, now_s=NOW_S, policy=ALL)
    assert [["old"], ["new"]] == turns
    assert (["new"], 2) == ([message.content for message in changed.messages], changed.revision)


def test_a_service_without_etags_is_asked_by_revision(service: Service, act: Act, other: HttpEngine) -> None:
    """Goal: the ETag comes from the revision where the service sends none. Method: two writers meet."""
    service.with_tags = False
    say(act, "a")
    met: list[int] = []

    def change(session: Any) -> None:
        met.append(session.revision)
        if len(met) == 1:
            say_with(other, "b")
        session.metadata["title"] = "x"

    act("update", KEY, change, now_s=NOW_S, policy=ALL)
    assert [1, 2] == met
    with pytest.raises(RevisionConflictError):
        act("update", KEY, change, now_s=NOW_S, policy=ALL, expected_revision=2)


def test_a_writer_who_is_never_first_gives_up_in_time(service: Service) -> None:
    """Goal: no write waits for ever. Method: a service that always answers 412."""
    engine = HttpEngine(service.url)
    engine._plan.busy_timeout_s = 0.05
    service.inject(method="PUT", times=10_000, status=412)
    with pytest.raises(LockTimeoutError) as caught:
        say_with(engine, "a")
    engine.close()
    assert () == caught.value.holder
    assert caught.value.waited_s >= 0.05


# ---- places, secrets, what a service lacks -----------------------------------------------------------------------


@pytest.mark.parametrize("session_id", ["a/b", ".", "..", "../..", "a b", "a?b#c", "%2F", "é", "日本語", "a\\b", "lease", "a\nb", "~", "x" * 4096])
def test_D8_an_id_is_one_segment_of_the_path_whatever_it_holds(service: Service, act: Act, session_id: str) -> None:
    """Goal: no id leads elsewhere. Method: write, read and delete it; look at every path that was asked for."""
    for key in (SessionKey(session_id), SessionKey(session_id, "al/ice&x=1")):
        assert 1 == say(act, session_id, key)
        assert [session_id] == texts(act, key)
        assert [session_id] == [info.session_id for info in act("find", namespace=key.namespace)]
        lease = act("claim", key, "me/..", 5.0)
        assert act("release", lease) is True
        assert act("delete", key) is True
    for _, target, _ in service.seen:
        path = target.partition("?")[0].removeprefix("/sessions")
        assert path.count("/") <= 2
        assert path.split("/")[-1] in ("lease", "") or path.count("/") == 1
        assert not {".", ".."} & set(path.split("/"))


def test_D8_ids_of_dots_are_no_way_up_even_where_a_proxy_decodes_them(service: Service, act: Act) -> None:
    """Goal: no dot segment, and no two ids in one place. Method: ids of dots and `~` at once; decode every path."""
    ids = [".", "..", ".~", "..~", ".~~", "...", "~"]
    for session_id in ids:
        assert 1 == say(act, session_id, SessionKey(session_id))
    assert [[session_id] for session_id in ids] == [texts(act, SessionKey(session_id)) for session_id in ids]
    segments = {unquote(target).partition("?")[0].split("/")[2] for _, target, _ in service.seen}
    assert {".~", "..~", ".~~", "..~~", ".~~~", "...", "~"} == segments


@needs_fork
@forks_beside_threads
def test_a_forked_child_does_not_wait_for_a_mutex_nobody_will_give_back(service: Service) -> None:
    """Goal: no hang. Method: fork while another thread holds the engine's mutex; the child reads before an alarm."""
    engine = HttpEngine(service.url)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with engine._mutex:
            held.set()
            done.wait(LONGEST_S)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(LONGEST_S)
    pid = os.fork()
    if not pid:
        signal.alarm(int(LONGEST_S))
        try:
            os._exit(0 if engine.read(KEY, None) is None else 1)
        finally:
            os._exit(2)
    status = os.waitpid(pid, 0)[1]
    done.set()
    thread.join()
    engine.close()
    assert 0 == os.waitstatus_to_exitcode(status)


def test_a_client_is_made_outside_the_mutex_and_only_one_is_kept(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: nobody waits for certificates to be read. Method: two threads meet while each makes a client."""
    engine, made = HttpEngine(service.url), []
    both, client_of = threading.Barrier(2, timeout=LONGEST_S), engine._httpx.Client

    def client(**options: Any) -> Any:
        both.wait()
        made.append(client_of(**options))
        return made[-1]

    monkeypatch.setattr(engine._httpx, "Client", client)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: engine.read(KEY, None), range(2)))
    assert [None, None] == found
    assert [False, True] == sorted(one.is_closed for one in made)
    engine.close()
    assert [True, True] == [one.is_closed for one in made]


def test_secrets_are_sent_and_shown_nowhere(
    service: Service, acting: Callable[..., Act], caplog: pytest.LogCaptureFixture
) -> None:
    """Goal: no key ends in a log. Method: a password in the URL and a key in a header; all that is logged and raised."""
    caplog.set_level(logging.DEBUG)
    url = service.url.replace("http://", "http://me:hunter%2F2@")
    act = acting(url, headers={"X-Key": "tops3cret"}, retries=0)
    say(act, "a")
    assert {"Basic bWU6aHVudGVyLzI="} == {headers["authorization"] for _, _, headers in service.seen}
    assert {"tops3cret"} == {headers["x-key"] for _, _, headers in service.seen}
    told = []
    for fault in ({"status": 500}, {"drop": True}, {"body": b"x"}):
        service.inject(**fault)
        with pytest.raises(StoreReadError) as caught:
            act("read", KEY, None)
        cause = caught.value.__cause__
        told += [str(caught.value), repr(caught.value), repr(caught.value.fields), repr(cause), str(cause)]
    shown = "\n".join([*told, *(record.getMessage() for record in caplog.records)])
    assert [] == [secret for secret in ("hunter", "tops3cret", "bWU6") if secret in shown]


@pytest.mark.parametrize("bad", ["", "host/sessions", "ftp://host/x", "http://", "http://[::1", "http://h:x/", "http://h/?k=s3cret",
                                 "http://h/#s3cret", "http://s3cret@h/\n", "http://hé/", 5, None])
@pytest.mark.parametrize("kind", [HttpEngine, AsyncHttpEngine])
def test_an_endpoint_that_is_none_is_refused_and_not_shown(kind: Any, bad: Any) -> None:
    """Goal: a key in a query would be logged, so it is refused. Method: URLs of other kinds."""
    with pytest.raises(InvalidArgumentError) as caught:
        kind(bad)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("bad", [{"timeout_s": 0}, {"timeout_s": -1}, {"timeout_s": "1"}, {"retries": -1}, {"retries": 1.5},
                                 {"headers": ["x"]}, {"headers": {"X": "a\nb: s3cret"}}, {"headers": {"X Y": "s3cret"}},
                                 {"headers": {"X": 5}}, {"headers": {"X": "é"}}])
def test_an_argument_that_cannot_be_meant_is_refused(bad: dict[str, Any]) -> None:
    """Goal: nothing is guessed. Method: bad limits and headers; no header's text is shown."""
    with pytest.raises(InvalidArgumentError) as caught:
        HttpEngine("http://127.0.0.1:1", **bad)
    assert "s3cret" not in str(caught.value)


def test_without_httpx_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a missing extra is named. Method: hide the package."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    for kind in (HttpEngine, AsyncHttpEngine):
        with pytest.raises(MissingExtraError, match=r"praison_store\[http\]") as caught:
            kind("http://127.0.0.1:1")
        assert "http" == caught.value.extra


def test_what_a_service_lacks_is_said(service: Service, act: Act) -> None:
    """Goal: the three requests alone are a service too. Method: no lists, no leases."""
    service.with_lists = service.with_leases = False
    say(act, "a")
    assert ["a"] == texts(act)
    for name, given in (("find", ()), ("count", ()), ("search", (["x"],)), ("claim", (KEY, "me", 5.0))):
        with pytest.raises(UnsupportedOperationError):
            act(name, *given)


def test_a_listing_in_pages_is_read_to_its_end(service: Service, act: Act) -> None:
    """Goal: a service's own limit hides nothing. Method: pages of two, seven sessions."""
    for number in range(7):
        say(act, "needle", SessionKey(f"s{number}"))
    service.page_rows = 2
    names = [f"s{number}" for number in reversed(range(7))]
    assert names == [info.session_id for info in act("find")]
    assert names[1:6] == [info.session_id for info in act("find", offset=1, limit=5)]
    assert set(names) == {session.session_id for session, _ in act("search", ["needle"])}
    assert 7 == act("count")


def test_a_lease_given_back_twice_over_a_bad_line_is_given_back(service: Service, act: Act) -> None:
    """Goal: a repeat of our own release is no other's lease. Method: lose the answer of a release; then of a lost one."""
    lease = act("claim", KEY, "me", 60.0)
    service.inject(method="DELETE", below="lease", drop=True, done_first=True)
    assert act("release", lease) is True
    other = act("claim", KEY, "you", 60.0)
    service.inject(method="DELETE", below="lease", drop=True)
    assert act("release", lease) is False
    with pytest.raises(LeaseExpiredError):
        say(act, "late", lease=lease)
    assert 1 == say(act, "in time", lease=other)


def test_late_writes_under_a_lost_lease_are_refused_in_one_request(service: Service, act: Act) -> None:
    """Goal: fencing is the service's. Method: lose the lease, before the write begins and between its two requests."""
    say(act, "a")
    lease = act("claim", KEY, "me", 60.0)
    assert lease.generation == act("renew", lease, 90.0).generation
    assert 2 == say(act, "b", lease=lease)

    def lose(session: Any) -> None:
        service.leases[KEY] = LeaseRow("you", lease.generation + 1, lease.expires_at_s)

    for late in (
        lambda: act("update", KEY, lose, now_s=NOW_S, policy=ALL, lease=lease), lambda: say(act, "c", lease=lease),
        lambda: act("delete", KEY, lease=lease), lambda: act("renew", lease, 5.0),
    ):
        with pytest.raises(LeaseExpiredError):
            late()
    assert act("release", lease) is False
    assert act("claim", KEY, "me", 5.0) is None
    assert ["a", "b"] == texts(act)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_request_about_leases_or_a_delete_that_fails_is_an_error(
    service: Service, acting: Callable[..., Act], status: int
) -> None:
    """Goal: no failure looks like a lease, or like none. Method: each request, refused."""
    act = acting(retries=1)
    say(act, "a")
    lease = act("claim", KEY, "me", 60.0)
    for method in ("PUT", "DELETE"):
        service.inject(method=method, times=100, status=status)
    for call in (
        lambda: act("claim", KEY, "me", 5.0), lambda: act("renew", lease, 5.0), lambda: act("release", lease),
        lambda: act("delete", KEY),
    ):
        with pytest.raises(StoreWriteError, match=f"{status}"):
            call()
    service.inject(method="GET", times=100, status=status)
    with pytest.raises(StoreReadError, match=f"{status}"):
        act("find")
    service.faults.clear()
    service.inject(method="PUT", body=b'{"owner": 5}', below="lease")
    with pytest.raises(StoreReadError, match="no lease"):
        act("claim", KEY, "me", 5.0)


# ---- tasks and loops ---------------------------------------------------------------------------------------------


def test_a_cancelled_write_is_done_or_not_begun_and_nothing_follows_it(service: Service) -> None:
    """Goal: nothing goes on behind a cancellation. Method: cancel twice while the service holds the write."""
    held = service.inject(method="PUT", hold=threading.Event())
    assert held.hold is not None

    async def cancel() -> None:
        engine = AsyncHttpEngine(service.url)
        record = new_record("user", "a", NOW_S)
        work = asyncio.ensure_future(engine.append(KEY, [record], now_s=NOW_S, policy=ALL))
        await asyncio.to_thread(service.held.acquire)
        for _ in range(2):
            work.cancel()
            await asyncio.wait([work], timeout=0.05)
            assert not work.done()
        held.hold.set()  # type: ignore[union-attr] # it was given one above
        with pytest.raises(asyncio.CancelledError):
            await work
        seen = len(service.seen)
        assert ["a"] == [message["content"] for message in await engine.history(KEY, None)]
        assert seen + 1 == len(service.seen)
        await engine.close()

    asyncio.run(cancel())


def test_a_cancelled_read_ends_at_once(service: Service) -> None:
    """Goal: nobody waits for what nobody wants. Method: cancel while the service holds the read."""
    held = service.inject(method="GET", hold=threading.Event())
    assert held.hold is not None

    async def cancel() -> None:
        engine = AsyncHttpEngine(service.url)
        work = asyncio.ensure_future(engine.read(KEY, None))
        await asyncio.to_thread(service.held.acquire)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        await engine.close()

    asyncio.run(cancel())
    held.hold.set()


def test_one_engine_serves_several_loops_and_leaves_nothing_open(service: Service) -> None:
    """Goal: an engine outlives a loop. Method: three loops one after the other and two at once; nobody closes it."""
    engine = AsyncHttpEngine(service.url)

    async def write(name: str) -> int:
        record = new_record("user", name, NOW_S)
        return await engine.append(SessionKey(name), [record], now_s=NOW_S, policy=ALL)

    assert [1, 1, 1] == [asyncio.run(write(name)) for name in "abc"]
    with ThreadPoolExecutor(2) as pool:
        assert [1, 1] == list(pool.map(lambda name: asyncio.run(write(name)), "de"))
    gc.collect()
    assert set("abcde") == {key.session_id for key in service.documents}


def test_an_answer_that_trickles_in_ends_in_a_bounded_time(acting: Callable[..., Act]) -> None:
    """Goal: a limit for the whole, not only for each part. Method: a service that sends a byte now and then."""
    ended = threading.Event()

    def trickle(listening: socket.socket) -> None:
        peer, _ = listening.accept()
        with peer, contextlib.suppress(OSError):  # the client hangs up, which is what is wanted
            peer.recv(65536)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not ended.wait(0.02):
                peer.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        pool.submit(trickle, listening)
        act = acting(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=0.1, retries=0)
        with pytest.raises(StoreReadError, match="no whole answer"):
            act("read", KEY, None)
        ended.set()


def test_a_thread_that_closes_the_engine_disturbs_no_other(service: Service) -> None:
    """Goal: close gives back connections, and no more. Method: one thread closes all the time, one appends."""
    engine = HttpEngine(service.url)
    done = threading.Event()

    def close() -> None:
        while not done.is_set():
            engine.close()

    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(close)
        for n in range(20):
            say_with(engine, f"{n}")
        done.set()
        closing.result()
    assert [f"{n}" for n in range(20)] == [message["content"] for message in engine.history(KEY, None)]
    engine.close()


def test_an_engine_closed_in_one_loop_closes_in_the_others(service: Service) -> None:
    """Goal: close leaves nothing open anywhere. Method: a loop in another thread, open while this one closes."""
    engine = AsyncHttpEngine(service.url)
    opened, closed = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        await engine.exists(KEY)
        opened.set()
        await asyncio.to_thread(closed.wait, 30.0)
        assert await engine.exists(KEY) is False

    async def here() -> None:
        await asyncio.to_thread(opened.wait, 30.0)
        await engine.exists(KEY)
        await engine.close()
        closed.set()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: asyncio.run(elsewhere()))
        asyncio.run(here())
        other.result()
    gc.collect()
