"""Run the service: workers, half-open connections, the end, and that no two services sweep one directory."""

from __future__ import annotations

import asyncio
import json
import logging
import math
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
_STALLED_S = 30.0


class ClosingProtocol(H11Protocol):
    """
    HTTP/1.1 with three things uvicorn leaves out.

    A connection whose request never comes whole is ended, or each would keep a descriptor; and so is one whose client
    takes nothing more of its answer, or each would keep one of the turns there are. And an answer leaves at once: on
    the socket that several workers share, asyncio does not see that it is TCP and leaves Nagle's algorithm on, so that
    the body of every answer on a kept connection would wait 40 ms for the client to acknowledge its head.
    """

    half_open_s = _HALF_OPEN_S - _GRACE_S
    stalled_s = _STALLED_S
    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

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

    def pause_writing(self) -> None:
        """Wait until the client took what was sent."""
        super().pause_writing()
        self._look_again(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Go on, because it did."""
        self._go_on()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._forget()
        self._go_on()
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

    def _look_again(self, left_bytes: int) -> None:
        self._stalled = self.loop.call_later(self.stalled_s, self._end_stalled, left_bytes)

    def _end_stalled(self, before_bytes: int) -> None:
        left_bytes = self.transport.get_write_buffer_size()
        if left_bytes < before_bytes:
            self._look_again(left_bytes)  # a slow client is none that stalls
        else:
            self.transport.abort()

    def _go_on(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _close(self) -> None:
        self._timer = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()


def run(config: Config) -> None:
    """
    Serve until a signal ends it; requests that began are finished first.

    Raises:
        StoreWriteError: Another service is on the same directory, and is named. InvalidArgumentError, StoreReadError:
        The agents or the token file will not do. OSError: The address cannot be listened at.
    """
    create_app(config)  # what it refuses is told here: workers would end by it one after the other, and be begun anew
    _check_address(config)
    with service_lock.only_service(_directory_of(config)), tempfile.TemporaryDirectory() as counters:
        if config.workers > 1:
            os.environ[SHARED] = counters  # each worker counts in a file of its own
        os.environ[_CONFIG] = json.dumps(to_dict(config))
        # uvicorn raises the signal that ended it once more, which would end this process before it tidied up.
        signal.signal(signal.SIGTERM, lambda *_: None)
        uvicorn.run(
            "praison_store.server.running:application_of_environment", factory=True, http=ClosingProtocol,
            host=config.host, port=config.port, workers=config.workers if config.workers > 1 else None,
            timeout_graceful_shutdown=math.ceil(config.shutdown_seconds), access_log=False, log_config=LOGGING,
            server_header=False, ws="none", backlog=4096, timeout_keep_alive=30, proxy_headers=False,
        )


def _check_address(config: Config) -> None:
    """Raise OSError where the address cannot be listened at; uvicorn would end the process with a line of its log."""
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in found[:1]:
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
    except OSError as error:
        text = f"{config.host}:{config.port} cannot be listened at ({error.strerror}): name another --host or --port."
        raise OSError(error.errno, text) from error


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
