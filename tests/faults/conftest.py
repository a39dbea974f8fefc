"""Count descriptors around every test of a fault: none may be left (D7)."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from processes.workers import open_descriptors, start_servers


@pytest.fixture(scope="session", autouse=True)
def _servers_of_multiprocessing() -> None:
    start_servers()


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    gc.collect()
    before = open_descriptors()
    yield
    gc.collect()
    assert before == open_descriptors(), "descriptors left open"
