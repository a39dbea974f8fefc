"""Leases, asked of every engine in the same words: one holder at a time, and no late write of an old one."""

from __future__ import annotations

import dataclasses

import pytest
from places import ALL, ENGINES, KEY, NOW_S, retitle, say, texts

from praison_store.engines import Engine
from praison_store.errors import LeaseExpiredError
from praison_store.model.lease import Lease
from praison_store.model.message import new_record
from praison_store.model.session_id import SessionKey

LONG_S = 3600.0
OVER_S = 0.0  # it ends the moment it begins, so that no test waits for an end


def claim(engine: Engine, owner: str, ttl_s: float = LONG_S, key: SessionKey = KEY) -> Lease:
    """Take a lease that is free."""
    lease = engine.claim(key, owner, ttl_s)
    assert lease is not None
    return lease


@pytest.fixture
def lost(engine: Engine) -> Lease:
    """Give a lease that ran out and that another holds by now; the session has one message."""
    say(engine, "before")
    old = claim(engine, "old", OVER_S)
    claim(engine, "new")
    return old


def test_every_engine_here_has_leases() -> None:
    """Goal: none of them declares a lack, or these tests would test nothing. Method: the names and the count."""
    assert {"json_files", "memory", "jsonl"} <= ENGINES.keys()


def test_capabilities_are_told(engine: Engine) -> None:
    """Goal: an engine says what it is. Method: its name, leases, and what memory cannot promise."""
    told = engine.capabilities
    assert told.leases
    assert told.name
    assert (told.name != "memory") == told.durable == told.shared


def test_a_lease_is_given_once(engine: Engine) -> None:
    """Goal: one holder. Method: two owners; the second gets none, the first one's repeat keeps its generation."""
    first = claim(engine, "a")
    assert (KEY, "a", 1) == (first.key, first.owner, first.generation)
    assert None is engine.claim(KEY, "b", LONG_S)
    again = claim(engine, "a", LONG_S * 2)
    assert (1, "a") == (again.generation, again.owner)
    assert again.expires_at_s > first.expires_at_s
    assert claim(engine, "b", key=SessionKey("t")).generation == 1, "another session's lease is another"
    assert claim(engine, "b", key=SessionKey("s", "ns")).generation == 1, "and so is another namespace's"
    assert not engine.exists(KEY), "a claim makes no session"
    assert 0 == engine.count()


def test_a_lease_that_ran_out_goes_to_the_next(engine: Engine) -> None:
    """Goal: takeover. Method: claims that end at once; each one's generation is one more."""
    assert [1, 2, 3] == [claim(engine, owner, OVER_S).generation for owner in ("a", "b", "a")]


def test_a_lease_given_back_is_free(engine: Engine) -> None:
    """Goal: release. Method: give back, claim as another; the second release does nothing."""
    lease = claim(engine, "a")
    assert engine.release(lease) is True
    assert engine.release(lease) is False
    assert 2 == claim(engine, "b").generation
    assert engine.release(lease) is False
    assert None is engine.claim(KEY, "c", LONG_S), "the release of the first did not touch the second's"
    with pytest.raises(LeaseExpiredError):
        engine.renew(lease, LONG_S)


def test_a_lease_is_prolonged_by_its_holder(engine: Engine) -> None:
    """Goal: renew. Method: a renewed lease ends later, is the same generation, and one that ran out is taken again."""
    lease = claim(engine, "a")
    longer = engine.renew(lease, LONG_S * 2)
    assert (lease.generation, lease.owner, lease.key) == (longer.generation, longer.owner, longer.key)
    assert longer.expires_at_s > lease.expires_at_s
    late = claim(engine, "b", OVER_S, SessionKey("t"))
    assert late.generation == engine.renew(late, LONG_S).generation
    assert None is engine.claim(SessionKey("t"), "c", LONG_S)


def test_a_lost_lease_can_neither_be_renewed_nor_released(engine: Engine, lost: Lease) -> None:
    """Goal: a stalled holder does not touch its successor. Method: renew and release after a takeover."""
    with pytest.raises(LeaseExpiredError) as caught:
        engine.renew(lost, LONG_S)
    assert ("s", 1) == (caught.value.session_id, caught.value.generation)
    assert engine.release(lost) is False
    assert None is engine.claim(KEY, "third", LONG_S)


