"""A real session service on 127.0.0.1, kept in memory: the other side of `HttpEngine`, with faults on request."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from praison_store.engines.http import HttpEngine
from praison_store.errors import LeaseExpiredError
from praison_store.model import lease as leases
from praison_store.model.filters import from_query
from praison_store.model.lease import Lease, LeaseRow
from praison_store.model.recall import text_of
from praison_store.model.selection import selected
from praison_store.model.session import SessionInfo
from praison_store.model.session_id import SessionKey

PREFIX = "/sessions"
LISTING = ("namespace", "limit", "offset", "order_by", "search")
LONGEST_S = 30.0


@dataclass
class Fault:
    """
    What goes wrong with the next requests: `status` answers it, `body` too, `drop` answers nothing, `hold` waits.

    Shape: with `after` it begins behind the next request of that method.
    """

    method: str = ""
    times: int = 1
    status: int = 0
    body: bytes | None = None
    drop: bool = False
    done_first: bool = False
    hold: threading.Event | None = None
    below: str = ""
    after: str = ""


@dataclass
class Kept:
    """One stored document; `place` grows with every write."""

    raw: bytes
    etag: str
    place: int


class Service:
    """
    Sessions in a dict behind HTTP.

    Shape: `seen` are the requests as they came; `with_lists`, `with_leases` and `with_tags` tell what it offers;
    `page_rows` caps a listing's page.
    """

    def __init__(self) -> None:
        self.documents: dict[SessionKey, Kept] = {}
        self.leases: dict[SessionKey, LeaseRow] = {}
        self.faults: list[Fault] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.with_lists = self.with_leases = self.with_tags = True
        self.page_rows: int | None = None
        self.held = threading.Semaphore(0)
        self.mutex = threading.RLock()
        self._written = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        """Return the endpoint."""
        return f"http://127.0.0.1:{self._port}{PREFIX}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        with self.mutex:
            if self._server is None:
                self._server = _Server(self, self._port)
                self._port = self._server.server_address[1]
                self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
                self._thread.start()

    def stop(self) -> None:
        """Hang up on everybody and stop listening; what is stored stays."""
        with self.mutex:
            server, self._server = self._server, None
        for fault in self.faults:
            if fault.hold is not None:
                fault.hold.set()
        if server is not None and self._thread is not None:
            server.shutdown()
            self._thread.join()
            server.hang_up()
            server.server_close()

    def inject(self, **fault: Any) -> Fault:
        """Let the next requests fail; see `Fault`."""
        self.faults.append(Fault(**fault))
        return self.faults[-1]

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Take the fault meant for a request."""
        with self.mutex:
            fits = [one for one in self.faults if one.times and one.method in ("", method) and one.below in path]
            found = next((one for one in fits if not one.after), None)
            if found is not None:
                found.times -= 1
            for one in self.faults:
                one.after = "" if one.after == method else one.after
            return found

    # ---- requests ----------------------------------------------------------------------------------------------

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str | None]:
        """Do what a request asks; return status, body and ETag."""
        path, _, query = target.partition("?")
        segments = [unquote(part) for part in path.removeprefix(PREFIX).split("/")[1:]]
        fields = dict(parse_qsl(query, keep_blank_values=True))
        with self.mutex:
            if not segments:
                return self._listed(query) if self.with_lists and method == "GET" else (405, b"", None)
            # Ids of one or two dots come with a `~` behind them, which no proxy takes for a way up.
            dots = re.fullmatch(r"(\.{1,2}~*)~", segments[0])
            key = SessionKey(dots[1] if dots else segments[0], fields.get("namespace", ""))
            if segments[1:] == ["lease"]:
                return self._lease(method, key, fields, body) if self.with_leases else (404, b"", None)
            if len(segments) != 1 or method not in ("GET", "PUT", "DELETE"):
                return 404, b"", None
            if not self._is_holder(key, headers.get("if-lease")):
                return 423, b"", None
            return self._session(method, key, headers, body)

    def _session(
        self, method: str, key: SessionKey, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, str | None]:
        kept = self.documents.get(key)
        if method == "GET":
            tagged = kept.etag if kept and self.with_tags else None
            return (404, b"", None) if kept is None else (200, kept.raw, tagged)
        wanted, absent = headers.get("if-match"), headers.get("if-none-match")
        if (wanted is not None and (kept is None or kept.etag != wanted)) or (absent == "*" and kept is not None):
            return 412, b"", None
        if method == "DELETE":
            return (404, b"", None) if self.documents.pop(key, None) is None else (204, b"", None)
        document = json.loads(body)
        if document["session_id"] != key.session_id or not isinstance(document["messages"], list):
            return 400, b"", None
        self._written += 1
        # A session begun anew has the same revisions, so the tag holds what was written as well.
        digest = hashlib.sha256(body).hexdigest()[:12]
        tag = f'"{document["revision"]}.{digest}"' if self.with_tags else f'"{document["revision"]}"'
        self.documents[key] = Kept(body, tag, self._written)
        return 200 if kept else 201, b"", tag if self.with_tags else None

    def _is_holder(self, key: SessionKey, mark: str | None) -> bool:
        if mark is None:
            return True
        generation, _, owner = mark.partition(" ")
        row = self.leases.get(key, LeaseRow())
        return (row.owner, row.generation) == (unquote(owner), int(generation))

    def _lease(
        self, method: str, key: SessionKey, fields: dict[str, str], body: bytes
    ) -> tuple[int, bytes, str | None]:
        row, now_s = self.leases.get(key, LeaseRow()), time.time()
        new: LeaseRow | None
        if method == "DELETE":
            held = Lease(key, fields["owner"], int(fields["generation"]), 0.0)
            new, refused = leases.released(row, held), 409
        else:
            asked = json.loads(body)
            if "generation" in asked:
                try:
                    held = Lease(key, asked["owner"], asked["generation"], 0.0)
                    new, refused = leases.renewed(row, held, asked["ttl_s"], now_s), 409
                except LeaseExpiredError:
                    new, refused = None, 409
            else:
                new, refused = leases.claimed(row, asked["owner"], asked["ttl_s"], now_s), 423
        if new is not None:
            self.leases[key] = new
        return 200 if new else refused, json.dumps((new or row).to_dict()).encode(), None

    def _listed(self, query: str) -> tuple[int, bytes, str | None]:
        pairs = parse_qsl(query, keep_blank_values=True)
        asked = {name: [value for other, value in pairs if other == name] for name in LISTING}
        filters = from_query(urlencode([pair for pair in pairs if pair[0] not in LISTING]))
        namespace = asked["namespace"][0] if asked["namespace"] else None
        rows = []
        for key, kept in sorted(self.documents.items(), key=lambda item: item[1].place, reverse=True):
            document = json.loads(kept.raw)
            messages, archived = document.pop("messages"), document.pop("archived_messages", [])
            document.pop("recent_writes", None)
            texts = [text_of(message.get("content")).lower() for message in (*messages, *archived)]
            has_term = any(term in text for term in asked["search"] for text in texts)
            if namespace in (None, key.namespace) and (has_term or not asked["search"]):
                info = SessionInfo.from_header(document, len(messages), len(kept.raw), key.namespace)
                rows.append((info.record(), info))
        total = len(list(selected(rows, filters, None, None, 0)))
        limits = [int(asked["limit"][0])] if asked["limit"] else []
        limits += [] if self.page_rows is None else [self.page_rows]
        offset = int(asked["offset"][0]) if asked["offset"] else 0
        found = selected(rows, filters, asked["order_by"], min(limits, default=None), offset)
        return 200, json.dumps({"sessions": [vars(info) for info in found], "total": total}).encode(), None


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, service: Service, port: int) -> None:
        self.service = service
        self.sockets: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def hang_up(self) -> None:
        """Cut every open connection, so that its thread ends."""
        for one in list(self.sockets):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # its peer was faster

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Let a connection end that its peer cut; anything else is told of."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        """Note the connection."""
        super().setup()
        # Headers and body go out in two writes, and the second must not wait for the first one's receipt.
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.sockets.add(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.server.sockets.discard(self.connection)
        super().finish()

    def handle_one_request(self) -> None:
        """Read one request, or end where the peer hung up."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def _serve(self) -> None:
        service = self.server.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        service.seen.append((self.command, self.path, headers))
        fault = service.fault_for(self.command, self.path)
        if fault is not None and fault.hold is not None:
            service.held.release()
            fault.hold.wait(LONGEST_S)
        if fault is None or fault.done_first or fault.hold is not None:
            try:
                status, answer, etag = service.answer(self.command, self.path, headers, body)
            except ValueError as error:
                status, answer, etag = 400, str(error).encode(), None
        else:
            status, answer, etag = 200 if fault.body is not None else 500, b"", None
        if fault is not None and fault.drop:
            self.close_connection = True
            return
        if fault is not None:
            status = fault.status or status
            answer = fault.body if fault.body is not None else b"" if fault.status else answer
        self.send_response(status)
        if etag is not None:
            self.send_header("ETag", etag)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if status != 204:
            self.wfile.write(answer)

    def do_GET(self) -> None:
        """Answer a GET."""
        self._serve()

    def do_PUT(self) -> None:
        """Answer a PUT."""
        self._serve()

    def do_DELETE(self) -> None:
        """Answer a DELETE."""
        self._serve()


class PlacedHttpEngine(HttpEngine):
    """An engine with a service of its own, which stops with it and starts again where the engine is used again."""

    def __init__(self, **options: Any) -> None:
        self.service = Service()
        super().__init__(self.service.url, **options)

    def _open(self) -> Any:
        self.service.start()
        return super()._open()

    def close(self) -> None:
        """Close the connections and stop the service."""
        super().close()
        self.service.stop()


def http(path: Path) -> HttpEngine:
    """Return an open, empty engine on a service of its own; `path` is not needed."""
    return PlacedHttpEngine()
