"""PraisonAI on our store: its protocols on every engine, its files shared with its own processes, and a real agent that remembers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import praisonaiagents.session.protocols as protocols  # type: ignore[import-untyped] # it has no types
import praisonaiagents.session.store as theirs_at  # type: ignore[import-untyped] # the same
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from praisonaiagents.session.api import Session  # type: ignore[import-untyped] # the same
from praisonaiagents.session.hierarchy import HierarchicalSessionStore  # type: ignore[import-untyped] # the same
from praisonaiagents.tools.session_tools import SessionTools  # type: ignore[import-untyped] # the same
from stand_in import service
from test_message_forms import ITEMS

from praison_store import DefaultSessionStore, InvalidArgumentError, InvalidMessageError, StoreReadError
from praison_store.engines.urls import from_url
from praison_store.integrations import praisonai
from praison_store.integrations.openai_agents import PraisonSession
from praison_store.integrations.praisonai import PraisonStore, install, uninstall
from praison_store.model.formats import from_anthropic

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("contract", "properties")]
from anything import json_values
from places import EACH, ENGINES

LONGEST_S = 120.0
CALLS = [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}]


def opened(place: str, path: Path, **options: Any) -> PraisonStore:
    """Return a store on an empty place of a kind that does not wait for the disk."""
    if place == "json_files":
        return PraisonStore(path, **{"durability": "process", "lock_timeout": LONGEST_S, **options})
    path.mkdir()
    return PraisonStore(db=ENGINES[place](path), **options)


def their_store(path: Path, **options: Any) -> Any:
    """Return PraisonAI's own store."""
    return theirs_at.DefaultSessionStore(session_dir=str(path), **options)


@pytest.fixture(params=EACH)
def ours(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PraisonStore]:
    """Give a store on each kind of engine; closed when the test ends."""
    with opened(request.param, tmp_path / "ours") as store:
        yield store


@pytest.fixture
def files(tmp_path: Path) -> Iterator[PraisonStore]:
    """Give a store on JSON files; its check is clean at the end."""
    with opened("json_files", tmp_path / "ours") as store:
        yield store
        assert [] == store.check().problems


@pytest.fixture
def _clean() -> Iterator[None]:
    """Leave nothing installed in this process."""
    before = theirs_at._default_store
    yield
    theirs_at._default_store = before
    praisonai._before.clear()


# ---- call by call ---------------------------------------------------------------------------------------------------

