"""An HTTP server on loopback that sends exactly the headers and bytes it is given, sensible or not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from xgbpatch.reference import ImageReference


@dataclass(frozen=True)
class Answer:
    """Exactly these headers: no Content-Length that is not among them, so the connection's end ends the body."""

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int = 200


class Server(ThreadingHTTPServer):
    """Answers by method, and by method and path where that is listed; remembers the calls and what was put."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answers: dict[str, Answer], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.answers = answers
        self.calls: list[str] = []
        self.put: list[bytes] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def reference(self) -> ImageReference:
        return ImageReference.parse(f"{self.host}/a/b:1")

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that tries TLS first is no error."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append(f"{self.command} {self.path}")
        if self.command == "PUT":
            self.server.put.append(body)
        part = next((key for key in self.server.answers if key in self.server.calls[-1] and " " in key), self.command)
        answer = self.server.answers.get(part, Answer(status=404))
        self.send_response_only(answer.status)
        for name, value in {**answer.headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def served(tls: ssl.SSLContext | None = None, **answers: Answer) -> Iterator[Server]:
    """Names are methods; `GET_tags` is for GET of a path that begins so below the repository."""
    keyed = {name.replace("_", " /v2/a/b/"): answer for name, answer in answers.items()}
    with Server(keyed, tls) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
