"""ECR under its real host names without port 443 and /etc/hosts: the sandbox's AWS endpoint, registries with a
certificate for these names (the account's, and the one that AWS publishes the bases in), and a proxy (HTTPS_PROXY) that
leads every CONNECT to them."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import bcrypt
import trustme

from support.aws import ACCOUNT, REGION
from support.registries import free_port, registry_program, running
from support.servers import copy
from xgbpatch import catalogue
from xgbpatch.reference import ImageReference
from xgbpatch.sandbox import registries
from xgbpatch.sandbox.state import Journal, RegistryHost, SandboxState

_FRONT = """
import json, socket, sys
from pathlib import Path
from xgbpatch.sandbox.ecr_server import main
folder, ports = sys.argv[1], json.loads(sys.argv[2])
real = socket.getaddrinfo
socket.getaddrinfo = lambda name, to, *more, **rest: real(
    *(("127.0.0.1", ports[name]) if name in ports else (name, to)), *more, **rest
)
main(Path(folder))
"""  # as the module's own program; it uses no proxy, and /etc/hosts is not ours to write
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
BASES = catalogue.image_uri("3.2-0", REGION).host
ELSEWHERE = "registry.example.com"


@dataclass(frozen=True)
class Ecr:
    """`variables` point requests and boto3 of any process to it."""

    endpoint: str
    variables: dict[str, str]

    def reference(self, name: str) -> ImageReference:
        return ImageReference.parse(f"{HOST}/{name}")


@contextmanager
def ecr_on_loopback(folder: Path) -> Iterator[Ecr]:
    hosts = tuple(RegistryHost(name, "127.0.0.1", name.partition(".")[0], REGION) for name in (HOST, BASES))
    ports, aws = {name: free_port() for name in (HOST, BASES, ELSEWHERE)}, free_port()
    endpoint = f"http://127.0.0.1:{aws}"
    state = SandboxState(ACCOUNT, folder, folder / "hosts", registries=hosts, endpoint=endpoint)
    Journal(state)
    _certificate(folder, ports)
    front = [sys.executable, "-c", _FRONT, str(folder), json.dumps(ports)]
    with ExitStack() as servers:
        for host in hosts:
            passwords = folder / f"{host.account}.htpasswd"
            secret = bcrypt.hashpw(host.password.encode(), bcrypt.gensalt(rounds=4)).decode()
            passwords.write_text(f"AWS:{secret}\n")
            store = registries.store(host, state)
            auth = f"auth: {{htpasswd: {{realm: loopback, path: {passwords}}}}}"
            servers.enter_context(_registry(folder, host.host, ports, store, auth))
        servers.enter_context(_registry(folder, ELSEWHERE, ports, folder / "elsewhere"))
        servers.enter_context(running(front, folder / "aws.log", aws))
        way = servers.enter_context(_Proxy(ports))
        Thread(target=way.serve_forever, args=(0.01,), daemon=True).start()
        proxy = f"http://127.0.0.1:{way.server_address[1]}"
        variables = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": REGION,
            "HTTPS_PROXY": proxy,
            "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(folder / "ca.crt"),
            "HOME": str(folder),
        }
        try:
            yield Ecr(endpoint, variables)
        finally:
            way.shutdown()


def _certificate(folder: Path, names: Iterable[str]) -> None:
    authority = trustme.CA()
    server = authority.issue_cert(*names)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    server.private_key_pem.write_to_path(folder / "tls.key")
    server.cert_chain_pems[0].write_to_path(folder / "tls.crt")


@contextmanager
def _registry(folder: Path, name: str, ports: Mapping[str, int], store: Path, auth: str = "") -> Iterator[None]:
    config = folder / f"{name}.yml"
    config.write_text(
        f"""
version: 0.1
log: {{level: error}}
storage:
  filesystem: {{rootdirectory: {store}}}
  delete: {{enabled: true}}
{auth}
http:
  addr: 127.0.0.1:{ports[name]}
  tls: {{certificate: {folder / "tls.crt"}, key: {folder / "tls.key"}}}
"""
    )
    with running([registry_program(), "serve", str(config)], folder / f"{name}.log", ports[name]):
        yield


class _Proxy(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, ports: Mapping[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Connect)
        self.ports = ports

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that is cut is no error here."""


class _Connect(BaseRequestHandler):
    server: _Proxy

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(1 << 12)
        verb, address, _ = head.decode().split(" ", 2)
        assert verb == "CONNECT", head
        with socket.create_connection(("127.0.0.1", self.server.ports[address.rpartition(":")[0]])) as upstream:
            self.request.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            Thread(target=copy, args=(upstream, self.request), daemon=True).start()
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while piece := self.request.recv(1 << 14):
                upstream.sendall(piece)
                # urllib3 lets the body of a request wait until its head was acknowledged, where there is a proxy
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
