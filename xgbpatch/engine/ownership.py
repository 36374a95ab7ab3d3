"""Which process a container belongs to, so that the next command removes what a killed one left, and nothing else.

Commands in several CI containers may share one engine, one host name and the same process numbers. A process is
therefore named by what tells it from every other one: the boot of its kernel, its PID namespace, its number and the
moment it started. Only who shares the first two can tell whether it runs; all others leave its containers alone.
"""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

OWNER_LABEL = "io.xgbpatch.session"

_PROC = Path("/proc")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_STATE, _START = 0, 19  # of stat's fields from the third on (proc(5) counts from 1, and from the process number)


class Life(Enum):
    """Whether a process runs, as far as this process can tell."""

    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Owner:
    """A process. What its system does not tell (macOS has no /proc) is empty.

    `namespaces` are the inodes of its PID and its time namespace: the first is what `pid` counts in, the second what
    `start` (clock ticks since the boot) is measured in. `host` is for people to read and compared with nothing.
    """

    host: str
    boot: str
    namespaces: str
    pid: int
    start: str

    @classmethod
    def parse(cls, label: str) -> Owner | None:
        """The process that a label names; None for the `host:pid` of older versions and for any other text."""
        host, *rest = label.rsplit("/", 4)
        if len(rest) != 4 or not _NUMBER.fullmatch(rest[2]):
            return None
        return cls(host, rest[0], rest[1], int(rest[2]), rest[3])

    def __str__(self) -> str:
        return f"{self.host}/{self.boot}/{self.namespaces}/{self.pid}/{self.start}"

    @property
    def here(self) -> bool:
        """Whether it counts processes as this one does, on the same kernel."""
        return bool(self.boot) and (self.boot, self.namespaces) == _surroundings()

    @property
    def life(self) -> Life:
        if not self.here or not self.start:
            return Life.UNKNOWN
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return Life.ENDED
        except PermissionError:  # another user's
            pass
        start = _start(self.pid)  # /proc may hide the processes of others (hidepid): no answer is no proof
        if start is None:
            return Life.UNKNOWN
        return Life.RUNNING if start == self.start else Life.ENDED


def current() -> Owner:
    """This process."""
    pid = os.getpid()
    boot, namespaces = _surroundings()
    return Owner(socket.gethostname(), boot, namespaces, pid, (_start(pid) or "") if boot else "")


def life(label: str) -> Life:
    """Whether the process that a label names runs."""
    owner = Owner.parse(label)
    return owner.life if owner else Life.UNKNOWN


def names(label: str, pid: int) -> bool:
    """Whether a label names the process `pid` of this PID namespace (or an earlier one of that number)."""
    owner = Owner.parse(label)
    return owner is not None and owner.here and owner.pid == pid


def describe(label: str) -> str:
    """A label's process in words."""
    owner = Owner.parse(label)
    return f'process {owner.pid} on "{owner.host}"' if owner else f'an older xgbpatch, "{label}"'


def start_of(stat: str) -> str | None:
    """When the process of a `/proc/<pid>/stat` started, in clock ticks; empty for a zombie, None where it is no stat.

    The second field is the program's name in parentheses, and may hold spaces and parentheses of its own.
    """
    fields = stat.rpartition(")")[2].split()
    if len(fields) <= _START or not fields[_START].isdecimal():
        return None
    return "" if fields[_STATE] in "ZX" else fields[_START]


def _start(pid: int) -> str | None:
    try:
        return start_of((_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None


def _surroundings() -> tuple[str, str]:
    """The boot and the namespaces of this process; empty where /proc does not tell, or is that of another namespace."""
    try:
        status = (_PROC / "self" / "status").read_text(encoding="utf-8", errors="replace")
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespaces = f"{_inode('pid')},{_inode('time')}"
    except (OSError, ValueError):
        return "", ""
    numbers = re.search(r"^NSpid:(.*)$", status, re.MULTILINE)  # one number for each namespace below that of /proc
    if numbers is None or numbers[1].split() != [str(os.getpid())]:
        return "", ""
    return boot, namespaces


def _inode(kind: str) -> str:
    """Of a namespace of this process; empty where the kernel has no such kind (time: before Linux 5.6)."""
    try:
        link = os.readlink(_PROC / "self" / "ns" / kind)
    except FileNotFoundError:
        return ""
    return link.partition("[")[2].rstrip("]")
