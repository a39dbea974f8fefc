"""A lease: the right to change one session for a while, across processes. Decided here, kept by an engine. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidArgumentError, LeaseExpiredError
from . import arguments
from .session_id import SessionKey

# How far two clocks may differ, and one be set back, before a lease given by the other is no longer believed.
CLOCK_SLACK_S = 1.0


@dataclass(frozen=True)
class Lease:
    """
    Who may change a session, and until when.

    Shape: `generation` grows with every claim and is what a write is checked by; `expires_at_s` is in seconds since
    1970 by the clock of the engine that gave it; `owner` names one holder and is never used again by another.
    """

    key: SessionKey
    owner: str
    generation: int
    expires_at_s: float


@dataclass(frozen=True)
class LeaseRow:
    """
    What an engine keeps of a session's leases: the newest one; no `owner` where it was released.

    Shape: `ttl_s` is how long it was given for; infinite where that is not known.
    """

    owner: str | None = None
    generation: int = 0
    expires_at_s: float = 0.0
    ttl_s: float = math.inf

    def is_held(self, now_s: float) -> bool:
        """
        Tell whether a lease lasts still.

        One that ends later than its `ttl_s` from now was given before the clock was set back, perhaps by hours: its
        holder may be dead. Who lives loses it in the worst case, and is told, as where the clock is set forward.
        """
        return self.owner is not None and now_s < self.expires_at_s <= now_s + self.ttl_s + CLOCK_SLACK_S

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data; `from_dict` gives it back."""
        row = {"owner": self.owner, "generation": self.generation, "expires_at_s": self.expires_at_s}
        return row if math.isinf(self.ttl_s) else {**row, "ttl_s": self.ttl_s}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LeaseRow:
        """Return the row of plain data. Raises ValueError where it is damaged."""
        owner, generation, expires_at_s = data.get("owner"), data.get("generation"), data.get("expires_at_s")
        if not isinstance(owner, (str, type(None))) or type(generation) is not int:
            raise ValueError("not a lease")
        ttl_s = data.get("ttl_s", math.inf)
        if not isinstance(expires_at_s, (int, float)) or not isinstance(ttl_s, (int, float)):
            raise ValueError("not a lease")
        return cls(owner, generation, float(expires_at_s), float(ttl_s))


def claimed(row: LeaseRow, owner: str, ttl_s: float, now_s: float) -> LeaseRow | None:
    """
    Return the row after a claim; None while another holds the lease.

    A claim repeated by the same owner keeps its generation, so that it may be sent again when its answer got lost.

    Raises:
        InvalidArgumentError: An owner or a time that cannot be meant.
    """
    if not arguments.text(owner, "owner"):
        raise InvalidArgumentError("owner is text of at least one character: pass a name no other holder has.")
    ttl_s = arguments.seconds(ttl_s, "ttl_s")
    if row.owner == owner and row.expires_at_s > now_s:
        return LeaseRow(owner, row.generation, now_s + ttl_s, ttl_s)
    return None if row.is_held(now_s) else LeaseRow(owner, row.generation + 1, now_s + ttl_s, ttl_s)


def renewed(row: LeaseRow, lease: Lease, ttl_s: float, now_s: float) -> LeaseRow:
    """
    Return the row after a renewal; one that ran out may be renewed as long as nobody else claimed it.

    Raises:
        LeaseExpiredError: Another claimed it since, or it was released.
    """
    check(row, lease)
    ttl_s = arguments.seconds(ttl_s, "ttl_s")
    return LeaseRow(lease.owner, lease.generation, now_s + ttl_s, ttl_s)


def released(row: LeaseRow, lease: Lease) -> LeaseRow | None:
    """Return the row after a release; None where the lease is no longer this holder's, and nothing changes."""
    if (row.owner, row.generation) != (lease.owner, lease.generation):
        return None
    return LeaseRow(None, row.generation, 0.0)


def check(row: LeaseRow, lease: Lease) -> None:
    """Make sure a write under a lease is its holder's still (fencing). Raises LeaseExpiredError."""
    if (row.owner, row.generation) != (lease.owner, lease.generation):
        raise lost(lease)


def lost(lease: Lease) -> LeaseExpiredError:
    """Return the error of a holder that another one followed."""
    session_id = lease.key.session_id
    return LeaseExpiredError(
        f"Lock expired: the lease on {session_id!r} (generation {lease.generation}) is another's by now. Nothing was "
        f"written: read the session again, and pass a longer lock_ttl if the work takes longer.",
        session_id=session_id, generation=lease.generation,
    )
