"""Which process a container belongs to, so that the next command can remove what a killed one left."""

from __future__ import annotations

import os
import socket

LABEL = "io.xgbpatch.session"


def of(process: int) -> str:
    """A process of this machine, as `host:pid`."""
    return f"{socket.gethostname()}:{process}"


def is_over(session: str) -> bool:
    """Whether that process ran on this machine and is gone. Processes of other machines are not ours to judge."""
    host, _, pid = session.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
