"""Servers by hand that do what a real one never does: they answer by a script, stall, or go away."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Semaphore, Thread


@dataclass(frozen=True)
class Reply:
    """What a scripted server answers once."""

    status: int
    body: bytes = b"{}"
    headers: Mapping[str, str] | None = None


class ScriptedServer(ThreadingHTTPServer):
    """Answers one reply a request, the last one for ever; remembers the requests."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), _Scripted)
        self.replies = list(replies)
        self.seen: list[tuple[str, str, Mapping[str, str]]] = []
        self.bodies: list[bytes] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that tries TLS first is no error."""


class _Scripted(BaseHTTPRequestHandler):
    server: ScriptedServer
    wbufsize = -1  # head and body leave together

    def _answer(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        reply = self.server.replies.pop(0) if len(self.server.replies) > 1 else self.server.replies[0]
        self.send_response(reply.status)
        for name, value in (reply.headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def scripted(*replies: Reply) -> Iterator[ScriptedServer]:
    with ScriptedServer(*replies) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that is cut is what these are for."""


class StallingProxy(_Proxy):
    """Passes bytes to a registry until `limit` have gone there, then holds them back until `released` is set.

    `reached` is set from the limit on: the push is in the middle of a layer. `stalls` is released once a connection
    that waits; `hung_up` is set when such a connection has ended.
    """

    def __init__(self, upstream: str, limit: int) -> None:
        super().__init__(_Stalling)
        self.upstream = upstream
        self.left = limit
        self.reached = Event()
        self.stalls = Semaphore(0)
        self.released = Event()
        self.hung_up = Event()


class _Stalling(BaseRequestHandler):
    server: StallingProxy

    def handle(self) -> None:
        name, _, port = self.server.upstream.partition(":")
        with socket.create_connection((name, int(port))) as upstream:
            Thread(target=copy, args=(upstream, self.request), daemon=True).start()
            waiting = False
            try:
                while piece := self.request.recv(1 << 14):
                    self.server.left -= len(piece)
                    if self.server.left < 0:
                        self.server.reached.set()
                        if not waiting:
                            waiting = True
                            self.server.stalls.release()
                        self.server.released.wait()
                    upstream.sendall(piece)
            finally:
                if waiting:
                    self.server.hung_up.set()


class EngineProxy(_Proxy):
    """The engine's own socket by TCP, until `cut`: then it is gone for its clients, as a stopped engine is."""

    def __init__(self) -> None:
        super().__init__(_ToEngine)
        self.open: list[socket.socket] = []

    def cut(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in self.open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _ToEngine(BaseRequestHandler):
    server: EngineProxy

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect("/var/run/docker.sock")
            self.server.open += [self.request, upstream]
            Thread(target=copy, args=(upstream, self.request), daemon=True).start()
            copy(self.request, upstream)


def copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 14):
            target.sendall(piece)


@contextmanager
def stalling(upstream: str, limit: int) -> Iterator[StallingProxy]:
    with StallingProxy(upstream, limit) as proxy:
        Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            proxy.shutdown()
