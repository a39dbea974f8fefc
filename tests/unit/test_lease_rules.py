"""The decisions on a lease, without any engine: claim, renew, release, and the check of a write."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from praison_store.errors import AgentLockExpiredError, InvalidArgumentError, LeaseExpiredError
from praison_store.model import lease as leases
from praison_store.model.lease import Lease, LeaseRow
from praison_store.model.session_id import SessionKey

KEY = SessionKey("s", "ns")
FREE = LeaseRow()
HELD = LeaseRow("a", 3, 100.0)


def lease(owner: str = "a", generation: int = 3) -> Lease:
    """Return a lease on the session."""
    return Lease(KEY, owner, generation, 100.0)


@pytest.mark.parametrize(("row", "owner", "now_s", "expected"), [
    (FREE, "a", 0.0, LeaseRow("a", 1, 10.0, 10.0)),
    (HELD, "b", 99.9, None),
    (HELD, "b", 100.0, LeaseRow("b", 4, 110.0, 10.0)),
    (HELD, "b", 500.0, LeaseRow("b", 4, 510.0, 10.0)),
    (HELD, "a", 50.0, LeaseRow("a", 3, 60.0, 10.0)),
    (HELD, "a", 100.0, LeaseRow("a", 4, 110.0, 10.0)),
    (LeaseRow(None, 7, 0.0), "b", 0.0, LeaseRow("b", 8, 10.0, 10.0)),
])
def test_a_claim_counts_holders(row: LeaseRow, owner: str, now_s: float, expected: LeaseRow | None) -> None:
    """Goal: one holder, and a generation for each. Method: free, held, ended at the moment, repeated, released."""
    assert expected == leases.claimed(row, owner, 10.0, now_s)


@pytest.mark.parametrize(("now_s", "is_held"), [
    (0.0, False), (69.0, False), (79.0, True), (80.0, True), (99.9, True), (100.0, False),
])
def test_a_lease_that_ends_later_than_it_can_is_over(now_s: float, is_held: bool) -> None:
    """Goal: a clock set back keeps no dead holder's lease. Method: twenty seconds from 80.0 on; one second of slack."""
    row = LeaseRow("a", 3, 100.0, 20.0)
    assert is_held is row.is_held(now_s)
    assert is_held is (leases.claimed(row, "b", 10.0, now_s) is None)
    assert LeaseRow("a", 3, 100.0).is_held(0.0), "one of which nobody knows how long it was given for"


@pytest.mark.parametrize(("owner", "ttl_s"), [("", 1.0), (None, 1.0), (5, 1.0), ("\ud800", 1.0), ("a", -1.0), ("a", None),
                                             ("a", float("nan")), ("a", float("inf")), ("a", True), ("a", "1")])
def test_a_claim_that_cannot_be_meant_is_refused(owner: Any, ttl_s: Any) -> None:
    """Goal: no lease without an owner or an end. Method: owners and times of other kinds."""
    with pytest.raises(InvalidArgumentError):
        leases.claimed(FREE, owner, ttl_s, 0.0)


def test_a_holder_prolongs_even_a_lease_that_ran_out() -> None:
    """Goal: what counts is a successor. Method: renew in time and late; with a time that cannot be meant."""
    assert [LeaseRow("a", 3, 60.0, 10.0), LeaseRow("a", 3, 510.0, 10.0)] == [
        leases.renewed(HELD, lease(), 10.0, now_s) for now_s in (50.0, 500.0)]
    with pytest.raises(InvalidArgumentError):
        leases.renewed(HELD, lease(), -1.0, 0.0)


@pytest.mark.parametrize("row", [FREE, LeaseRow("b", 4, 1e9), LeaseRow("a", 4, 1e9), LeaseRow("b", 3, 1e9), LeaseRow(None, 3)])
def test_a_lost_lease_writes_renews_and_releases_nothing(row: LeaseRow) -> None:
    """Goal: owner and generation both count. Method: rows of a successor, of an own later claim, and released ones."""
    for call in (lambda: leases.check(row, lease()), lambda: leases.renewed(row, lease(), 10.0, 0.0)):
        with pytest.raises(LeaseExpiredError) as caught:
            call()
        assert ("s", 3) == (caught.value.session_id, caught.value.generation)
        assert "Lock expired" in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (AgentLockExpiredError, str(caught.value), 3) == (type(again), str(again), again.generation)
    assert None is leases.released(row, lease())


def test_a_release_keeps_the_generation() -> None:
    """Goal: the next holder's is higher. Method: release, then claim."""
    row = leases.released(HELD, lease())
    assert row == LeaseRow(None, 3, 0.0)
    assert LeaseRow("a", 4, 10.0, 10.0) == leases.claimed(row, "a", 10.0, 0.0)


def test_a_holder_passes() -> None:
    """Goal: a right lease is no hindrance, whatever end it tells. Method: check leases of other ends."""
    for end_s in (0.0, 1e9):
        leases.check(HELD, Lease(KEY, "a", 3, end_s))


@pytest.mark.parametrize("row", [FREE, HELD, LeaseRow(None, 7, 0.0), LeaseRow("a", 3, 100.0, 20.0)])
def test_a_row_is_plain_data_and_back(row: LeaseRow) -> None:
    """Goal: an engine may keep it anywhere. Method: there and back."""
    assert row == LeaseRow.from_dict(row.to_dict())


@pytest.mark.parametrize("data", [{}, {"owner": 5, "generation": 1, "expires_at_s": 0}, {"owner": "a", "generation": "1"},
                                  {"owner": "a", "generation": 1, "expires_at_s": None},
                                  {"owner": "a", "generation": True, "expires_at_s": 0.0}])
def test_a_damaged_row_is_refused(data: dict[str, Any]) -> None:
    """Goal: no generation is guessed. Method: rows with each field missing or of another kind."""
    with pytest.raises(ValueError, match="not a lease"):
        LeaseRow.from_dict(data)
