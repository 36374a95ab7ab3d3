"""Registries on loopback: Debian's docker-registry, as many and as guarded as a test needs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import bcrypt
import requests
import trustme

from xgbpatch.progress import Silent
from xgbpatch.reference import Credentials, ImageReference
from xgbpatch.sandbox.registries import find_registry
from xgbpatch.util import locked_path

USER = Credentials("someone", "correct-horse")


@cache
def registry_program() -> str:
    """The machine's own docker-registry, or Debian's package in the user's cache, which is fetched anew each month."""
    if program := shutil.which("docker-registry"):
        return program
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xgbpatch" / "test-registry"
    root.mkdir(parents=True, exist_ok=True)
    package = root / time.strftime("%Y-%m")
    with locked_path(root):
        if not package.is_dir():
            with tempfile.TemporaryDirectory(dir=root) as scratch:
                find_registry(Path(scratch) / "package", Silent())
                (Path(scratch) / "package").rename(package)
    return str(package / "usr/bin/docker-registry")


@dataclass(frozen=True)
class LoopbackRegistry:
    """A running docker-registry: `host` is `127.0.0.1:<port>`; `log` has a line a request; `ca` signs its TLS.

    Repositories are named below `prefix`.
    """

    host: str
    log: Path
    ca: Path | None = None
    prefix: str = ""

    def reference(self, name: str) -> ImageReference:
        return ImageReference.parse(f"{self.host}/{self.prefix}{name}")

    def writes(self) -> int:
        """How many requests so far would have changed something."""
        text = self.log.read_text()
        return sum(text.count(f'"{verb} /v2/') for verb in ("PUT", "POST", "PATCH"))

    def tags(self, repository: str) -> list[str]:
        answer = requests.get(f"http://{self.host}/v2/{self.prefix}{repository}/tags/list", timeout=120)
        return sorted(answer.json().get("tags") or []) if answer.ok else []


@dataclass(frozen=True)
class Kind:
    """How a registry is set up."""

    tls: bool = False
    readonly: bool = False


_reserved: list[socket.socket] = []


def free_port() -> int:
    """A port for a server that binds it with SO_REUSEADDR; the system gives it to nobody else while this process lives.

    The socket that is bound to it stays open and never listens.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    _reserved.append(reserved)
    return int(reserved.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
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
    secret = bcrypt.hashpw(USER.password.encode(), bcrypt.gensalt(rounds=4)).decode()
    (folder / "htpasswd").write_text(f"{USER.username}:{secret}\n")
    return f"auth:\n  htpasswd: {{realm: loopback, path: {folder / 'htpasswd'}}}\n"
