"""The distribution registry under ECR's host names: one process, address, password and store for each registry."""

from __future__ import annotations

import base64
import errno
import json
import secrets
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from xgbpatch.errors import SandboxError
from xgbpatch.sandbox import certificates, processes
from xgbpatch.sandbox.options import SandboxOptions
from xgbpatch.sandbox.state import Process, RegistryHost, SandboxState

_PORT = 443
_START_SECONDS = 30.0


def plan(options: SandboxOptions) -> tuple[RegistryHost, ...]:
    """The registries of a sandbox: for each region the base's and the user's own, the base's first.

    Raises `ConfigurationError` for a region that AWS publishes no image in.
    """
    found = []
    for region in options.regions:
        base, _, domain = _base_host(region).partition(".")
        found += [(account, f"{account}.{domain}", region) for account in (base, options.account)]
    return tuple(
        RegistryHost(host, options.address(number), account, region)
        for number, (account, host, region) in enumerate(found)
    )


def _base_host(region: str) -> str:
    from xgbpatch import catalogue

    newest = catalogue.versions()[-1].version
    return catalogue.image_uri(newest, region).host


def is_base(registry: RegistryHost, state: SandboxState) -> bool:
    """Whether AWS's images are in that registry; otherwise it is the user's own."""
    return registry.account != state.account


def store(registry: RegistryHost, state: SandboxState) -> Path:
    """Where that registry keeps its images; AWS's have one store in all regions."""
    return state.directory / "store" / ("bases" if is_base(registry, state) else registry.host)


def require_free_addresses(registries: tuple[RegistryHost, ...]) -> None:
    """Raises `SandboxError` where port 443 of an address is taken, or is not ours to take."""
    for registry in registries:
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((registry.address, _PORT))
        except OSError as error:
            raise _refusal(registry.address, error) from error


def _refusal(address: str, error: OSError) -> SandboxError:
    steps = {
        errno.EADDRINUSE: "See what listens there (ss -ltnp 'sport = :443'), stop it, or give another --address.",
        errno.EACCES: "Run the sandbox as root.",
        errno.EADDRNOTAVAIL: "The sandbox needs Linux, where the whole of 127.0.0.0/8 is loopback.",
    }
    return SandboxError(
        f'port {_PORT} of "{address}" cannot be used: {error.strerror}', steps.get(error.errno or 0, "")
    )


@dataclass(frozen=True)
class Installation:
    """What all registries of a sandbox share: the program and the server's certificate."""

    program: str
    directory: Path

    @classmethod
    def make(cls, program: str, state: SandboxState) -> Installation:
        """Write the certificate, its key, the authority and the bundle into the sandbox's directory."""
        names = sorted({f"*.{registry.host.partition('.')[2]}" for registry in state.registries})
        pair = certificates.make(names)
        (state.directory / "server.crt").write_bytes(pair.certificate)
        _private(state.directory / "server.key", pair.key)
        state.authority.write_bytes(pair.authority)
        state.bundle.write_bytes(certificates.machine_authorities() + b"\n" + pair.authority)
        return cls(program, state.directory)

    def start(self, registry: RegistryHost, store: Path) -> Process:
        """Start the process that answers under `registry.host`, with its images in the directory `store`."""
        home = self.directory / registry.host
        home.mkdir()
        _private(home / "htpasswd", _htpasswd(registry.password))
        _private(home / "config.yml", json.dumps(self._configuration(registry, store), indent=2).encode())
        command = [self.program, "serve", str(home / "config.yml")]
        return processes.start(registry.host, command, {"OTEL_TRACES_EXPORTER": "none"}, home / "log")

    def _configuration(self, registry: RegistryHost, store: Path) -> dict[str, object]:
        tls = {"certificate": str(self.directory / "server.crt"), "key": str(self.directory / "server.key")}
        return {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(store)},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"{registry.address}:{_PORT}", "secret": secrets.token_hex(16), "tls": tls},
            "auth": {"htpasswd": {"realm": "ecr", "path": str(self.directory / registry.host / "htpasswd")}},
        }


def wait_until_all_answer(state: SandboxState) -> None:
    """Raises `SandboxError`, with the end of its log, for a registry that does not answer in time."""
    deadline = time.monotonic() + _START_SECONDS
    for registry in state.registries:
        while (problem := _problem(registry, state)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if problem:
            log = processes.last_lines(state.directory / registry.host / "log")
            raise SandboxError(f'the registry "{registry.host}" does not answer: {problem}\n{log}')


def _problem(registry: RegistryHost, state: SandboxState) -> str:
    """Why that registry does not yet answer an authorized request; empty when it does."""
    token = base64.b64encode(f"AWS:{registry.password}".encode()).decode()
    request = urllib.request.Request(f"https://{registry.host}/v2/", headers={"Authorization": f"Basic {token}"})
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(state.authority)))
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({}), tls).open(request, timeout=5).close()
    except (urllib.error.URLError, OSError) as error:
        return str(error)
    return ""


def _htpasswd(password: str) -> bytes:
    import bcrypt  # the only hash that the registry takes

    return b"AWS:" + bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=5)) + b"\n"


def _private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
