"""Start what multiprocessing keeps running, before a test counts its descriptors."""

from __future__ import annotations

import pytest

from processes.workers import start_servers


@pytest.fixture(scope="session", autouse=True)
def _servers_of_multiprocessing() -> None:
    start_servers()