# What each call is made of, on both stores in turn; None of them may answer differently.
SCRIPT: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("session_exists", ("s",), {}),
    ("get_chat_history", ("s",), {}),
    ("window", ("s",), {}),
    ("export_session", ("s",), {}),
    ("get_session_model", ("s",), {}),
    ("discard_partial_assistant_message", ("s",), {}),
    ("upsert_partial_assistant_message", ("s", ""), {"finalize": True}),
    ("get_runtime_state", ("s", "native"), {}),
    ("add_message", ("s", "user", "About the billing migration"), {"metadata": {"reasoning_effort": "high"}}),
    ("get_session_reasoning_effort", ("s",), {}),
    ("add_message", ("s", "assistant", ""), {"tool_calls": CALLS}),
    ("add_message", ("s", "tool", "clear"), {"tool_call_id": "c1"}),
    ("upsert_partial_assistant_message", ("s", "Hel"), {}),
    ("get_chat_history", ("s",), {}),
    ("get_working_history", ("s",), {}),
    ("upsert_partial_assistant_message", ("s", "Hello"), {}),
    ("upsert_partial_assistant_message", ("s", "Good day"), {}),
    ("get_chat_history", ("s",), {}),
    ("upsert_partial_assistant_message", ("s", "Good day, Alice"), {"finalize": True}),
    ("get_chat_history", ("s",), {}),
    ("discard_partial_assistant_message", ("s",), {}),
    ("upsert_partial_assistant_message", ("s", ""), {}),
    ("upsert_partial_assistant_message", ("s", ""), {"finalize": True}),
    ("upsert_partial_assistant_message", ("s", "And more"), {}),
    ("discard_partial_assistant_message", ("s",), {}),
    ("upsert_partial_assistant_message", ("s", "At once"), {"finalize": True}),
    ("get_chat_history", ("s",), {}),
    ("get_chat_history", ("s", 2), {}),
    ("set_agent_info", ("s",), {"agent_name": "Assistant", "user_id": "alice"}),
    ("set_gateway_info", ("s",), {"gateway_session_id": "g1", "agent_id": "a1"}),
    ("get_by_gateway_session", ("g1",), {}),
    ("get_by_gateway_session", ("g2",), {}),
    ("list_sessions_by_gateway_agent", ("a1",), {}),
    ("list_sessions_by_gateway_agent", ("a2",), {}),
    ("update_session_metadata", ("s",), {"model": "m1", "total_tokens": 7, "cost": 0.5, "source": "chat", "none": None}),
    ("update_session_metadata", ("s",), {"model": "m2", "agent_id": "a3", "k": {"deep": [1]}}),
    ("list_sessions_by_gateway_agent", ("a3",), {}),
    ("get_session_model", ("s",), {}),
    ("merge_session_metadata_map", ("s", "map", {"b": 2}), {"defaults": {"a": 0, "b": 0}}),
    ("merge_session_metadata_map", ("s", "map", {"c": 3}), {"defaults": {"b": 9, "d": 9}}),
    ("merge_session_metadata_map", ("s", "k2", {}), {}),
    ("set_runtime_state", ("s", "native", "t1", {"calls": ["c1"]}), {}),
    ("set_runtime_state", ("s", "native", "t2", {}), {}),
    ("set_runtime_state", ("s", "other", "t1", {"k": 1}), {}),
    ("set_runtime_state", ("s", "off", "t1", {"k": 1}, False), {}),
    ("get_runtime_state", ("s", "native"), {}),
    ("get_runtime_state", ("s", "native", "t1"), {}),
    ("get_runtime_state", ("s", "off"), {}),
    ("clear_runtime_state", ("s", "native"), {}),
    ("get_runtime_state", ("s", "native"), {}),
    ("get_runtime_state", ("s", "other"), {}),
    ("get_session", ("s",), {}),
    ("clear_runtime_state", ("s",), {}),
    ("recent", (), {}),
    ("rename_session", ("s", " A title "), {}),
    ("list_sessions", (), {}),
    ("search", ("billing",), {}),
    ("search", ("billing migration",), {"limit": 1, "window": 0}),
    ("search", ("nothing of it",), {"limit": 3}),
    ("search", ("",), {}),
    ("window", ("s", "0"), {"window": 0}),
    ("window", ("s", "no index"), {"window": 0}),
    ("window", ("s", None), {"window": 9}),
    ("export_session", ("s",), {}),
    ("append_compaction_checkpoint", ("s", "We spoke of billing"), {"tokens_before": 9, "tokens_after": 2}),
    ("append_compaction_checkpoint", ("s", " "), {}),
    ("get_working_history", ("s",), {}),
    ("add_user_message", ("s", "And now?"), {}),
    ("get_working_history", ("s",), {}),
    ("get_working_history", ("s", 1), {}),
    ("export_all", (), {}),
    ("set_chat_history", ("s", [{"role": "user", "content": "anew"}]), {}),
    ("get_working_history", ("s",), {}),
    ("list_sessions_by_agent", ("Assistant",), {}),
    ("get_sessions_by_agent", ("Assistant",), {}),
    ("get_agent_chat_history", ("Assistant",), {}),
    ("upsert_partial_assistant_message", ("s", "I"), {}),
    ("add_user_message", ("s", "Interrupted?"), {}),
    ("upsert_partial_assistant_message", ("s", "I think"), {"finalize": True}),
    ("get_chat_history", ("s",), {}),
    ("clear_session", ("s",), {}),
    ("get_chat_history", ("s",), {}),
    ("delete_session", ("s",), {}),
    ("session_exists", ("s",), {}),
]
TIMES = ("timestamp", "when", "created_at", "updated_at")
# Ours alone has these: in an export, and in a row of a list.
MORE = ("format", "revision")
MORE_IN_ROWS = ("revision", "size_bytes", "context", "namespace", "user_id", "metadata")
SESSION = ("session_id", "agent_name", "user_id", "gateway_session_id", "agent_id", "runtime_state", "metadata")


def plain(value: Any) -> Any:
    """Return an answer as plain data without times, and without what only one of the stores has."""
    if hasattr(value, "messages") and hasattr(value, "metadata"):
        return {**{name: getattr(value, name) for name in SESSION}, "history": value.get_chat_history()}
    if hasattr(value, "as_dict"):
        return plain(value.as_dict())
    if isinstance(value, dict) and "created_at" in value:
        left_out = (*TIMES, *(MORE_IN_ROWS if "id" in value else MORE))
        kept = {name: plain(one) for name, one in value.items() if name not in left_out}
        return {name: one for name, one in kept.items() if one not in (None, {}, [])}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items() if name not in (*TIMES, "format")}
    return [plain(one) for one in value] if isinstance(value, list) else value


def test_every_call_answers_as_praisonais_own_store(ours: PraisonStore, tmp_path: Path) -> None:
    """Goal: it goes where theirs goes, on any engine. Method: 80 calls on both, each answer compared but for its times."""
    theirs = their_store(tmp_path / "theirs")
    for number, (name, values, named) in enumerate(SCRIPT):
        assert plain(getattr(theirs, name)(*values, **named)) == plain(getattr(ours, name)(*values, **named)), (number, name)


