"""Load a service as many clients do, and a bare FastAPI route that returns the same bytes: the floor."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

BARE = '''
import json, socket, uvicorn
from fastapi import FastAPI, Request, Response
from uvicorn.protocols.http.h11_impl import H11Protocol
class Prompt(H11Protocol):
    def connection_made(self, transport):
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)
app = FastAPI()
BODY = {body!r}
@app.get("/sessions/{{session_id}}")
async def read(session_id: str):
    return Response(BODY, media_type="application/json")
@app.post("/sessions/{{session_id}}/messages", status_code=201)
async def write(session_id: str, request: Request):
    json.loads(await request.body())
    return Response(b'{{"session_id":"s","revision":100,"accepted":1}}', 201, media_type="application/json")
if __name__ == "__main__":
    uvicorn.run("bare:app", http=Prompt, port={port}, workers=2, access_log=False, log_level="error")
'''


class Connection:
    """A keep-alive connection that sends requests by hand: the client must not be what is measured."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; return status and body."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n")
        self._writer.write(head.encode() + body)
        try:
            answer = await self._reader.readuntil(b"\r\n\r\n")
            lowered = answer.lower()
            length = int(lowered.split(b"content-length: ")[1].split(b"\r\n")[0])
            return int(answer.split(b" ", 2)[1]), await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close()
            raise ConnectionError("the service hung up") from None

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def load(
    port: int, clients: int, seconds: float, work: Callable[[Connection, int, int], Awaitable[tuple[str, int]]]
) -> tuple[Counter[int], dict[str, list[float]]]:
    """Let clients work for so long; return the statuses, and how long each kind of request took."""
    statuses: Counter[int] = Counter()
    took: dict[str, list[float]] = {}
    stop_s = time.perf_counter() + seconds

    async def one(number: int) -> None:
        connection, turn = Connection(port), 0
        while time.perf_counter() < stop_s:
            begun_s = time.perf_counter()
            try:
                kind, status = await work(connection, number, turn)
            except ConnectionError:
                kind, status = "cut", 0
            took.setdefault(kind, []).append(time.perf_counter() - begun_s)
            statuses[status] += 1
            turn += 1
        connection.close()

    await asyncio.gather(*(one(number) for number in range(clients)))
    return statuses, took


def told(name: str, took: dict[str, list[float]], seconds: float) -> float:
    """Print requests a second, p50 and p99; return the first."""
    every = sorted(value for found in took.values() for value in found)
    rate = len(every) / seconds
    print(f"{name}: {rate:.0f} requests/s, p50 {every[len(every) // 2] * 1e3:.1f} ms, "
          f"p99 {every[int(len(every) * 0.99)] * 1e3:.1f} ms, max {every[-1] * 1e3:.0f} ms")
    for kind, found in sorted(took.items()):
        found.sort()
        print(f"  {kind}: {len(found)}, p50 {found[len(found) // 2] * 1e3:.1f} ms, "
              f"p99 {found[int(len(found) * 0.99)] * 1e3:.1f} ms")
    return rate


class Mixed:
    """Half reads, half appends, over so many sessions; what was acknowledged is remembered."""

    def __init__(self, sessions: int) -> None:
        self.sessions, self.acknowledged = sessions, dict[str, list[str]]()

    async def __call__(self, connection: Connection, number: int, turn: int) -> tuple[str, int]:
        """Do one thing."""
        session_id = f"s{random.randrange(self.sessions)}"
        if turn % 2:
            status, _ = await connection.ask("GET", f"/sessions/{session_id}")
            return "read", status
        text = f"{number}.{turn}"
        body = json.dumps({"role": "user", "content": text, "message_id": text}).encode()
        status, _ = await connection.ask("POST", f"/sessions/{session_id}/messages", body)
        if status == 201:
            self.acknowledged.setdefault(session_id, []).append(text)
        return "append", status


def bare_command(body: bytes, port: int, directory: Path) -> list[str]:
    """Return the command of a bare service that returns a body, with two workers as the other has."""
    # It answers at once on each socket, as ours does and uvicorn does not, or the floor would be a wait of 40 ms.
    (directory / "bare.py").write_text(BARE.format(body=body, port=port))
    return [sys.executable, str(directory / "bare.py")]


def listens(port: int) -> bool:
    """Tell whether somebody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


