"""The contract of an engine whose calls are awaited: `engines.contract.Engine`, call by call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..engines.contract import Capabilities, Change
from ..model.filters import Filter
from ..model.lease import Lease
from ..model.message import Record
from ..model.selection import OrderBy
from ..model.session import SessionData, SessionInfo
from ..model.session_id import SessionKey
from ..retention import Policy


@runtime_checkable
class AsyncEngine(Protocol):
    """
    A place where sessions live, awaited.

    Promise: what `Engine` promises. A call that is cancelled is either done or not begun when the cancellation is
    raised; nothing goes on behind it.
    """

    @property
    def capabilities(self) -> Capabilities:
        """Tell what the engine promises."""
        ...

    async def history(self, key: SessionKey, newest: int | None) -> list[Record]:
        """Await form of `Engine.history`; see there."""
        ...

    async def read(self, key: SessionKey, newest: int | None) -> SessionData | None:
        """Await form of `Engine.read`; see there."""
        ...

    async def exists(self, key: SessionKey) -> bool:
        """Await form of `Engine.exists`; see there."""
        ...

    async def whole(self, key: SessionKey) -> tuple[SessionData, list[Record]] | None:
        """Await form of `Engine.whole`; see there."""
        ...

    async def append(
        self, key: SessionKey, messages: Sequence[Record], *, now_s: float, policy: Policy, lease: Lease | None = None,
        least_revision: int = 0,
    ) -> int:
        """Await form of `Engine.append`; see there."""
        ...

    async def update(
        self, key: SessionKey, change: Change, *, now_s: float, policy: Policy, expected_revision: int | None = None,
        keep_archive: bool = True, lease: Lease | None = None,
    ) -> SessionData:
        """Await form of `Engine.update`; `change` is a plain function. See there."""
        ...

    async def delete(
        self, key: SessionKey, *, lease: Lease | None = None, expected_revision: int | None = None
    ) -> bool:
        """Await form of `Engine.delete`; see there."""
        ...

    async def find(
        self, *, filters: Filter | None = None, order_by: OrderBy = None, limit: int | None = None, offset: int = 0,
        namespace: str | None = "",
    ) -> list[SessionInfo]:
        """Await form of `Engine.find`, as a list; see there."""
        ...

    async def search(
        self, terms: Sequence[str], *, namespace: str | None = ""
    ) -> list[tuple[SessionData, list[Record]]]:
        """Await form of `Engine.search`, as a list; see there."""
        ...

    async def count(self, filters: Filter | None = None, *, namespace: str | None = "") -> int:
        """Await form of `Engine.count`; see there."""
        ...

    async def claim(self, key: SessionKey, owner: str, ttl_s: float) -> Lease | None:
        """Await form of `Engine.claim`; see there."""
        ...

    async def renew(self, lease: Lease, ttl_s: float) -> Lease:
        """Await form of `Engine.renew`; see there."""
        ...

    async def release(self, lease: Lease) -> bool:
        """Await form of `Engine.release`; see there."""
        ...

    async def close(self) -> None:
        """Await form of `Engine.close`; see there."""
        ...
