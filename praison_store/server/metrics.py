"""What is counted, in Prometheus' format, over all workers of one service."""

from __future__ import annotations

import os
import re
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LIVE = re.compile(r"gauge_live[a-z]+_(\d+)\.db")
SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one application; those of several workers are added up where `running` gave them a directory."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "praison_store_requests", "Requests answered", ["method", "route", "status"], registry=self._registry)
        self.seconds = Histogram(
            "praison_store_request_seconds", "How long answers took", ["route"], buckets=_SECONDS,
            registry=self._registry)
        self.open = Gauge(
            "praison_store_requests_open", "Requests being answered", registry=self._registry,
            multiprocess_mode="livesum")
        self.queries = Counter(
            "praison_store_queries", "Queries of agents", ["agent", "outcome"], registry=self._registry)
        self.swept = Counter(
            "praison_store_expired_sessions", "Sessions removed because they ended", registry=self._registry)
        self.swept_at = Gauge(
            "praison_store_last_cleanup_timestamp_seconds", "When sessions that ended were last removed",
            registry=self._registry, multiprocess_mode="max")

    def note_sweep(self, count: int) -> None:
        """Count what a sweep removed, and when it was."""
        self.swept.inc(count)
        self.swept_at.set(time.time())

    def last_sweep_s(self) -> float | None:
        """Return when any worker last swept, in seconds since 1970."""
        for metric in self._all().collect():
            if metric.name == "praison_store_last_cleanup_timestamp_seconds":
                return max((sample.value for sample in metric.samples), default=0.0) or None
        return None

    def text(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self._all())

    def _all(self) -> CollectorRegistry:
        if not os.environ.get(SHARED):
            return self._registry
        _forget_the_dead(os.environ[SHARED])
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the package has no types here
        return registry


def _forget_the_dead(directory: str) -> None:
    """Leave out what workers that were killed had open; what they counted stays."""
    for name in os.listdir(directory):
        found = _LIVE.fullmatch(name)
        if found is not None and not _is_running(int(found[1])):
            mark_process_dead(int(found[1]), directory)  # type: ignore[no-untyped-call]  # the package has no types here


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
