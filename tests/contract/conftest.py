"""Give every test of the contract an engine of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import EACH, ENGINES

from praison_store.engines import Engine


@pytest.fixture(params=EACH)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Give an open, empty engine; closed when the test ends."""
    made = ENGINES[request.param](tmp_path / "place")
    yield made
    made.close()
