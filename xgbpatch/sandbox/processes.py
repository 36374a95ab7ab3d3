"""Processes that outlive the command which started them, and are never confused with another under the same number."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from xgbpatch.errors import SandboxError
from xgbpatch.sandbox.state import Process

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