def test_hits_are_ranked_as_in_praisonais_own_search(ours: PraisonStore, tmp_path: Path) -> None:
    """Goal: people's talks first, a conversation once. Method: two sessions of one thread, a job's, one of many messages at once; both stores."""
    theirs = their_store(tmp_path / "theirs")
    for store in (theirs, ours):
        for session_id, texts, fields in (
            ("part 1", ["billing"], {"thread_id": "t"}), ("part 2", ["billing", "billing twice"], {"root_session_id": "t"}),
            ("job", ["billing"] * 3, {"source": "cron"}), ("flagged", ["billing"] * 3, {"automated": True}), ("burst", ["billing"] * 5, {}),
            ("calm", ["billing", "billing", "x"], {}),
        ):
            for text in texts:
                store.add_user_message(session_id, text)
            store.update_session_metadata(session_id, **{"n": 1, **fields})
        for limit in (9, 2):
            found = store.search("billing", limit=limit, window=0)
            assert ["calm", "part 2", "burst", "flagged", "job"][:limit] == [hit.session_id for hit in found]
            assert [6.0, 6.0, 3.75, 2.25, 2.25][:limit] == [hit.score for hit in found]


def test_it_keeps_every_protocol_of_praisonai(ours: PraisonStore) -> None:
    """Goal: nothing is missing where they look. Method: their own runtime checks, and every public method of their store."""
    names = [name for name in vars(protocols) if name.endswith("Protocol") and name != "Protocol"]
    assert 7 == len(names)
    assert [] == [name for name in names if not isinstance(ours, getattr(protocols, name))]
    public = {name for name in vars(theirs_at.DefaultSessionStore) if not name.startswith("_") and name.islower()}
    assert {"flush_mirror", "close_mirror"} == {name for name in public if not hasattr(ours, name)}, "those drive a mirror of their own"


@pytest.mark.parametrize("call", [
    lambda s: s.update_session_metadata("s", k={1}), lambda s: s.merge_session_metadata_map("s", "k", {"k": object()}),
    lambda s: s.set_runtime_state("s", "r", "t", {"k": float("nan")}), lambda s: s.set_gateway_info("s", 5),
    lambda s: s.upsert_partial_assistant_message("s", 5), lambda s: s.upsert_partial_assistant_message("s", "\ud800"),
    lambda s: s.append("s", [{"id": "1", "timestamp": 1.0}, {"role": "user", "content": "x", "timestamp": 1.0}]),
    lambda s: s.append("s", [{"id": "1", "timestamp": 1.0, "content": {1}}]), lambda s: s.append("s", [5]),
    lambda s: s.append("s", [{"id": "1", "timestamp": float("inf")}]), lambda s: s.list_sessions(0),
])
def test_D6_what_would_not_read_back_is_refused(call: Callable[[PraisonStore], object], files: PraisonStore) -> None:
    """Goal: told where it is made, nothing written. Method: each call with what JSON cannot hold, or cannot be meant."""
    with pytest.raises((InvalidMessageError, InvalidArgumentError)):
        call(files)
    assert [] == files.list_sessions(None)


# ---- what theirs gets wrong -----------------------------------------------------------------------------------------


OPEN = """
import sys
kind, path, number = sys.argv[1:]
if kind == "ours":
    from praison_store.integrations.praisonai import PraisonStore
    store = PraisonStore(path, lock_timeout=120.0, durability="process")
else:
    from praisonaiagents.session.store import DefaultSessionStore
    store = DefaultSessionStore(session_dir=path, retention="keep_all", lock_timeout=120.0)
"""
BEGIN = OPEN + """
assert store.upsert_partial_assistant_message("s", number)
"""
TAKE_PART = OPEN + """
print("ready", flush=True)
sys.stdin.readline()
for turn in range(8):
    assert store.add_user_message("s", f"{number}-{turn}")
    assert store.merge_session_metadata_map("s", "map", {f"{number}-{turn}": turn})
    assert store.set_runtime_state("s", number, str(turn), {"turn": turn})
"""


def run(program: str, *given_values: str, path: Path) -> None:
    """Run a program to its end in a process of its own."""
    subprocess.run([sys.executable, "-c", program, *given_values], check=True, timeout=LONGEST_S, cwd=path, env=environment(path))


def environment(path: Path, url: str = "http://127.0.0.1:9") -> dict[str, str]:
    """Return what a process of PraisonAI needs, and nothing of this machine's own."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(path), "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_BASE": f"{url}/v1",
            "OPENAI_API_KEY": "none", "PRAISONAI_TELEMETRY_DISABLED": "true", "PYTHONPATH": ":".join(sys.path)}


def test_D3_two_processes_that_answer_at_once_keep_both_texts(tmp_path: Path) -> None:
    """Goal: what was stored of an answer is not another's to erase. Method: a second process begins one, then this one; on both stores."""
    kept = {}
    for kind, store in (("ours", opened("json_files", tmp_path / "ours")), ("theirs", their_store(tmp_path / "theirs"))):
        store.add_user_message("s", "Question")
        run(BEGIN, kind, str(tmp_path / kind), "The other said", path=tmp_path)
        for text in ("I say", "I say so"):
            assert store.upsert_partial_assistant_message("s", text)
        assert store.upsert_partial_assistant_message("s", "I say so.", finalize=True)
        kept[kind] = [message["content"] for message in store.get_chat_history("s")]
    assert ["Question", "The other said", "I say so."] == kept["ours"]
    assert "The other said" not in kept["theirs"], "the comparison is void"


