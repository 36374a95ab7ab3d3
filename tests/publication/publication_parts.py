"""Real parts for these tests: Debian's docker-registry and moto's server; and, by hand, servers that misbehave."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import bcrypt
import requests
import trustme
from registry_program import registry_program

from xgbpatch.engine.values import Credentials
from xgbpatch.reference import ImageReference

USER = Credentials("someone", "correct-horse")
REGION = "us-west-2"
ACCOUNT = "123456789012"  # moto's own


@dataclass(frozen=True)
class LoopbackRegistry:
    """A running docker-registry: `host` is `127.0.0.1:<port>`; `log` has a line a request; `ca` signs its TLS."""

    host: str
    log: Path
    ca: Path | None = None

    def reference(self, name: str) -> ImageReference:
        return ImageReference.parse(f"{self.host}/{name}")

    def writes(self) -> int:
        """How many requests so far would have changed something."""
        text = self.log.read_text()
        return sum(text.count(f'"{verb} /v2/') for verb in ("PUT", "POST", "PATCH"))

    def tags(self, repository: str) -> list[str]:
        answer = requests.get(f"http://{self.host}/v2/{repository}/tags/list", timeout=10)
        return sorted(answer.json().get("tags") or []) if answer.ok else []


@dataclass(frozen=True)
class Kind:
    """How a registry is set up."""

    tls: bool = False
    readonly: bool = False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended at once"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


@contextmanager
def running(command: list[str], log: Path, port: int) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            wait_for(port, process)
            yield
        finally:
            process.terminate()


@contextmanager
def registry(folder: Path, kind: Kind = Kind()) -> Iterator[LoopbackRegistry]:
    """A docker-registry that keeps its blobs in `folder`; a second one on the same folder sees the same images."""
    port = free_port()
    secret = _certificate(folder) + _passwords(folder) if kind.tls else ""
    config = folder / f"{port}.yml"
    config.write_text(
        f"""
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {folder / "blobs"}}}
  delete: {{enabled: true}}
  maintenance: {{readonly: {{enabled: {str(kind.readonly).lower()}}}}}
http:
  addr: 127.0.0.1:{port}
{secret}"""
    )
    log = folder / f"{port}.log"
    with running([registry_program(), "serve", str(config)], log, port):
        yield LoopbackRegistry(f"127.0.0.1:{port}", log, folder / "ca.crt" if kind.tls else None)


def _certificate(folder: Path) -> str:
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.crt")
    server.private_key_pem.write_to_path(folder / "tls.key")
    server.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    return f"  tls: {{certificate: {folder / 'tls.crt'}, key: {folder / 'tls.key'}}}\n"


def _passwords(folder: Path) -> str:
    secret = bcrypt.hashpw(USER.password.encode(), bcrypt.gensalt(rounds=5)).decode()
    (folder / "htpasswd").write_text(f"{USER.username}:{secret}\n")
    return f"auth:\n  htpasswd: {{realm: loopback, path: {folder / 'htpasswd'}}}\n"


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

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that tries TLS first is no error."""


class _Scripted(BaseHTTPRequestHandler):
    server: ScriptedServer

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
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
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


def xgbpatch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    return subprocess.run(command_line(*arguments), capture_output=True, text=True, timeout=120, check=False)


def command_line(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("xgbpatch")), *arguments]


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

    `reached` is set from the limit on: the push is in the middle of a layer.
    """

    def __init__(self, upstream: str, limit: int) -> None:
        super().__init__(_Stalling)
        self.upstream = upstream
        self.left = limit
        self.reached = Event()
        self.released = Event()


class _Stalling(BaseRequestHandler):
    server: StallingProxy

    def handle(self) -> None:
        name, _, port = self.server.upstream.partition(":")
        with socket.create_connection((name, int(port))) as upstream:
            Thread(target=copy, args=(upstream, self.request), daemon=True).start()
            while piece := self.request.recv(1 << 14):
                self.server.left -= len(piece)
                if self.server.left < 0:
                    self.server.reached.set()
                    self.server.released.wait()
                upstream.sendall(piece)


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
        Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            proxy.shutdown()
