"""The registries of the sandbox: the program, its certificates and passwords, and the processes."""

from __future__ import annotations

import base64
import errno
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from xgbpatch.errors import SandboxError
from xgbpatch.progress import Progress
from xgbpatch.sandbox import state as sandbox_state
from xgbpatch.sandbox.state import Process, RegistryHost, SandboxOptions, SandboxState

if TYPE_CHECKING:
    from cryptography import x509

_PACKAGE = "docker-registry"
_NEXT_STEP = f"Install the distribution registry (Debian: apt-get install {_PACKAGE}), then run this again."


def find_registry(directory: Path, progress: Progress) -> str:
    """Path of the program. Where the machine has none, Debian's package is unpacked under `directory`.

    Unpacked rather than installed: the package would start a registry without a password on port 5000 of every
    address, and would outlive the sandbox. Raises `SandboxError` where there is no apt either.
    """
    for name in (_PACKAGE, "registry"):
        if program := shutil.which(name):
            return program
    if not shutil.which("apt-get"):
        raise SandboxError(f'there is no program "{_PACKAGE}" on this machine', _NEXT_STEP)
    progress.line(f"{_PACKAGE}: fetching Debian's package")
    return str(_unpack(directory))


def _unpack(directory: Path) -> Path:
    directory.mkdir(parents=True)
    if _run(["apt-get", "download", _PACKAGE], directory).returncode:
        _run(["apt-get", "update"], directory)
        fetched = _run(["apt-get", "download", _PACKAGE], directory)
        if fetched.returncode:
            raise SandboxError(f'apt-get could not fetch "{_PACKAGE}": {fetched.stderr.strip()}', _NEXT_STEP)
    archive = next(directory.glob("*.deb"))
    _run(["dpkg-deb", "--extract", archive.name, "."], directory).check_returncode()
    return directory / "usr" / "bin" / _PACKAGE


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


# A certificate authority that forgets its key at once, and the one server certificate that it signs.


_LIFETIME = timedelta(days=365)
_NAME = "xgbpatch sandbox"


def write_certificates(state: SandboxState) -> None:
    """Put the authority, a server certificate for all registries with its key, and the bundle into the sandbox's
    directory. The authority's key is not kept."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    names = sorted({f"*.{registry.host.partition('.')[2]}" for registry in state.registries})
    authority = (
        _certificate(f"{_NAME} CA", signs_others=True)
        .public_key(authority_key.public_key())
        .add_extension(identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _certificate(_NAME, signs_others=False)
        .public_key(key.public_key())
        .add_extension(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_private(state.directory / "server.key", private)
    (state.directory / "server.crt").write_bytes(server.public_bytes(pem))
    state.authority.write_bytes(authority.public_bytes(pem))
    state.bundle.write_bytes(machine_authorities() + b"\n" + authority.public_bytes(pem))


def _certificate(name: str, signs_others: bool) -> x509.CertificateBuilder:
    """What both certificates have in common; the authority's own is the one that `signs_others`."""
    from cryptography import x509

    subject, issuer = (
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)]) for text in (name, f"{_NAME} CA")
    )
    begin = datetime.now(timezone.utc) - timedelta(hours=1)  # clocks differ
    usage = x509.KeyUsage(
        digital_signature=not signs_others, key_cert_sign=signs_others, crl_sign=signs_others,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=signs_others, path_length=0 if signs_others else None), critical=True)
        .add_extension(usage, critical=True)
    )


def machine_authorities() -> bytes:
    """The authorities that this machine trusts, PEM: the caller's own bundle first, else the system's."""
    declared = (os.environ.get(name, "") for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"))
    for candidate in (*declared, ssl.get_default_verify_paths().cafile or "", "/etc/ssl/certs/ca-certificates.crt"):
        if candidate and Path(candidate).is_file():
            return Path(candidate).read_bytes()
    return b""


# The distribution registry under ECR's host names: one process, address, password and store for each registry.


_PORT = 443
_START_SECONDS = 60.0


def plan(options: SandboxOptions) -> tuple[RegistryHost, ...]:
    """The registries of a sandbox: for each region the base's and the user's own, the base's first.

    Raises `ConfigurationError` for a region that AWS publishes no image in.
    """
    from xgbpatch import catalogue

    newest = catalogue.versions()[-1].version
    names = []
    for region in options.regions:
        base, _, domain = catalogue.image_uri(newest, region).host.partition(".")
        names += [(account, f"{account}.{domain}", region) for account in (base, options.account)]
    return tuple(
        RegistryHost(host, options.address(number), account, region)
        for number, (account, host, region) in enumerate(names)
    )


def is_base(registry: RegistryHost, state: SandboxState) -> bool:
    """Whether AWS's images are in that registry; otherwise it is the user's own."""
    return registry.account != state.account


def store(registry: RegistryHost, state: SandboxState) -> Path:
    """Where that registry keeps its images; AWS's have one store in all regions."""
    return state.directory / "store" / ("bases" if is_base(registry, state) else registry.host)


def require_free_addresses(registries: tuple[RegistryHost, ...]) -> None:
    """Raises `SandboxError` where port 443 of an address is taken, or is not ours to take."""
    steps = {
        errno.EADDRINUSE: "See what listens there (ss -ltnp 'sport = :443'), stop it, or give another --address.",
        errno.EACCES: "Run the sandbox as root.",
        errno.EADDRNOTAVAIL: "The sandbox needs Linux, where the whole of 127.0.0.0/8 is loopback.",
    }
    for registry in registries:
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((registry.address, _PORT))
        except OSError as error:
            message = f'port {_PORT} of "{registry.address}" cannot be used: {error.strerror}'
            raise SandboxError(message, steps.get(error.errno or 0, "")) from error


def start(program: str, registry: RegistryHost, state: SandboxState) -> Process:
    """Start the process that answers under `registry.host`, with the sandbox's certificate."""
    import bcrypt  # the only hash that the registry takes

    home = state.directory / registry.host
    home.mkdir()
    secret = bcrypt.hashpw(registry.password.encode(), bcrypt.gensalt(rounds=5))
    _write_private(home / "htpasswd", b"AWS:" + secret + b"\n")
    tls = {"certificate": str(state.directory / "server.crt"), "key": str(state.directory / "server.key")}
    configuration = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(store(registry, state))}, "delete": {"enabled": True}},
        "http": {"addr": f"{registry.address}:{_PORT}", "secret": secrets.token_hex(16), "tls": tls},
        "auth": {"htpasswd": {"realm": "ecr", "path": str(home / "htpasswd")}},
    }
    _write_private(home / "config.yml", json.dumps(configuration, indent=2).encode())
    command = [program, "serve", str(home / "config.yml")]
    return sandbox_state.start(registry.host, command, {"OTEL_TRACES_EXPORTER": "none"}, home / "log")


def wait_until_all_answer(state: SandboxState) -> None:
    """Raises `SandboxError`, with the end of its log, for a registry that does not answer in time."""
    deadline = time.monotonic() + _START_SECONDS
    for registry in state.registries:
        while (problem := _problem(registry, state)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if problem:
            log = sandbox_state.last_lines(state.directory / registry.host / "log")
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


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
