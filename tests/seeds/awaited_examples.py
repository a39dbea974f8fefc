"""Run the documents' examples that await at the top level."""

from __future__ import annotations

import ast
from typing import Any


async def run(source: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run an example as it would run where `await` is allowed at the top level; return its names."""
    names = {} if names is None else names
    work = eval(compile(source, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if work is not None:
        await work
    return names
