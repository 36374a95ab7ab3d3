"""A reverse proxy that passes requests to a real registry, except where it was told to misbehave.

Like most proxies before registries it reads a request to its end before it passes it on: what a client sent of one
that was cut never reaches the registry, unless the fault says that it does.
"""

from __future__ import annotations

import http.client
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

_HOP = {"connection", "transfer-encoding", "keep-alive"}


class Wrong(Enum):
    """What goes wrong with a request."""

    REFUSED = auto()  # answered with `status`; the registry never hears of it
    CUT_SENDING = auto()  # the connection ends after `after` bytes of the body came from the client
    HALF_ARRIVED = auto()  # the same, and the registry gets those bytes
    ANSWER_LOST = auto()  # the registry does it, and the connection ends
    CUT_ANSWERING = auto()  # the connection ends after `after` bytes of the answer's body
    FLIPPED = auto()  # byte `after` of the answer's body is another one
    LATE = auto()  # the registry hears of it `seconds` after it came
    SILENT = auto()  # no answer, for as long as the client waits


@dataclass(frozen=True)
class Fault:
    """Befalls the next requests that fit, from the `skip`-th on, `times` of them."""

    method: str
    path: str
    wrong: Wrong
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int = 0
    seconds: float = 0.0
    skip: int = 0
    times: int = 1


@dataclass(frozen=True)
class Seen:
    """A request: what it asked for, how it was answered, and the bytes of both bodies."""

    method: str
    path: str
    authorization: str
    status: int
    sent: int
    received: int


class FaultyProxy(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: str, *faults: Fault) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.upstream = upstream
        self.seen: list[Seen] = []
        self._lock = Lock()
        self._faults = [[fault, fault.skip, fault.times] for fault in faults]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def fault_of(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for entry in self._faults:
                fault, skip, times = entry
                if method == fault.method and re.search(fault.path, path) and times:
                    entry[1 if skip else 2] -= 1
                    return None if skip else fault
        return None

    def count(self, method: str, path: str = "") -> int:
        return sum(request.method == method and re.search(path, request.path) is not None for request in self.seen)

    def sent(self) -> int:
        """Bytes of bodies that came from clients."""
        return sum(request.sent for request in self.seen)

    def received(self) -> int:
        """Bytes of bodies that went to clients."""
        return sum(request.received for request in self.seen)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that is cut is what this is for."""


class _Passing(BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.fault = self.server.fault_of(self.command, self.path)
        wrong = self.fault.wrong if self.fault else None
        length = int(self.headers.get("Content-Length", 0))
        if self.fault and wrong in (Wrong.CUT_SENDING, Wrong.HALF_ARRIVED):
            return self._cut(self.rfile.read(min(length, self.fault.after)), length)
        self.sent = self.rfile.read(length)
        if self.fault and wrong is Wrong.REFUSED:
            return self._reply(self.fault.status, self.fault.headers, b"{}")
        if wrong is Wrong.SILENT:
            self._note(0, 0)
            with suppress(OSError):
                self.connection.recv(1)
            return None
        if self.fault and wrong is Wrong.LATE:
            time.sleep(self.fault.seconds)
        status, headers, body = self._upstream(self.sent)
        if wrong is Wrong.ANSWER_LOST:
            self._note(status, 0)
            return self._hang_up()
        return self._reply(status, headers, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _answer

    def _cut(self, part: bytes, length: int) -> None:
        self.sent = part
        if self.fault.wrong is Wrong.HALF_ARRIVED:
            name, _, port = self.server.upstream.partition(":")
            with socket.create_connection((name, int(port))) as upstream:
                head = f"{self.command} {self.path} HTTP/1.1\r\n{self.headers}".replace("\n", "\r\n").replace(
                    "\r\r", "\r"
                )
                upstream.sendall(head.encode() + part)
        self._note(0, 0)
        self._hang_up()

    def _upstream(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=300)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        wrong = self.fault.wrong if self.fault else None
        if wrong is Wrong.FLIPPED:
            body = body[: self.fault.after] + bytes([body[self.fault.after] ^ 1]) + body[self.fault.after + 1 :]
        cut = wrong is Wrong.CUT_ANSWERING
        body_sent = body[: self.fault.after] if cut and self.fault else body
        self._note(status, len(body_sent))  # before the client can ask what was noted
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in _HOP and (name.lower() != "content-length" or self.command == "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body_sent)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _note(self, status: int, received: int) -> None:
        authorization = self.headers.get("Authorization", "")
        self.server.seen.append(Seen(self.command, self.path, authorization, status, len(self.sent), received))

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def faulty(upstream: str, *faults: Fault) -> Iterator[FaultyProxy]:
    with FaultyProxy(upstream, *faults) as proxy:
        Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