def test_a_late_write_is_refused_and_nothing_is_written(engine: Engine, lost: Lease) -> None:
    """Goal: fencing. Method: append, update and delete with the old lease; the session stays as it was."""
    record = new_record("user", "late", NOW_S)
    with pytest.raises(LeaseExpiredError):
        engine.append(KEY, [record], now_s=NOW_S, policy=ALL, lease=lost)
    with pytest.raises(LeaseExpiredError):
        engine.update(KEY, retitle, now_s=NOW_S, policy=ALL, lease=lost)
    with pytest.raises(LeaseExpiredError):
        engine.delete(KEY, lease=lost)
    session = engine.read(KEY, None)
    assert session is not None
    assert (["before"], 1, {}) == (texts(engine), session.revision, session.metadata)


def test_a_late_write_to_a_session_that_is_gone_is_refused_too(engine: Engine, lost: Lease) -> None:
    """Goal: a deleted session is not made anew by a stalled holder. Method: delete it, then write with the old lease."""
    assert engine.delete(KEY)
    with pytest.raises(LeaseExpiredError):
        engine.append(KEY, [new_record("user", "late", NOW_S)], now_s=NOW_S, policy=ALL, lease=lost)
    with pytest.raises(LeaseExpiredError):
        engine.update(KEY, retitle, now_s=NOW_S, policy=ALL, lease=lost)
    assert not engine.exists(KEY)


def test_a_late_delete_of_a_session_that_is_gone_is_refused_too(engine: Engine, lost: Lease) -> None:
    """Goal: a stalled holder learns of it. Method: delete it, then delete with the old lease."""
    assert engine.delete(KEY)
    with pytest.raises(LeaseExpiredError):
        engine.delete(KEY, lease=lost)


def test_the_holder_writes(engine: Engine) -> None:
    """Goal: a lease does not stand in its holder's way. Method: each write with it, on a session not there before."""
    lease = claim(engine, "a")
    assert 1 == engine.append(KEY, [new_record("user", "x", NOW_S)], now_s=NOW_S, policy=ALL, lease=lease)
    assert 2 == engine.update(KEY, retitle, now_s=NOW_S, policy=ALL, lease=engine.renew(lease, LONG_S)).revision
    assert engine.delete(KEY, lease=lease) is True
    assert engine.delete(KEY, lease=lease) is False
    assert engine.release(lease) is True


def test_a_lease_that_ran_out_unclaimed_still_writes(engine: Engine) -> None:
    """Goal: what fences is a successor, not a clock. Method: write with a lease that ended, while nobody followed."""
    lease = claim(engine, "a", OVER_S)
    assert 1 == engine.append(KEY, [new_record("user", "x", NOW_S)], now_s=NOW_S, policy=ALL, lease=lease)


def test_a_write_without_a_lease_passes(engine: Engine) -> None:
    """Goal: leases bind who takes part. Method: write without one, beside a holder."""
    claim(engine, "a")
    assert 1 == say(engine, "x")


def test_the_generation_survives_the_session(engine: Engine) -> None:
    """Goal: no old lease is valid again after a delete. Method: delete between two claims."""
    say(engine, "x")
    first = claim(engine, "a")
    assert engine.delete(KEY, lease=first)
    assert engine.release(first)
    assert 2 == claim(engine, "a").generation


@pytest.mark.parametrize("change", [{"owner": "b"}, {"generation": 2}, {"generation": 0}])
def test_a_lease_nobody_gave_is_refused(engine: Engine, change: dict[str, str | int]) -> None:
    """Goal: owner and generation both count. Method: the holder's lease with one of them changed."""
    forged = dataclasses.replace(claim(engine, "a"), **change)  # type: ignore[arg-type] # one of two fields
    with pytest.raises(LeaseExpiredError):
        engine.append(KEY, [new_record("user", "x", NOW_S)], now_s=NOW_S, policy=ALL, lease=forged)
    with pytest.raises(LeaseExpiredError):
        engine.renew(forged, LONG_S)
    assert engine.release(forged) is False
    assert not engine.exists(KEY)
