"""The package's own service on 127.0.0.1, in a thread: the other side of `HttpEngine`, and of any other client."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from praison_store.engines.http import HttpEngine
from praison_store.server import Config, create_app

LONGEST_S = 30.0


class RunningService:
    """A service of a configuration, answering on a port of its own until `stop`; `start` goes on at the same port."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.app: Any = None
        self._server: Any = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self._mutex = threading.Lock()
        self.start()

    @property
    def url(self) -> str:
        """Return where it answers."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """Return its port."""
        return self._port

    def start(self) -> None:
        """Answer, where it does not yet."""
        import uvicorn

        from praison_store.server.running import ClosingProtocol

        with self._mutex:
            if self._server is not None:
                return
            self.app = create_app(self.config)
            self._server = uvicorn.Server(uvicorn.Config(
                self.app, host="127.0.0.1", port=self._port, log_config=None, access_log=False, lifespan="on",
                ws="none", http=ClosingProtocol, backlog=4096, server_header=False))
            ready = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._server, ready), daemon=True)
            self._thread.start()
            assert ready.wait(LONGEST_S)

    def _run(self, server: Any, ready: threading.Event) -> None:
        async def serve() -> None:
            task = asyncio.get_running_loop().create_task(server.serve())
            while not server.started and not task.done():
                await asyncio.sleep(0.002)
            if server.started:
                self._port = server.servers[0].sockets[0].getsockname()[1]
            ready.set()
            await task

        asyncio.run(serve())

    def stop(self) -> None:
        """Finish what is being answered, and answer no more."""
        with self._mutex:
            server, self._server = self._server, None
        if server is not None and self._thread is not None:
            server.should_exit = True
            self._thread.join(LONGEST_S)
            assert not self._thread.is_alive()


class ServedEngine(HttpEngine):
    """An engine with a service of its own, which stops with it and starts again where the engine is used again."""

    def __init__(self, config: Config, **options: Any) -> None:
        self.service = RunningService(config)
        super().__init__(f"{self.service.url}/sessions", **options)

    def _open(self) -> Any:
        self.service.start()
        return super()._open()

    def close(self) -> None:
        """Close the connections and stop the service."""
        super().close()
        self.service.stop()


def served(path: Path) -> HttpEngine:
    """Return an open, empty engine on a service whose sessions are files."""
    return ServedEngine(Config(store=str(path), rate_per_second=0))


def served_from_postgresql(path: Path) -> HttpEngine:
    """Return an open, empty engine on a service whose sessions are in PostgreSQL."""
    from sql_places import postgresql_url

    return ServedEngine(Config(store=postgresql_url(path), rate_per_second=0))
