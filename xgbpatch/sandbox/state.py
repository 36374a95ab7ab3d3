"""What the sandbox made and runs: its journal, and the processes in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xgbpatch.errors import SandboxError
from xgbpatch.sandbox.options import SandboxOptions
from xgbpatch.util import locked_path

_GRACE_SECONDS = 5.0
_LOG_LINES = 15


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
    """Boot and clock tick at which `pid` started (proc(5), field 22 of stat); empty when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}/{fields[19]}"


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
        return self.directory / "bundle.crt"


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
