"""What a sandbox is asked to be, what it made, and the processes that it runs."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xgbpatch.engine.ownership import start_of
from xgbpatch.errors import ConfigurationError, SandboxError
from xgbpatch.hostnames import BUNDLE, HOSTS
from xgbpatch.util import locked_path

_GRACE_SECONDS = 5.0
_LOG_LINES = 15


@dataclass(frozen=True)
class SandboxOptions:
    """`account` is the user's own; `versions` the stand-in bases to push; `first_address` the first loopback address.

    Every registry host (two a region: the base's account and the user's) takes one address, counted from
    `first_address`, port 443: ECR's host names carry no port, and each account has a password of its own. The
    directory `state` (absolute) is the sandbox's identity. Raises `ConfigurationError` for what cannot be.
    """

    account: str = "123456789012"
    regions: tuple[str, ...] = ("us-west-2", "eu-west-1")
    versions: tuple[str, ...] = ("1.5-1", "3.2-0")
    first_address: str = "127.0.0.2"
    state: Path = field(default_factory=lambda: _state_home() / "xgbpatch" / "sandbox")
    hosts: Path = HOSTS
    certificates: Path = Path("/etc/docker/certs.d")

    def __post_init__(self) -> None:
        _require(bool(re.fullmatch(r"\d{12}", self.account)), "account", self.account, "twelve digits")
        _require(bool(self.regions), "regions", "", "at least one region")
        _require(_is_loopback(self.first_address), "address", self.first_address, "an address in 127.0.0.0/8")
        _require(self.state.is_absolute(), "state directory", str(self.state), "an absolute path")

    def address(self, number: int) -> str:
        """The loopback address of the `number`th registry host."""
        return str(ipaddress.IPv4Address(self.first_address) + number)


def _state_home() -> Path:
    """Where programs keep state (XDG base directory specification)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_loopback
    except ValueError:
        return False


def _require(condition: bool, what: str, value: str, allowed: str) -> None:
    if not condition:
        raise ConfigurationError(f'"{value}" is no sandbox {what}', f"Give {allowed}.")


# The processes of a sandbox.


def start(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start `command` in a session of its own, its output in `log`; raises `SandboxError` where it cannot start."""
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd="/", start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        raise SandboxError(f'"{command[0]}" did not start: {error}') from error
    child.returncode = 0  # ours no longer: no warning about a child left running when the object goes
    return Process(name, child.pid, _started(child.pid))


def running(process: Process) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    with suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return bool(process.started) and _started(process.pid) == process.started


def stop(processes: Sequence[Process]) -> None:
    """End them: SIGTERM, then SIGKILL after a grace time. One that is gone, or whose number was reused, is let be."""
    _signal(processes, signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while any(map(running, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(processes, signal.SIGKILL)
    while any(map(running, processes)):
        time.sleep(0.05)


def last_lines(log: Path) -> str:
    """The end of a log, to show in an error."""
    with suppress(OSError):
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
    return ""


def _signal(processes: Sequence[Process], number: signal.Signals) -> None:
    for process in filter(running, processes):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _started(pid: int) -> str:
    """Boot and clock tick at which `pid` started; empty when it is gone or a zombie."""
    try:
        start = start_of(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return f"{boot}/{start}" if start else ""


# What a sandbox has made, written down before it is made, so that `down` finds it after any interruption.


_FILE = "state.json"


@dataclass(frozen=True)
class Process:
    """A process we started. `started` tells it from a later process under the same number."""

    name: str
    pid: int
    started: str


@dataclass(frozen=True)
class RegistryHost:
    """An ECR host name, the loopback address it stands for, and whose registry it is."""

    host: str
    address: str
    account: str
    region: str

    @property
    def password(self) -> str:
        """What moto's `GetAuthorizationToken` answers for this account (user `AWS`)."""
        return f"{self.account}-auth-token"


@dataclass(frozen=True)
class SandboxState:
    """A sandbox as made so far. `endpoint` is the AWS endpoint's URL; `bases` are the versions already pushed.

    `created` are files and directories outside of `directory`, in the order of their making.
    """

    account: str
    directory: Path
    hosts: Path
    registries: tuple[RegistryHost, ...] = ()
    endpoint: str = ""
    processes: tuple[Process, ...] = ()
    created: tuple[Path, ...] = ()
    bases: tuple[str, ...] = ()
    complete: bool = False

    @property
    def region(self) -> str:
        return self.registries[0].region

    @property
    def authority(self) -> Path:
        """The certificate authority, PEM."""
        return self.directory / "ca.crt"

    @property
    def bundle(self) -> Path:
        """The machine's certificate authorities and ours, PEM."""
        return self.directory / BUNDLE


class Journal:
    """The state on disk while a sandbox comes up: every change is durable before the step that follows it."""

    def __init__(self, state: SandboxState) -> None:
        self.state = state
        state.directory.mkdir(parents=True, exist_ok=True)
        self.update()

    def update(self, **changes: Any) -> SandboxState:
        self.state = replace(self.state, **changes)
        draft = self.state.directory / f"{_FILE}.new"
        draft.write_text(json.dumps(asdict(self.state), default=str, indent=2), encoding="utf-8")
        os.replace(draft, self.state.directory / _FILE)
        return self.state

    def create(self, path: Path) -> Path:
        """Note that `path` is about to be made by us."""
        self.update(created=(*self.state.created, path))
        return path


def read(directory: Path) -> SandboxState | None:
    """The sandbox whose state lies in `directory`; None where there is none."""
    try:
        text = (directory / _FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SandboxError(
            f'"{directory}" cannot be read: {error.strerror}', "Run the same command as root."
        ) from error
    try:
        return _parse(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise SandboxError(
            f'the sandbox\'s state in "{directory / _FILE}" cannot be read: {error}',
            "Was it written by another version of xgbpatch? Take the sandbox down with that one.",
        ) from error


def _parse(record: dict[str, Any]) -> SandboxState:
    paths = {name: Path(record[name]) for name in ("directory", "hosts")}
    return SandboxState(**{
        **record,
        **paths,
        "registries": tuple(RegistryHost(**registry) for registry in record["registries"]),
        "processes": tuple(Process(**process) for process in record["processes"]),
        "created": tuple(Path(path) for path in record["created"]),
        "bases": tuple(record["bases"]),
    })  # fmt: skip


@contextmanager
def locked(options: SandboxOptions) -> Iterator[None]:
    """One `up` or `down` at a time: the parent is locked, since the state directory itself comes and goes."""
    parent = options.state.parent
    parent.mkdir(parents=True, exist_ok=True)
    with locked_path(parent):
        yield
