"""The settings every property is tried with; a failure prints the blob that repeats it."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

factor = 1


def tried(examples: int, steps: int = 30) -> settings:
    """Return settings for so many examples (twenty times as many with `--long`), without a deadline."""
    return settings(
        max_examples=examples * factor, stateful_step_count=steps, deadline=None, print_blob=True, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
