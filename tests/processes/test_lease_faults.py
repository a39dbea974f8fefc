"""Holders of a lease are stopped, killed and confused by the clock: no increment is lost, no old claim writes (D3)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from praison_store.engines.urls import from_url
from processes.lease_holders import ACKNOWLEDGED, HOUR_S, KEY, REFUSED, TOLD, TTL_S, Referee
from processes.moved_clock import needs_gcc

sys.path.append(str(Path(__file__).parents[1] / "contract"))
from sql_places import URLS

pytestmark = needs_gcc
SERVERS = ["postgresql", "mariadb"]
PLACES = ["json_files", *(pytest.param(place, marks=pytest.mark.long) for place in ("sqlite", *SERVERS))]


@contextmanager
def referee_of(place: str, directory: Path, workers: int) -> Iterator[tuple[Referee, str]]:
    """Lend a referee over workers on a new, empty place."""
    url = str(directory / "sessions") if place == "json_files" else URLS[place](directory)
    referee = Referee(url, directory, workers)
    with closing(referee):
        yield referee, url


def harry(place: str, directory: Path, *, stops: int, kills: int, workers: int) -> None:
    """Stop, kill, and move the clock each way; then look at what was stored and what was told."""
    with referee_of(place, directory, workers) as (referee, url):
        for number in range(max(stops, kills)):
            if number < stops:
                referee.stop_a_holder()
            if number < kills:
                referee.kill_a_holder()
            if number < 2:
                referee.move_the_clock((HOUR_S, -HOUR_S)[number])
        referee.finish()
        acknowledged, told = referee.total(ACKNOWLEDGED), referee.total(TOLD)
        killed = kills + 2
        with closing(from_url(url)) as engine:
            session = engine.read(KEY, None)
            last = engine.claim(KEY, "after", TTL_S)
        assert session is not None
        count = session.context["count"]
        print(f"{place}: {stops} stops, {killed} kills, 2 of them with the clock moved; {acknowledged} increments "
              f"acknowledged, {count} stored, {told} holders told, {referee.total(REFUSED)} late writes refused, "
              f"lease taken after at most {max(referee.takeovers_s):.2f} s of a TTL of {TTL_S} s")
        # A holder that is told in the middle of a write does not hear whether that was still taken.
        assert acknowledged <= count <= acknowledged + killed + told, "an increment is lost, or more than were in flight"
        assert 0 == session.context.get("went_down", 0), "an old claim wrote behind a newer one"
        assert told >= stops
        assert referee.total(REFUSED) >= stops, "a late write of an old holder was taken"
        assert last is not None, "a lease is left"
        assert last.generation > session.context["generation"]
        assert max(referee.takeovers_s) < TTL_S + 15


@pytest.mark.parametrize("place", PLACES)
def test_D3_a_lease_survives_holders_that_stop_die_and_live_by_wrong_clocks(place: str, tmp_path: Path) -> None:
    """Goal: fencing, and a free lease is taken. Method: 3 workers; 2 stops past the TTL, 2 kills, 2 moves of an hour."""
    harry(place, tmp_path, stops=2, kills=2, workers=3)


@pytest.mark.long
@pytest.mark.parametrize("place", ["json_files", "sqlite", *SERVERS])
def test_D3_a_lease_survives_stops_kills_and_wrong_clocks_at_length(place: str, tmp_path: Path) -> None:
    """Goal and method: the short form's, with 20 stops and 20 kills."""
    harry(place, tmp_path, stops=20, kills=20, workers=4)