def test_an_answer_a_dead_process_left_is_finished_by_the_next_one(files: PraisonStore, tmp_path: Path) -> None:
    """Goal: said once. Method: another process begins and ends; its text goes on here; one of a process that may be alive stays."""
    path = str(files.session_dir)
    run(BEGIN, "ours", path, "Half of", path=tmp_path)
    assert files.upsert_partial_assistant_message("s", "Half of it", finalize=True)
    assert [{"role": "assistant", "content": "Half of it"}] == files.get_chat_history("s")
    assert ({}, {}) == (files.get_session("s").messages[0].metadata, files.get_session("s").messages[0].extra)
    files.upsert_partial_assistant_message("s", "Mine")
    run(BEGIN, "ours", path, "Another's", path=tmp_path)
    assert not files.discard_partial_assistant_message("s"), "another's is last"
    assert ["Half of it", "Another's"] == [message["content"] for message in files.get_chat_history("s")]


def test_D4_two_ids_never_share_a_session(files: PraisonStore, tmp_path: Path) -> None:
    """Goal: one user reads no other's words. Method: ids theirs gives one file, on both stores."""
    theirs = their_store(tmp_path / "theirs")
    ids = ("user:1", "user/1", "user_1")
    for store in (files, theirs):
        for session_id in ids:
            store.add_user_message(session_id, f"from {session_id}")
    assert [[f"from {one}"] for one in ids] == [[m["content"] for m in files.get_chat_history(one)] for one in ids]
    assert 3 == len(theirs.get_chat_history("user:1")), "the comparison is void"


