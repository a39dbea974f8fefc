"""Rounds in which every contender takes part in random order, and what comes out: percentiles and ratios."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

WARM_UP = 0.1


def nothing() -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Contender:
    """
    One way to do the work that is measured.

    Shape: `prepare` is called before each `run` and not timed; `run` may time itself and return nanoseconds; its
    first WARM_UP of rounds count for nothing.
    """

    name: str
    run: Callable[[], int | None]
    prepare: Callable[[], object] = nothing


@dataclass
class Timing:
    """What one contender took: nanoseconds, one for each round."""

    samples_ns: list[int] = field(default_factory=list)

    def percentile_ns(self, percent: float) -> int:
        """Return the sample that `percent` of the others do not pass."""
        ordered = sorted(self.samples_ns)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)]

    @property
    def median_ns(self) -> int:
        """The sample in the middle."""
        return self.percentile_ns(50)

    def cells(self) -> dict[str, object]:
        """Return the columns every table of times has."""
        return {
            "median": Nanoseconds(self.median_ns),
            "p90": Nanoseconds(self.percentile_ns(90)),
            "p99": Nanoseconds(self.percentile_ns(99)),
            "max": Nanoseconds(max(self.samples_ns)),
        }


class Nanoseconds(int):
    """A span of time; prints in the unit that fits, and is kept as a number."""

    def __str__(self) -> str:
        for unit_ns, unit in ((1_000_000_000, "s"), (1_000_000, "ms")):
            if self >= unit_ns:
                return f"{self / unit_ns:.2f} {unit}"
        return f"{self / 1000:.1f} us"


def interleaved(
    contenders: Sequence[Contender], rounds: int, *, before_round: Callable[[], object] = nothing
) -> dict[str, Timing]:
    """
    Time contenders in rounds; in each one every contender runs once, in an order drawn anew.

    Args:
        before_round: called before each round, not timed.
    """
    order = list(contenders)
    timings = {contender.name: Timing() for contender in order}
    warm_up_rounds = max(2, int(rounds * WARM_UP))
    # What importing the peers left behind would otherwise be walked in the middle of somebody's turn.
    gc.collect()
    gc.freeze()
    for number in range(rounds + warm_up_rounds):
        before_round()
        random.shuffle(order)
        for contender in order:
            contender.prepare()
            start_ns = time.perf_counter_ns()
            own_ns = contender.run()
            taken_ns = time.perf_counter_ns() - start_ns if own_ns is None else own_ns
            if number >= warm_up_rounds:
                timings[contender.name].samples_ns.append(taken_ns)
    gc.unfreeze()
    return timings


def ratio(timings: dict[str, Timing], name: str, other: str) -> float | None:
    """Return how many times the median of `other` goes into the one of `name`; None where one did not take part."""
    if name not in timings or other not in timings:
        return None
    return timings[name].median_ns / timings[other].median_ns
