"""How hard the properties are tried: modest by default, twenty times as hard with `--long`."""

from __future__ import annotations

import effort
import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Set the effort before the modules of this folder are imported, since their decorators read it."""
    effort.factor = 20 if config.getoption("--long") else 1
