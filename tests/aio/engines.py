"""An engine that counts its calls and can be told to wait, to fail, or to be interrupted at any one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from praison_store.aio import ThreadedEngine
from praison_store.engines.json_files import JsonFilesEngine
from praison_store.model.session_id import SessionKey

CALLS = ("history", "read", "exists", "whole", "append", "update", "delete", "find", "search", "count", "claim",
         "renew", "release", "close")


class WatchedEngine:
    """An awaited engine of files that tells every call in `calls`, and runs `before[name]` in front of one."""

    def __init__(self, directory: Path | str) -> None:
        self.inner = ThreadedEngine(JsonFilesEngine(str(directory), durability="process"))
        self.capabilities = self.inner.capabilities
        self.calls: list[str] = []
        self.before: dict[str, Callable[..., Any]] = {}
        for name in CALLS:
            setattr(self, name, self._watched(name))

    async def read(self, key: SessionKey, newest: int | None) -> Any:
        """Stand for the method until `__init__` sets it, so that the class is seen to be awaited."""
        return await self.inner.read(key, newest)

    def _watched(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(*arguments: Any, **named: Any) -> Any:
            self.calls.append(name)
            if name in self.before:
                found = self.before[name](*arguments)
                if asyncio.iscoroutine(found):
                    await found
            return await getattr(self.inner, name)(*arguments, **named)

        return call


def owner_of(directory: Path | str, session_id: str) -> str | None:
    """Return who holds the lease of a session's file now."""
    from praison_store.engines import json_leases

    return json_leases.row_of(f"{directory}/{session_id}.json").owner


async def within(block: Any, *acts: Any) -> None:
    """Enter a block, act on what it gives, wait for what is to be awaited, and leave."""
    async with block as entered:
        for act in acts:
            done = act(entered) if callable(act) else act
            if asyncio.iscoroutine(done):
                await done
