"""A model's service on this machine: it speaks OpenAI's chat completions and Anthropic's messages, and keeps what it was asked."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]


def texts_of(messages: list[Any]) -> list[str]:
    """Return the texts of messages in either form."""
    found = []
    for message in messages:
        content = message.get("content")
        parts = [content] if isinstance(content, str) else content or []
        found += [part if isinstance(part, str) else part.get("text") or "" for part in parts]
    return found


def remembering(messages: list[Any]) -> str:
    """Answer as a model that listens: tell the name somebody gave, when asked for it."""
    said = " ".join(texts_of(messages)[:-1])
    name = re.findall(r"[Mm]y name is (\w+)", said)
    if "name?" in texts_of(messages)[-1]:
        return f"Your name is {name[-1]}" if name else "You did not tell me"
    return "Nice to meet you"


class Service:
    """What a test asks of the stand-in: its URL, what it was asked, and what it answers next."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[Request] = []
        self.paths: list[str] = []
        self.ends = ("stop", "end_turn")  # what OpenAI and Anthropic say an answer ended by
        # Each takes the request and returns the message of the answer, or an HTTP status to fail with.
        self.script: list[Callable[[Request], Any]] = []

    def answer_of(self, path: str, request: Request) -> Any:
        """Return what the service says: the next of the script, else what a model that listens would."""
        self.asked.append(request)
        self.paths.append(path)
        if self.script:
            return self.script.pop(0)(request)
        text = remembering(request["messages"])
        return [{"type": "text", "text": text}] if path.endswith("/messages") else {"role": "assistant", "content": text}


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = service.answer_of(self.path, request)
            failed = isinstance(answer, int)
            body = {"error": {"message": "out of order"}} if failed else self._body(request, answer)
            raw = json.dumps(body).encode()
            self.send_response(answer if failed else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("x-should-retry", "false")
            self.end_headers()
            self.wfile.write(raw)

        def _body(self, request: Request, answer: Any) -> Request:
            if self.path.endswith("/messages"):
                return {"id": "msg_1", "type": "message", "role": "assistant", "model": request["model"],
                        "content": answer, "stop_reason": service.ends[1], "stop_sequence": None,
                        "usage": {"input_tokens": 1, "output_tokens": 1}}
            choice = {"index": 0, "message": answer, "finish_reason": service.ends[0]}
            return {"id": "c1", "object": "chat.completion", "created": 1, "model": request["model"],
                    "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def service() -> Iterator[Service]:
    """Run a service until the block ends."""
    running = Service()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(running))
    server.daemon_threads = True
    running.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
