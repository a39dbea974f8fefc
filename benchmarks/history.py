"""
What does reading the history cost: when nothing changed, and when another process wrote since?

100 messages of 200 bytes. The other process is a second store on the same directory, which shares no memory with the
first; what it writes is not timed. The floor of an unchanged session is one stat and a copy of the messages, of a
changed one it is one read of the file and one decoding of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from . import floor
from .harness import Contender, interleaved, ratio
from .report import Report
from .stores import LANGCHAIN, OPENAI, SESSION, Kind, Store, installed, ours, praisonai, text_of

MESSAGES = 100
OURS = ours("process", retention="truncate")
THEIRS = praisonai(retention="truncate")


def measure(report: Report) -> None:
    """Measure both cases on the same stores."""
    peers = installed([THEIRS, OPENAI, LANGCHAIN], report.note)
    texts = [text_of(f"message {number} ") for number in range(MESSAGES)]
    readers = {kind.name: _opened(kind, report.directory / kind.name, texts) for kind in (OURS, *peers)}
    writers = {kind.name: kind.open(report.directory / kind.name) for kind in (OURS, *peers)}
    path = f"{report.directory}/{OURS.name}/{SESSION}.json"
    rounds = report.rounds(1000, 20)

    floor_name = "floor: stat and copy"
    timings = interleaved(
        [*(Contender(name, store.history) for name, store in readers.items()),
         Contender(floor_name, _copying(path))], rounds,
    )
    report.times("unchanged", timings, floors=dict.fromkeys(readers, floor_name), ours=OURS.name)
    report.bar("unchanged: times as fast as PraisonAI", ">=", 12.0, ratio(timings, THEIRS.name, OURS.name))

    floor_name = "floor: read and decode"
    timings = interleaved(
        [*(Contender(name, store.history, _writing(name, writers[name], texts)) for name, store in readers.items()),
         Contender(floor_name, _decoding(path))], rounds,
    )
    report.times("after another process wrote", timings, floors=dict.fromkeys(readers, floor_name), ours=OURS.name)
    report.bar("another wrote: times as fast as PraisonAI", ">=", 5.0, ratio(timings, THEIRS.name, OURS.name))
    for store in (*readers.values(), *writers.values()):
        store.close()


def _opened(kind: Kind, directory: Path, texts: list[str]) -> Store:
    directory.mkdir(parents=True)
    store = kind.open(directory)
    store.fill(texts)
    return store


def _writing(name: str, store: Store, texts: list[str]) -> Callable[[], object]:
    if name == LANGCHAIN.name:
        return lambda: store.fill(texts)  # its file would grow with every message
    return lambda: store.add(texts[0])


def _copying(path: str) -> Callable[[], None]:
    messages = _decoded(path)

    def copy() -> None:
        os.stat(path)
        _ = [{"role": message["role"], "content": message["content"]} for message in messages]

    return copy


def _decoding(path: str) -> Callable[[], None]:
    def decode() -> None:
        _decoded(path)

    return decode


def _decoded(path: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = orjson.loads(floor.read_bytes(path))["messages"]
    return messages
