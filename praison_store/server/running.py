"""Run the service: workers, half-open connections, the end, and that no two services sweep one directory."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import tempfile
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..disk import service_lock
from ..engines.json_directory import session_directory
from ..engines.urls import directory_of, scheme_of
from . import create_app
from .config import Config, of_dict, to_dict
from .metrics import SHARED

_CONFIG = "PRAISON_STORE_SERVICE_CONFIG"
_HALF_OPEN_S = 10.0
_GRACE_S = 0.5


class ClosingProtocol(H11Protocol):
    """
    HTTP/1.1 with two things uvicorn leaves out.

    A connection whose request never comes whole is ended, or each would keep a descriptor. And an answer leaves at
    once: on the socket that several workers share, asyncio does not see that it is TCP and leaves Nagle's algorithm
    on, so that the body of every answer on a kept connection would wait 40 ms for the client to acknowledge its head.
    """

    half_open_s = _HALF_OPEN_S - _GRACE_S
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Begin to wait for a request."""
        connection = transport.get_extra_info("socket")
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; the wait ends with its last header, and `limits` bounds its body."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        is_answered = self.cycle is None or self.cycle.response_complete
        if not is_answered:
            self._forget()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.half_open_s, self._close)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close(self) -> None:
        self._timer = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def run(config: Config) -> None:
    """
    Serve until a signal ends it; requests that began are finished first.

    Raises:
        StoreWriteError: Another service is on the same directory, and is named.
    """
    with service_lock.only_service(_directory_of(config)), tempfile.TemporaryDirectory() as counters:
        if config.workers > 1:
            os.environ[SHARED] = counters  # each worker counts in a file of its own
        os.environ[_CONFIG] = json.dumps(to_dict(config))
        # uvicorn raises the signal that ended it once more, which would end this process before it tidied up.
        signal.signal(signal.SIGTERM, lambda *_: None)
        uvicorn.run(
            "praison_store.server.running:application_of_environment", factory=True, http=ClosingProtocol,
            host=config.host, port=config.port, workers=config.workers if config.workers > 1 else None,
            timeout_graceful_shutdown=int(config.shutdown_seconds) or None, access_log=False, log_config=LOGGING,
            server_header=False, ws="none", backlog=4096, timeout_keep_alive=30, proxy_headers=False,
        )


def application_of_environment() -> Any:
    """Return a worker's application; its configuration is in the environment, because workers are new processes."""
    return create_app(of_dict(json.loads(os.environ[_CONFIG])))


def _directory_of(config: Config) -> str | None:
    """Return the directory whose files this service sweeps; None where it sweeps none."""
    if not (config.timeout_hours and config.cleanup_interval_minutes):
        return None
    scheme = scheme_of(config.store) if config.store else ""
    if scheme not in ("", "file", "jsonl"):
        return None
    return directory_of(config.store) if config.store else session_directory(None)


class OneLine(logging.Formatter):
    """A log record as one line of JSON; a trace is left out, because it shows paths."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if record.name == "praison_store.access":
            return record.getMessage()
        kind = f" ({record.exc_info[0].__name__})" if record.exc_info and record.exc_info[0] else ""
        text = record.getMessage().partition("\nTraceback")[0] if record.levelno < logging.ERROR or kind == "" else (
            record.getMessage().splitlines() or [""])[0]
        text = text.splitlines()[0] if text.startswith("Traceback") else text
        return json.dumps({"level": record.levelname.lower(), "logger": record.name, "message": text + kind})


LOGGING: dict[str, Any] = {
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"line": {"()": "praison_store.server.running.OneLine"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "praison_store": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