def test_D3_processes_of_praisonai_and_ours_share_a_session(tmp_path: Path) -> None:
    """Goal: no message lost while both write at once. Method: 3 processes with their store, 4 with ours; then both read."""
    path = tmp_path / "ours"
    kinds = ["theirs", "ours", "theirs", "ours", "theirs", "ours", "ours"]
    workers = [subprocess.Popen([sys.executable, "-c", TAKE_PART, kind, str(path), str(number)], text=True, cwd=tmp_path,
                                env=environment(tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
               for number, kind in enumerate(kinds)]
    for worker in workers:
        assert worker.stdout is not None
        assert "ready\n" == worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate(timeout=LONGEST_S)
        assert 0 == worker.returncode
    wanted = {f"{number}-{turn}" for number in range(7) for turn in range(8)}
    with opened("json_files", path) as ours:
        for store in (ours, their_store(path)):
            said = [message["content"] for message in store.get_chat_history("s")]
            assert (sorted(wanted), wanted) == (sorted(said), set(store.get_session("s").metadata["map"]))
            for number in range(7):
                assert [f"{number}-{turn}" for turn in range(8)] == [text for text in said if text.startswith(f"{number}-")]
                assert {f"{turn}": {"turn": turn} for turn in range(8)} == store.get_runtime_state("s", f"{number}")
        assert [] == ours.check().problems


def test_what_an_agent_notes_is_the_newest_in_both_stores(files: PraisonStore) -> None:
    """Goal: a list shows what is true by now. Method: both note a model in turns; each store's list, model and gateway links."""
    theirs = their_store(Path(str(files.session_dir)))
    for number, store in enumerate([theirs, files, theirs, files]):
        store.update_session_metadata("s", model=f"m{number}", total_tokens=number, agent_id=f"a{number}")
        for reader in (theirs, files):
            [row] = reader.list_sessions()
            assert (f"m{number}", number) == (row["model"], row["total_tokens"])
            assert f"m{number}" == reader.get_session_model("s")
            assert (["s"], []) == (reader.list_sessions_by_gateway_agent(f"a{number}"), reader.list_sessions_by_gateway_agent("a"))
    path = Path(str(files.session_dir)) / "old.json"
    path.write_text(json.dumps({"session_id": "old", "messages": [], "model": "only at the top"}))
    assert "only at the top" == theirs.get_session_model("old") == files.get_session_model("old")


# ---- carrying elsewhere ---------------------------------------------------------------------------------------------


def test_an_export_goes_from_theirs_to_ours_and_back(ours: PraisonStore, tmp_path: Path) -> None:
    """Goal: lossless both ways, with what was archived. Method: theirs with a compacted session, ours, theirs anew."""
    first, second = their_store(tmp_path / "first", max_messages=4, retention="compact"), their_store(tmp_path / "second")
    for number in range(9):
        first.add_user_message("s", f"said {number}")
    first.add_message("t", "assistant", "", tool_calls=CALLS)
    first.update_session_metadata("t", thread_id="conversation", model="m", agent_id="a1")
    first.update_session_metadata("u", thread_id="conversation")
    first.set_gateway_info("t", "g1", "a1")
    assert 3 == ours.import_sessions(first.export_all()).imported
    assert "m" == ours.get_session_model("t")
    assert (None, None) == (ours.get_session("t").gateway_session_id, ours.get_session("t").agent_id)
    assert {"t", "u"} == {one["session_id"] for one in ours.export_session("t")["sessions"]}
    assert ["t"] == [one["session_id"] for one in ours.export_session("t", include_lineage=False)["sessions"]]
    report = second.import_sessions(ours.export_all())
    assert (3, []) == (report.imported, report.skipped)
    for session_id in ("s", "t", "u"):
        before, after = first.get_session(session_id), second.get_session(session_id)
        assert [one.to_dict() for one in before.messages] == [one.to_dict() for one in after.messages]
        assert [one.to_dict() for one in before.archived_messages] == [one.to_dict() for one in after.archived_messages]
        assert {**before.metadata, "agent_id": None} == {**after.metadata, "agent_id": None}
    live = first.export_session("t", include_lineage=False)
    assert 0 == ours.import_sessions(live, reset_live_fields=False).imported
    assert 1 == ours.import_sessions(live, reset_live_fields=False, overwrite=True).imported
    assert ("g1", "a1") == (ours.get_session("t").gateway_session_id, ours.get_session("t").agent_id)


def test_an_import_lets_nothing_go(ours: PraisonStore) -> None:
    """Goal: a restore is whole whatever the store keeps. Method: ten messages into a window of two that truncates, on any engine."""
    said = [{"role": "user", "content": str(number), "timestamp": float(number), "metadata": {}} for number in range(10)]
    narrow = PraisonStore(db=ours.engine, max_messages=2, retention="truncate")
    assert 1 == narrow.import_sessions({"sessions": [{"session_id": " s ", "messages": said, "updated_at": "2026-01-01T00:00:00+00:00"}]}).imported
    assert said == narrow.export_session(" s ")["sessions"][0]["archived_messages"] + narrow.export_session(" s ")["sessions"][0]["messages"]
    assert "2026-01-01T00:00:00+00:00" == narrow.get_session(" s ").updated_at
    assert ["8", "9"] == [message["content"] for message in narrow.get_chat_history(" s ")]


def test_a_text_that_did_not_grow_is_not_written(ours: PraisonStore) -> None:
    """Goal: no write where nothing changes. Method: revisions of the same text twice, a longer one, and its end."""
    revisions = []
    for content, finalize in (("He", False), ("He", False), ("Hello", False), ("Hello", True)):
        assert ours.upsert_partial_assistant_message("s", content, finalize=finalize)
        revisions.append(ours.get_session("s").revision)
    assert [1, 1, 2, 3] == revisions
    assert [("Hello", {})] == [(message.content, message.metadata) for message in ours.get_session("s").messages]


def test_a_correction_of_a_mirror_is_one_step(ours: PraisonStore, caplog: pytest.LogCaptureFixture) -> None:
    """Goal: an ordinary correction is no warning. Method: one beside a new record, in the window and past it; then again."""
    narrow = PraisonStore(db=ours.engine, max_messages=4)
    records = [{"id": f"{number}", "timestamp": float(number), "role": "user", "content": "old"} for number in range(1, 21)]
    narrow.append("s", records[:-1])
    before = narrow.get_session("s").revision
    records[-2] = {**records[-2], "content": "new"}
    narrow.append("s", records[-2:])
    assert before + 1 == narrow.get_session("s").revision
    assert [] == [record.getMessage() for record in caplog.records]
    records[2] = {**records[2], "content": "new"}
    narrow.append("s", [records[2], records[-1]])
    assert records == narrow.load("s")
    after = narrow.get_session("s").revision
    narrow.append("s", records[-2:])
    assert after == narrow.get_session("s").revision


@pytest.mark.parametrize("payload", [
    None, {}, {"sessions": "s"}, {"version": 9, "sessions": [{"session_id": "a"}]},
    {"sessions": [5, {}, {"session_id": " "}, {"session_id": "a"}, {"session_id": "a"}]},
    {"sessions": [{"session_id": "a"}, {"session_id": "b"}, {"session_id": "c"}, {"session_id": "d"}]},
    {"sessions": [{"session_id": "a", "messages": [{"content": "x"}, {}]}, {"session_id": "b", "metadata": {"agent_id": "x"}}]},
])
def test_an_import_tells_of_every_session_it_does_not_take(payload: Any, files: PraisonStore, tmp_path: Path) -> None:
    """Goal: as hardened as theirs. Method: what is no export, on both stores, two sessions at most; twice."""
    theirs = their_store(tmp_path / "theirs")
    for _ in range(2):
        wanted, report = theirs.import_sessions(payload, max_sessions=2), files.import_sessions(payload, max_sessions=2)
        assert wanted.imported == report.imported
        assert [one["session_id"] for one in wanted.skipped] == [one["session_id"] for one in report.skipped]
        assert [one["reason"].split()[:1] for one in wanted.skipped] == [one["reason"].split()[:1] for one in report.skipped]
        for row in theirs.list_sessions():
            assert theirs.get_chat_history(row["session_id"]) == files.get_chat_history(row["session_id"])


def test_a_message_that_is_none_is_told_and_not_dropped(files: PraisonStore, tmp_path: Path) -> None:
    """Goal: no silent loss in a restore. Method: a transcript with an entry that is no object; theirs drops it."""
    payload = {"sessions": [{"session_id": "a", "messages": [{"role": "user", "content": "x"}, 5]}]}
    theirs = their_store(tmp_path / "theirs")
    assert (1, 0) == (theirs.import_sessions(payload).imported, files.import_sessions(payload).imported)
    assert 1 == len(theirs.get_chat_history("a"))
    assert "messages[1]" in files.import_sessions(payload).skipped[0]["reason"]


def test_an_export_that_would_lack_a_session_is_no_backup(tmp_path: Path) -> None:
    """Goal: as theirs, an incomplete export fails. Method: a file that is no session beside one that is."""
    with opened("json_files", tmp_path) as store:
        store.add_user_message("s", "x")
        (tmp_path / "broken.json").write_text("no json")
        with pytest.raises(StoreReadError, match="1 of 2"):
            store.export_all()


def test_a_mirror_of_theirs_has_every_message_once(ours: PraisonStore, tmp_path: Path) -> None:
    """Goal: our store behind theirs, on any engine. Method: their store with ours as its mirror, repeats, a record changed, ids of one time."""
    with opened("json_files", tmp_path / "second", retention="truncate", max_messages=2) as second:
        for mirror in (ours, second):
            local = their_store(tmp_path / "local", mirror=mirror)
            local.delete_session("s")
            local.add_user_message("s", "Hello")
            local.add_message("s", "assistant", "", tool_calls=CALLS)
            local.add_message("s", "tool", "clear", tool_call_id="c1")
            local.add_user_message("s", "Thanks")
            assert local.flush_mirror(LONGEST_S)
            local.close_mirror()
            records = mirror.load("s")
            assert [one.to_dict() for one in local.get_session("s").messages] == [
                {name: value for name, value in record.items() if name not in ("id", "session_id")} for record in records]
            mirror.append("s", records)
            assert records == mirror.load("s")
            changed = {**records[0], "content": "Hello again", "odd": [1], "metadata": {}}
            bare = {"id": "m1", "timestamp": 2}
            mirror.append("s", [changed, bare, {**bare, "role": "user", "content": "last"}, bare])
            assert [changed, *records[1:], bare] == mirror.load("s")
            assert "s" in [row["session_id"] for row in mirror.list_sessions(user_id=None)]
    assert [] == ours.load("unknown")
    ours.append("unknown", [])
    assert not ours.session_exists("unknown")
    ours.add_messages("twins", [{"role": "user", "content": "a", "timestamp": 1.0}, {"role": "user", "content": "b", "timestamp": 1.0}])
    assert 2 == len({record["id"] for record in ours.load("twins")})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=st.dictionaries(st.sampled_from(["role", "content", "metadata", "tool_calls", "message_id", "session_id", "praisonai", "odd"]), json_values))
def test_any_record_a_mirror_takes_comes_back(record: dict[str, Any]) -> None:
    """Goal: exact, or refused whole. Method: records of any JSON under names that mean something and one that does not."""
    store = PraisonStore(db=from_url("memory://"))
    whole = {**record, "id": "m1", "timestamp": 1.5}
    try:
        store.append("s", [whole])
    except InvalidMessageError:
        assert [] == store.load("s")
    else:
        assert [whole] == store.load("s")


def test_sessions_of_one_user_are_listed(ours: PraisonStore) -> None:
    """Goal: a mirror's list. Method: two users, 60 sessions: more than a list shows by default."""
    for number in range(60):
        ours.set_agent_info(f"s{number}", user_id="alice" if number % 2 else "bob")
    assert (50, 60, 30) == (len(ours.list_sessions()), len(ours.list_sessions(None)), len(ours.list_sessions(user_id="alice")))


def test_checkpoints_are_those_of_compactions_and_of_their_snapshots(tmp_path: Path) -> None:
    """Goal: what a session can be taken back to. Method: two snapshots of their hierarchical store, and a compaction of ours."""
    theirs = HierarchicalSessionStore(session_dir=str(tmp_path))
    with opened("json_files", tmp_path) as ours:
        session_id = theirs.create_session(title="t")
        for text in ("one", "two"):
            theirs.add_message(session_id, "user", text)
            theirs.create_snapshot(session_id, label=f"after {text}")
        assert ours.append_compaction_checkpoint(session_id, "in short", tokens_before=9)
        listed = ours.list_checkpoints(session_id)
        assert ["after one", "after two", None] == [one["label"] for one in listed]
        assert [] == [one for one in listed if "summary" in one or "transcript" in one]
        found = [ours.get_checkpoint(session_id, one["id"]) or {} for one in listed]
        assert [["one"], ["one", "two"]] == [[m["content"] for m in one["transcript"]["messages"]] for one in found[:2]]
        assert ("in short", 2, 9) == (found[2]["summary"], found[2]["message_index"], found[2]["tokens_before"])
        assert ours.get_checkpoint(session_id, "none") is None
        assert [] == ours.list_checkpoints("unknown")
        # Theirs still takes the session back to its first snapshot after our write.
        theirs = HierarchicalSessionStore(session_dir=str(tmp_path))
        assert theirs.revert_to_snapshot(session_id, listed[0]["id"])
        assert [{"role": "user", "content": "one"}] == ours.get_chat_history(session_id)


# ---- other frameworks' sessions -------------------------------------------------------------------------------------


def test_an_agent_is_told_another_frameworks_session_in_the_chat_form(tmp_path: Path) -> None:
    """Goal: what an OpenAI or Anthropic agent said is read. Method: items, parts and plain messages; then a checkpoint among them."""
    import asyncio

    with opened("json_files", tmp_path) as store:
        items: list[Any] = [one for one in ITEMS if one.get("type") in ("function_call", "function_call_output", "reasoning")]
        asyncio.run(PraisonSession("openai", store).add_items([{"role": "user", "content": "a"}, *items, {"role": "assistant", "content": "b"}]))
        history = store.get_chat_history("openai")
        assert ["user", "assistant", "tool", "tool", "assistant"] == [m["role"] for m in history]
        assert ["c1", "c2"] == [call["id"] for call in history[1]["tool_calls"]], "calls of one turn are one message's"
        store.add_messages("anthropic", from_anthropic([
            {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "clear"}, {"type": "text", "text": "So?"}]},
        ]))
        wanted = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": CALLS},
                  {"role": "tool", "content": "clear", "tool_call_id": "c1"}, {"role": "user", "content": "So?"}]
        assert wanted == store.get_chat_history("anthropic") == store.get_working_history("anthropic")
        assert wanted[-1:] == store.get_chat_history("anthropic", 1) == store.get_chat_history("anthropic", max_tokens=1)
        store.append_compaction_checkpoint("anthropic", "in short")
        store.add_messages("anthropic", [{"role": "user", "content": [{"type": "input_text", "text": "And?"}]}])
        assert [{"role": "system", "content": "in short"}, {"role": "user", "content": "And?"}] == store.get_working_history("anthropic")
        assert [{"role": "system", "content": "in short"}] == store.get_working_history("anthropic", 1)
        said: list[dict[str, Any]] = [{"role": "assistant", "content": "", "tool_calls": CALLS}, {"role": "tool", "content": "clear", "tool_call_id": "c1"},
                {"role": "user", "content": [{"type": "text", "text": "one part"}]},
                {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u"}}]}]
        store.add_messages("plain", said)
        assert said == store.get_chat_history("plain"), "what is in the chat form stays as it was given"


# ---- in their place -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_clean")
def test_it_is_put_in_their_place_and_taken_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Goal: idempotent both ways. Method: install, install, another store, uninstall, uninstall; what their functions return."""
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "theirs"))
    monkeypatch.delenv("PRAISON_SESSION_DIR", raising=False)
    monkeypatch.setattr(theirs_at, "_default_store", None)
    before = theirs_at.get_default_session_store()
    before.add_user_message("s", "Hello from before")
    store = install()
    assert store is install() is theirs_at.get_default_session_store()
    assert [{"role": "user", "content": "Hello from before"}] == store.get_chat_history("s"), "their sessions go on"
    other = DefaultSessionStore(db=from_url("memory://"), max_messages=7, retention="truncate")
    chosen = install(other)
    assert (other.engine, 7, "truncate") == (chosen.engine, chosen.max_messages, chosen.retention)
    assert chosen is install(chosen) is install() is theirs_at.get_default_session_store()
    for _ in range(2):
        uninstall()
        assert before is theirs_at.get_default_session_store()
    monkeypatch.setenv("PRAISON_SESSION_DIR", str(tmp_path / "ours"))
    monkeypatch.setenv("PRAISONAI_SESSION_RETENTION", "keep_all")
    monkeypatch.setenv("PRAISONAI_SESSION_ACTIVE_WINDOW", "5")
    store = install()
    assert (str(tmp_path / "ours"), "keep_all", 5) == (store.session_dir, store.retention, store.max_messages)
    theirs_at._default_store = mine = object()
    uninstall()
    assert mine is theirs_at._default_store, "what somebody else put there stays"


@pytest.mark.usefixtures("_clean")
def test_what_cannot_be_installed_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: no store; variables that cannot be meant; nothing is changed."""
    monkeypatch.setenv("PRAISON_SESSION_DIR", str(tmp_path))
    before = theirs_at._default_store
    with pytest.raises(InvalidArgumentError):
        install(5)  # type: ignore[arg-type] # the point of the test
    for name, value in (("PRAISONAI_SESSION_RETENTION", "some"), ("PRAISONAI_SESSION_ACTIVE_WINDOW", "x")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(InvalidArgumentError):
                install()
    assert before is theirs_at._default_store


@pytest.mark.usefixtures("_clean")
def test_their_session_and_their_search_tool_use_it(ours: PraisonStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: what asks for the default store gets ours. Method: their Session keeps agents' histories; their tool searches."""
    monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "home"))
    install(ours)
    session = Session.__new__(Session)
    session.__dict__.update(session_id="parent", is_remote=False, agents_url=None)
    session._agents = {f"a{number}": {"agent": None, "chat_history": [{"role": "user", "content": f"to {number}"}]} for number in range(3)}
    session._save_agent_chat_histories()
    assert [{"role": "user", "content": "to 1"}] == session._restore_agent_chat_history("a1")
    ours.add_user_message("s", "About the billing migration")
    tools = SessionTools()
    assert ["s"] == [hit["session_id"] for hit in json.loads(tools.session_search("billing"))["results"]]
    assert ["About the billing migration"] == [m["content"] for m in json.loads(tools.session_search(session_id="s", around_message_id="first"))["messages"]]
    assert {"s", "parent"} == {hit["session_id"] for hit in json.loads(tools.session_search())["results"]}


AGENT = """
import sys
from praisonaiagents import Agent
if sys.argv[1] == "ours":
    from praison_store.integrations.praisonai import install
    install()
agent = Agent(name="Assistant", instructions="Be brief.", llm="gpt-4o-mini", memory={"session_id": "s"})
print("ANSWER", agent.start(sys.argv[2]))
"""
TEAM = """
import sys
from praisonaiagents import Agent, AgentTeam, Task
from praison_store import DefaultSessionStore
from praison_store.engines.urls import from_url
from praison_store.integrations.praisonai import install
install(DefaultSessionStore(db=from_url(sys.argv[1])))
agent = Agent(name="Assistant", instructions="Be brief.", llm="gpt-4o-mini")
task = Task(description="What is the name of the moon?", expected_output="A name", agent=agent)
team = AgentTeam(agents=[agent], tasks=[task])
if sys.argv[2] == "first":
    team.start()
    team.set_state("asked", {"times": 1})
    assert team.save_session_state("team"), "not saved"
else:
    assert team.restore_session_state("team"), "not restored"
    print("ANSWER", team.get_state("asked"), [one.status for one in team.tasks.values()])
"""


def said_by(program: str, url: str, path: Path, *given_values: str) -> str:
    """Run a program with PraisonAI in a process of its own, and return its answer."""
    done = subprocess.run([sys.executable, "-c", program, *given_values], env=environment(path, url), capture_output=True, text=True,
                          timeout=LONGEST_S, check=False, cwd=path)
    assert 0 == done.returncode, done.stderr[-2000:]
    return ([line for line in done.stdout.splitlines() if line.startswith("ANSWER")] or [""])[-1]


def test_a_real_agent_remembers_in_another_process_with_either_store(tmp_path: Path) -> None:
    """Goal: the documented example, beside processes that have not changed. Method: ours, PraisonAI's own store, ours, on one directory."""
    with service() as model:
        assert "ANSWER Nice to meet you" == said_by(AGENT, model.url, tmp_path, "ours", "My name is Alice")
        for kind in ("theirs", "ours"):
            assert "ANSWER Your name is Alice" == said_by(AGENT, model.url, tmp_path, kind, "What is my name?")
    path = tmp_path / ".praisonai" / "sessions"
    for store in (DefaultSessionStore(path), their_store(path)):
        assert ["My name is Alice", "Nice to meet you", "What is my name?", "Your name is Alice", "What is my name?",
                "Your name is Alice"] == [message["content"] for message in store.get_chat_history("s")]
        assert ("Assistant", "gpt-4o-mini") == (store.get_session("s").agent_name, store.get_session("s").metadata["model"])
    assert b'"revision"' in (path / "s.json").read_bytes(), "our store wrote it last"


def test_a_team_goes_on_in_another_process(tmp_path: Path) -> None:
    """Goal: a team's state on a database. Method: one process runs its task and saves, the next one restores; SQLite."""
    url = f"sqlite:///{tmp_path}/team.db"
    with service() as model:
        said_by(TEAM, model.url, tmp_path, url, "first")
        assert "ANSWER {'times': 1} ['completed']" == said_by(TEAM, model.url, tmp_path, url, "second")
