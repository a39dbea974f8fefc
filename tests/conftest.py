"""Fixtures every suite shares: a store that is checked when its test ends, and the `--long` option."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from praison_store import DefaultSessionStore


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`: run the full harnesses too."""
    parser.addoption("--long", action="store_true", help="run the full harnesses (minutes), not only their short forms")


def pytest_configure() -> None:
    """Heed Ctrl-C even where whoever began this run ignores it: a child inherits that, and some tests press it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the full harnesses out unless they are asked for."""
    if not config.getoption("--long"):
        left_out = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def session_dir(tmp_path: Path) -> str:
    """Return a directory for sessions that does not exist yet."""
    return str(tmp_path / "sessions")


@pytest.fixture(scope="module", autouse=True)
def _what_is_there_stays() -> None:
    """
    Take what earlier modules left out of what the collector walks.

    Tests that count descriptors collect garbage first, and a walk over all that a long run has imported takes longer
    than the test itself.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_store(session_dir: str) -> Iterator[Callable[..., DefaultSessionStore]]:
    """
    Make stores on one directory; when the test ends, check() is clean and no descriptor is left.

    A test that damages files on purpose passes `check_at_end=False` with its last store.
    """
    before = open_descriptors()
    stores: list[DefaultSessionStore] = []
    checked = [True]

    def make(*, check_at_end: bool = True, **options: Any) -> DefaultSessionStore:
        checked[0] = check_at_end
        stores.append(DefaultSessionStore(**{"session_dir": session_dir, **options}))
        return stores[-1]

    yield make
    if stores and checked[0]:
        assert [] == stores[0].check().problems
    for store in stores:
        store.close()
    assert before == open_descriptors(), "descriptors left open"


@pytest.fixture
def store(make_store: Callable[..., DefaultSessionStore]) -> DefaultSessionStore:
    """Return a store with the default options on an empty directory."""
    return make_store()
