"""A proxy in front of a database server that cuts the connection at a COMMIT: before the server hears of it, or behind."""

from __future__ import annotations

import re
import socket
import threading
from types import TracebackType

_DEADLINE_S = 10.0
_COMMIT = re.compile(rb"(?<!AUTO)COMMIT(?!TED)")  # and no SET AUTOCOMMIT, no READ COMMITTED


class CommitProxy:
    """
    Forward connections to a server on this machine, until a COMMIT of one comes by while the proxy is armed.

    Shape: `cuts` counts the COMMITs cut. Cut before: the server never hears of it, and rolls back. Cut behind: the
    server did it, and its answer is lost. The caller sees the same in both cases: a connection that ends.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cuts = 0
        self._armed: str | None = None
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut_next(self, when: str) -> None:
        """Cut the next COMMIT, `before` or `behind` the server's work."""
        assert when in ("before", "behind")
        self._armed = when

    def __enter__(self) -> CommitProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(_DEADLINE_S)
            assert not thread.is_alive(), "a connection was left open"

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return  # closed
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        """Forward one connection; what the server answers, a thread of its own passes on."""
        with client, socket.create_connection(self._server) as server:
            answers = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            answers.start()
            while True:
                asked = _received(client)
                when = self._armed if _COMMIT.search(asked) else None
                if when is None:
                    if not asked or not _sent(server, asked):
                        break
                    continue
                self._armed = None
                self.cuts += 1
                if when == "behind":
                    # The answer must not reach the client, so the client's side is closed before the server hears.
                    client.shutdown(socket.SHUT_RDWR)
                    server.sendall(asked)
                    server.shutdown(socket.SHUT_WR)  # it does what it was asked, and then sees the end
                break
            _ended(client)
            if not (asked and when == "behind"):
                _ended(server)
            answers.join(_DEADLINE_S)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    while True:
        data = _received(source)
        if not data:
            _ended(target)
            return
        _sent(target, data)  # where nobody listens any more, the server's work is awaited all the same


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _sent(target: socket.socket, data: bytes) -> bool:
    try:
        target.sendall(data)
    except OSError:
        return False
    return True


def _ended(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already
