"""The table of filter cases, on `evaluate` and on every engine's find and count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from filter_cases import CASES, fill
from places import EACH, ENGINES

from praison_store.engines import Engine
from praison_store.engines.memory import MemoryEngine
from praison_store.model.filters import evaluate, from_dict, from_query, to_dict, to_query
from praison_store.model.session import SessionInfo


@pytest.fixture(scope="module")
def infos() -> list[SessionInfo]:
    """Return the table's sessions."""
    engine = MemoryEngine()
    fill(engine)
    return list(engine.find())


@pytest.fixture(scope="module", params=EACH)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Give an engine with the table's sessions; no case changes it."""
    path: Path = tmp_path_factory.mktemp(request.param) / "place"
    engine = ENGINES[request.param](path)
    fill(engine)
    yield engine
    engine.close()


@pytest.mark.parametrize("label", CASES)
def test_evaluate_decides_the_table(infos: list[SessionInfo], label: str) -> None:
    """Goal: the table says what Python decides. Method: each case on each record, as it is and through both forms."""
    condition, expected = CASES[label]
    assert expected == "".join(sorted(info.session_id for info in infos if evaluate(condition, info.record())))
    if condition is not None:
        assert condition == from_dict(to_dict(condition))
        assert condition == from_query(to_query(condition))


@pytest.mark.parametrize("label", CASES)
def test_every_engine_finds_and_counts_what_the_table_says(filled: Engine, label: str) -> None:
    """Goal: all engines agree, on None and letter case too. Method: each case by `find` and by `count`."""
    condition, expected = CASES[label]
    assert expected == "".join(sorted(info.session_id for info in filled.find(filters=condition)))
    assert len(expected) == filled.count(condition)
