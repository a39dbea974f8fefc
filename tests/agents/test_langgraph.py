"""LangGraph on our store: its own conformance suite, and a thread that several runs continue at once."""

from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance.initializer import checkpointer_test
from langgraph.checkpoint.conformance.validate import validate
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from praison_store import DefaultSessionStore, InvalidArgumentError, InvalidMessageError, InvalidSessionIdError
from praison_store.engines.memory import MemoryEngine
from praison_store.engines.sql import SqlEngine
from praison_store.integrations.langgraph import PraisonSaver
from praison_store.integrations.langgraph_merge import merged_messages

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import postgresql_url

LONGEST_S = 120.0
PLACES: dict[str, Callable[[Path], str]] = {
    "json": str, "sqlite": lambda path: f"sqlite:///{path}/s.db", "postgresql": postgresql_url, "memory": lambda _path: "memory"}
Graph = Any
opened: list[DefaultSessionStore] = []


def store_at(place: str) -> DefaultSessionStore:
    """Return a store on a directory, a database or in memory; it is closed when the test ends."""
    db = MemoryEngine() if place == "memory" else SqlEngine(place) if "://" in place else None
    opened.append(DefaultSessionStore(place, durability="process", db=db))
    return opened[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


def config_of(thread: str = "t", **more: Any) -> Any:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": thread, **more}}


def texts(graph: Graph, thread: str = "t") -> list[str]:
    """Return what the newest checkpoint of a thread says."""
    return [message.content for message in graph.get_state(config_of(thread)).values["messages"]]


def echoing(saver: Any, meet: Callable[[], Any] = lambda: None) -> Graph:
    """Return a graph of two steps that calls a tool and answers; runs meet after they loaded the thread."""
    def ask(state: MessagesState) -> dict[str, Any]:
        meet()
        said = state["messages"][-1].content
        return {"messages": [AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": f"call-{said}"}])]}

    def answer(state: MessagesState) -> dict[str, Any]:
        call = state["messages"][-1].tool_calls[0]["id"]  # type: ignore[union-attr] # an AIMessage by now
        return {"messages": [ToolMessage("found", tool_call_id=call), AIMessage(f"answer to {call.removeprefix('call-')}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_node("answer", answer)
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


# ---- LangGraph's own suite ------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["json", "sqlite", "memory"])
def test_it_passes_the_conformance_suite_of_langgraph(engine: str, tmp_path: Path) -> None:
    """Goal: it goes where SqliteSaver goes. Method: every test of the suite, none left out, on three engines."""
    places = iter(range(99))

    @checkpointer_test(name=engine)
    async def fresh() -> AsyncIterator[PraisonSaver]:
        path = tmp_path / str(next(places))
        path.mkdir()
        yield PraisonSaver(store_at(PLACES[engine](path)))

    report = asyncio.run(validate(fresh))
    assert {} == {name: result.failures for name, result in report.results.items() if result.failures}
    assert "FULL" == report.conformance_level()
    assert 81 <= sum(result.tests_passed for result in report.results.values())
    assert all(result.detected for result in report.results.values())


# ---- what is kept ---------------------------------------------------------------------------------------------


def conversation(saver: Any) -> list[Any]:
    """Run a graph twice, with an interrupt, an update and a fork; return every state LangGraph shows of it."""
    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"you said {interrupt('go on?')}", id=f"a{len(state['messages'])}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"messages": [HumanMessage("hi", id="h1")]}, config_of())
    graph.invoke(Command(resume="yes"), config_of())
    graph.update_state(config_of(), {"messages": [HumanMessage("edited", id="h1")]})
    graph.invoke({"messages": [HumanMessage("more", id="h2")]}, config_of())
    waiting = next(state for state in graph.get_state_history(config_of()) if state.next == ("ask",) and state.metadata["step"] < 2)
    graph.invoke(Command(resume="no"), waiting.config)
    return [(state.values, state.next, state.metadata, [(task.name, [each.value for each in task.interrupts]) for task in state.tasks],
             state.parent_config is None) for state in graph.get_state_history(config_of())]


@pytest.mark.parametrize("engine", PLACES)
def test_a_single_run_sees_what_langgraphs_own_saver_shows(engine: str, tmp_path: Path) -> None:
    """Goal: nothing is different while nobody else writes. Method: interrupt, resume, update and fork on both savers."""
    theirs, ours = conversation(InMemorySaver()), conversation(PraisonSaver(store_at(PLACES[engine](tmp_path))))
    assert 6 < len(theirs)
    assert theirs == ours


def test_the_awaited_graph_does_the_same(tmp_path: Path) -> None:
    """Goal: usable with asyncio. Method: ainvoke and the awaited twins, then the history read both ways."""
    async def main() -> None:
        saver = PraisonSaver(store_at(str(tmp_path)))
        graph = echoing(saver)
        await graph.ainvoke({"messages": [HumanMessage("a")]}, config_of())
        await saver.acopy_thread("t", "copy")
        await saver.aprune(["copy"])
        assert 1 == len([one async for one in saver.alist(config_of("copy"))])
        assert texts(graph) == texts(graph, "copy")
        latest = await saver.aget_tuple(config_of())
        assert [one async for one in saver.alist(config_of(), limit=1)] == [latest] == [*saver.list(config_of(), limit=1)]
        await saver.adelete_thread("t")
        assert await saver.aget_tuple(config_of()) is None

    asyncio.run(main())


def test_a_long_thread_is_read_whole(tmp_path: Path) -> None:
    """Goal: a thread may be longer than a window. Method: 300 checkpoints of two namespaces, every one by id, and listed."""
    saver = PraisonSaver(DefaultSessionStore(tmp_path, max_messages=3, retention="truncate", durability="process"))
    first = saver.put(config_of(checkpoint_ns="sub"), empty_checkpoint(), {"step": -1}, {})
    put: list[Any] = [config_of(checkpoint_ns="")]
    for step in range(300):
        put.append(saver.put(put[-1], {**empty_checkpoint(), "channel_values": {"n": step}}, {"step": step}, {}))
    assert list(range(300))[::-1] == [one.checkpoint["channel_values"]["n"] for one in saver.list(config_of(checkpoint_ns=""))]
    for step in (0, 150, 299):
        told = saver.get_tuple(put[step + 1])
        assert told is not None
        assert step == told.checkpoint["channel_values"]["n"]
    sub = saver.get_tuple(config_of(checkpoint_ns="sub"))
    assert sub is not None
    assert first == sub.config
    assert 301 == len([*saver.list(None)])
    saver.put(first, {**empty_checkpoint(), "id": put[1]["configurable"]["checkpoint_id"], "channel_values": {"n": "again"}}, {}, {})
    saver.put({"configurable": {"thread_id": "t"}}, {**empty_checkpoint(), "id": put[1]["configurable"]["checkpoint_id"], "channel_values": {"n": "again"}}, {}, {})
    assert ["again", 1] == [one.checkpoint["channel_values"]["n"] for one in saver.list(config_of(checkpoint_ns=""))][:-3:-1]


def test_no_two_ids_meet(tmp_path: Path) -> None:
    """Goal: no thread, namespace or checkpoint is another's. Method: ids made of what separates them."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    names = ["a", "a:b", "a/b", "a%3Ab", "a|b", "A", "..", "praison_store:langgraph", "ü" * 300]
    told = {}
    for thread in names:
        for ns in ["", *names]:
            for checkpoint_id in names[:5]:
                written = saver.put(config_of(thread, checkpoint_ns=ns), {**empty_checkpoint(), "id": checkpoint_id, "channel_values": {"n": len(told)}}, {}, {})
                told[thread, ns, checkpoint_id] = (written, len(told))
    for (thread, ns, checkpoint_id), (written, number) in told.items():
        read = saver.get_tuple(written)
        assert read is not None
        assert (number, checkpoint_id) == (read.checkpoint["channel_values"]["n"], read.checkpoint["id"])
        assert {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id} == read.config["configurable"]
    saver.delete_thread("a")
    assert set(names) - {"a"} == {one.config["configurable"]["thread_id"] for one in saver.list(None)}
    assert [] == [path for path in tmp_path.rglob("*.json") if path.parent.name.endswith("%2Fa")]


def test_D6_what_cannot_be_meant_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    """Goal: the mistake is told where it is made. Method: each, wrong; the directory stays empty."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    wrong: list[tuple[type[Exception], Callable[[], Any]]] = [
        (InvalidArgumentError, lambda: PraisonSaver(5)),  # type: ignore[arg-type] # the point of the test
        (InvalidArgumentError, lambda: PraisonSaver(merge="messages")),
        (InvalidArgumentError, lambda: saver.get_tuple({"configurable": {}})),
        (InvalidArgumentError, lambda: saver.put_writes(config_of(), [("a", 1)], "task")),
        (InvalidArgumentError, lambda: saver.prune(["t"], strategy="some")),
        (InvalidArgumentError, lambda: saver.prune("t")),
        (InvalidArgumentError, lambda: saver.delete_for_runs("r")),
        (InvalidSessionIdError, lambda: saver.put(config_of(""), empty_checkpoint(), {}, {})),
        (InvalidSessionIdError, lambda: saver.put(config_of("\ud800"), empty_checkpoint(), {}, {})),
        (InvalidMessageError, lambda: saver.put_writes(config_of(checkpoint_id="c"), [("\ud800", 1)], "task")),
        (TypeError, lambda: saver.put(config_of(), {**empty_checkpoint(), "channel_values": {"x": threading.Lock()}}, {}, {})),
    ]
    for kind, call in wrong:
        with pytest.raises(kind):
            call()
    assert [] == [*tmp_path.rglob("*.json")]


def joined(state: list[str], writes: list[list[str]]) -> list[str]:
    """Return a list with what was written behind it."""
    return [*state, *(one for write in writes for one in write)]


class Words(TypedDict):
    """A state whose list is stored as what is added to it, and whole at every fourth time."""

    words: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=4)]


def test_pruning_keeps_what_a_delta_channel_is_rebuilt_from(tmp_path: Path) -> None:
    """Goal: keep_latest loses nothing of the newest state. Method: a DeltaChannel between two snapshots, pruned at every length."""
    builder = StateGraph(Words)
    builder.add_node("say", lambda state: {"words": [f"w{len(state['words'])}"]})
    builder.add_edge(START, "say")
    saver = PraisonSaver(store_at(str(tmp_path)))
    graph = builder.compile(checkpointer=saver)
    wanted: list[str] = []
    kept: list[int] = []
    for turn in range(7):
        graph.invoke({"words": [f"u{turn}"]}, config_of())
        wanted += [f"u{turn}", f"w{len(wanted) + 1}"]
        saver.prune(["t"])
        assert wanted == graph.get_state(config_of()).values["words"]
        kept.append(len([*saver.list(config_of())]))
    assert 1 < max(kept) < 7, "either nothing was rebuilt, or nothing was pruned"


# ---- several runs of one thread -------------------------------------------------------------------------------


def run_in_threads(saver: Any, names: list[str]) -> Graph:
    """Let runs of one thread meet after each has loaded it; return the graph."""
    graph = echoing(saver)
    graph.invoke({"messages": [HumanMessage("first")]}, config_of())
    barrier = threading.Barrier(len(names))
    meeting = echoing(saver, lambda: barrier.wait(LONGEST_S))
    runs = [threading.Thread(target=meeting.invoke, args=({"messages": [HumanMessage(name)]}, config_of())) for name in names]
    for run in runs:
        run.start()
    for run in runs:
        run.join(LONGEST_S)
    return graph


def whole(names: list[str]) -> set[tuple[str, ...]]:
    """Return the exchanges a thread has when none is lost."""
    return {(name, "", "found", f"answer to {name}") for name in ["first", *names]}


def exchanges(said: list[str]) -> set[tuple[str, ...]]:
    """Return what was said, four by four."""
    return {tuple(said[at : at + 4]) for at in range(0, len(said), 4)}


@pytest.mark.parametrize("engine", PLACES)
def test_D3_runs_of_one_thread_at_once_keep_every_message_where_langgraphs_own_saver_loses(engine: str, tmp_path: Path) -> None:
    """Goal: the newest checkpoint holds all. Method: 4 runs load the same checkpoint; on InMemorySaver the last one wins."""
    names = [f"n{number}" for number in range(4)]
    for saver in (InMemorySaver(), PraisonSaver(store_at(PLACES[engine](tmp_path)), merge=[])):
        lossy = texts(run_in_threads(saver, names))
        assert 1 == sum(text.startswith("answer to n") for text in lossy), "the comparison is void"
    (tmp_path / "own").mkdir()
    graph = run_in_threads(PraisonSaver(store_at(PLACES[engine](tmp_path / "own"))), names)
    assert whole(names) == exchanges(texts(graph))
    graph.invoke({"messages": [HumanMessage("last")]}, config_of())
    assert whole([*names, "last"]) == exchanges(texts(graph))
    ids = [message.id for message in graph.get_state(config_of()).values["messages"]]
    assert len(ids) == len(set(ids))


def run_in_a_process(place: str, name: str, barrier: Barrier) -> None:
    """Run a graph three times, as one of several processes that load the same checkpoint at first."""
    with store_at(place) as store:
        graph = echoing(PraisonSaver(store), lambda: barrier.wait(LONGEST_S))
        for turn in range(3):
            graph.invoke({"messages": [HumanMessage(f"{name}-{turn}")]}, config_of())


def test_D3_processes_run_one_thread_at_once_and_no_message_is_lost(tmp_path: Path) -> None:
    """Goal: the same across processes. Method: 4 processes run it 3 times each, and meet in each run after they loaded."""
    place = str(tmp_path)
    graph = echoing(PraisonSaver(store_at(place)))
    graph.invoke({"messages": [HumanMessage("first")]}, config_of())
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    workers = [context.Process(target=run_in_a_process, args=(place, f"p{number}", barrier)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONGEST_S)
        assert 0 == worker.exitcode
    assert whole([f"p{number}-{turn}" for number in range(4) for turn in range(3)]) == exchanges(texts(graph))


def beginning(saver: PraisonSaver, thread: str = "t") -> Any:
    """Return the config a run loads."""
    told = saver.get_tuple(config_of(thread))
    return config_of(thread, checkpoint_ns="") if told is None else told.config


def say(saver: PraisonSaver, config: Any, *messages: AnyMessage, source: Any = "loop") -> Any:
    """Put a checkpoint with messages, as a run does."""
    checkpoint = {**empty_checkpoint(), "channel_values": {"messages": [*messages]}, "channel_versions": {"messages": "1"}}
    return saver.put(config, checkpoint, {"source": source}, {"messages": "1"})  # type: ignore[arg-type] # a dict of its fields


def newest(saver: PraisonSaver) -> list[Any]:
    """Return the messages of the newest checkpoint."""
    told = saver.get_tuple(config_of())
    assert told is not None
    return list(told.checkpoint["channel_values"]["messages"])


A, B, C, D = (HumanMessage(name, id=name) for name in "abcd")


def test_a_thread_copied_again_keeps_what_the_copy_wrote(tmp_path: Path) -> None:
    """Goal: no write is lost. Method: a copy that was written on, or begun by a write, then the same copy again."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    source = say(saver, beginning(saver), A)
    saver.put_writes(source, [("x", "of the source")], "task")
    copied: Any = {"configurable": {**source["configurable"], "thread_id": "copy"}}
    saver.put_writes(copied, [("y", "of the copy")], "other task")
    for _ in range(2):
        saver.copy_thread("t", "copy")
        told = saver.get_tuple(copied)
        assert told is not None
        assert {"of the source", "of the copy"} == {value for _, _, value in told.pending_writes or ()}
    saver.put_writes(copied, [("y", "later")], "third task")
    saver.copy_thread("t", "copy")
    told = saver.get_tuple(copied)
    assert told is not None
    assert {"of the source", "of the copy", "later"} == {value for _, _, value in told.pending_writes or ()}
    assert [A] == told.checkpoint["channel_values"]["messages"]


def test_what_one_run_deletes_or_edits_stays_so_while_another_adds(tmp_path: Path) -> None:
    """Goal: a merge is of changes, not of lists. Method: two runs step by step, each knowing its own messages alone."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    say(saver, beginning(saver), A, B)
    one, two = beginning(saver), beginning(saver)
    edited = HumanMessage("edited", id="b")
    one = say(saver, one, edited)
    two = say(saver, two, A, B, C)
    assert [edited, C] == newest(saver)
    one = say(saver, one, edited, D)
    assert [edited, C, D] == newest(saver)
    two = say(saver, two, A, B, C, HumanMessage("e", id="e"))
    assert ["edited", "c", "e", "d"] == [message.content for message in newest(saver)]
    two = say(saver, two, A, B, HumanMessage("e", id="e"))
    assert ["edited", "e", "d"] == [message.content for message in newest(saver)]
    say(saver, beginning(saver))
    assert [] == newest(saver)
    say(saver, one, edited, D, A)
    assert [A] == newest(saver)


def test_two_runs_begin_a_thread_at_once(tmp_path: Path) -> None:
    """Goal: the first message is no exception. Method: both load nothing; the channel the other has comes with its version."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    one = two = beginning(saver)
    one = say(saver, one, A)
    empty = saver.put(two, {**empty_checkpoint(), "channel_versions": {"__start__": "1"}}, {"source": "input"}, {})
    told = saver.get_tuple(config_of())
    assert told is not None
    assert {"messages": "1", "__start__": "1"} == told.checkpoint["channel_versions"]
    say(saver, empty, B)
    assert [A, B] == newest(saver)


def test_going_back_in_time_is_no_merge_but_what_comes_next_is(tmp_path: Path) -> None:
    """Goal: a fork is what was asked for. Method: from an old checkpoint, as a run and as LangGraph's fork; then another writes."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    first = say(saver, beginning(saver), A)
    say(saver, beginning(saver), A, B)
    late = beginning(saver)
    old = saver.get_tuple(first)
    assert old is not None
    fork = say(saver, old.config, A, C)
    assert [A, C] == newest(saver)
    say(saver, late, A, B, D)
    assert [A, C, D] == newest(saver)
    say(saver, fork, A, C, HumanMessage("e", id="e"))
    assert ["a", "c", "e", "d"] == [message.content for message in newest(saver)]
    say(saver, first, A, source="fork")
    assert [A] == newest(saver)


def test_an_id_that_names_the_newest_checkpoint_goes_on_with_it(tmp_path: Path) -> None:
    """Goal: naming the newest is no fork. Method: two runs by the id update_state returned."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    first = say(saver, beginning(saver), A)
    one, two = saver.get_tuple(first), saver.get_tuple(first)
    assert one is not None
    assert two is not None
    say(saver, one.config, A, B)
    say(saver, two.config, A, C)
    assert [A, B, C] == newest(saver)


def test_channels_that_are_no_conversation_are_left_alone(tmp_path: Path) -> None:
    """Goal: nothing is guessed. Method: messages without ids, other lists, a channel that is not named, on two runs."""
    def put(saver: PraisonSaver, config: Any, mark: str) -> None:
        values = {"plain": [mark], "nameless": [HumanMessage(mark)], "messages": [HumanMessage(mark, id=mark)],
                  "notes": [HumanMessage(mark, id=mark)], "__start__": [HumanMessage(mark, id=mark)]}
        saver.put(config, {**empty_checkpoint(), "channel_values": values, "channel_versions": dict.fromkeys(values, "1")}, {}, {})

    saver = PraisonSaver(store_at(str(tmp_path)), merge=["messages", "plain", "nameless", "__start__"])
    config = beginning(saver)
    put(saver, config, "x")
    put(saver, config, "y")
    told = saver.get_tuple(config_of())
    assert told is not None
    read = {name: [getattr(one, "content", one) for one in value] for name, value in told.checkpoint["channel_values"].items()}
    assert {"plain": ["y"], "nameless": ["y"], "messages": ["x", "y"], "notes": ["y"], "__start__": ["y"]} == read


def test_a_merge_keeps_a_result_behind_its_call() -> None:
    """Goal: what is sent to a model is taken. Method: two exchanges that are put in turns, every result and answer in its place."""
    def on(theirs: list[Any], before: list[Any], after: list[Any]) -> list[Any]:
        return merged_messages([A], before, theirs, after)

    call = [AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": str(n)}], id=f"call{n}") for n in range(2)]
    result = [ToolMessage("x", tool_call_id=str(n), id=f"result{n}") for n in range(2)]
    both: list[Any] = on([A], [A], [A, B, call[0]])
    both = on(both, [A], [A, C, call[1]])
    assert [A, B, call[0], C, call[1]] == both
    both = on(both, [A, B, call[0]], [A, B, call[0], result[0]])
    both = on(both, [A, C, call[1]], [A, C, call[1], result[1], D])
    assert [A, B, call[0], result[0], C, call[1], result[1], D] == both
    assert [D, A, B] == merged_messages([A], [A], [A, B], [D, A])
    assert [B, D] == merged_messages([A], [A], [A, B], [D])


def test_a_thread_deleted_while_it_is_put_is_gone_or_whole(tmp_path: Path) -> None:
    """Goal: no checkpoint without its state. Method: one thread puts, one deletes, in a race; what is listed is read."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    done = threading.Event()

    def deleting() -> None:
        while not done.is_set():
            saver.delete_thread("t")

    deleter = threading.Thread(target=deleting)
    deleter.start()
    for number in range(40):
        say(saver, config_of(checkpoint_ns=""), HumanMessage("x", id=str(number)))
    done.set()
    deleter.join(LONGEST_S)
    say(saver, config_of(checkpoint_ns=""), D)
    assert D in newest(saver)
    saver.delete_thread("t")
    assert [] == [*tmp_path.rglob("*.json")]


RUN = """
import sys
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from stand_in import remembering
from praison_store.integrations.langgraph import PraisonSaver

def chat(state):
    return {"messages": [AIMessage(remembering([{"content": message.content} for message in state["messages"]]))]}

builder = StateGraph(MessagesState).add_node(chat).add_edge(START, "chat")
for saver in (PraisonSaver(), InMemorySaver()):
    graph = builder.compile(checkpointer=saver)
    told = graph.invoke({"messages": [("user", sys.argv[1])]}, {"configurable": {"thread_id": "t"}})
    print(type(saver).__name__, told["messages"][-1].content)
"""


def test_a_real_graph_remembers_in_another_process(tmp_path: Path) -> None:
    """Goal: the documented example. Method: two processes; LangGraph's own saver forgets in the second."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    wanted = (("My name is Alice", "PraisonSaver Nice to meet you", "InMemorySaver Nice to meet you"),
              ("What is my name?", "PraisonSaver Your name is Alice", "InMemorySaver You did not tell me"))
    for prompt, *answers in wanted:
        done = subprocess.run([sys.executable, "-c", RUN, prompt], env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False, cwd=tmp_path)
        assert 0 == done.returncode, done.stderr[-2000:]
        assert answers == done.stdout.splitlines()


def test_a_message_removed_in_a_graph_stays_away(tmp_path: Path) -> None:
    """Goal: RemoveMessage means what it says. Method: one run removes while another, which loaded before, goes on."""
    saver = PraisonSaver(store_at(str(tmp_path)))
    graph = echoing(saver)
    graph.invoke({"messages": [A]}, config_of())
    meeting = echoing(saver, lambda: graph.update_state(config_of(), {"messages": [RemoveMessage(id="a")]}, as_node="answer"))
    meeting.invoke({"messages": [B]}, config_of())
    assert ["", "found", "answer to a", "b", "", "found", "answer to b"] == texts(graph)
