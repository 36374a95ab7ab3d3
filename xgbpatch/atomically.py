"""Files of the cache, which two processes may write at once and a third one read."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def keep(path: Path, content: bytes) -> None:
    """As `write`, where the file only saves work: on a disk that is full or read-only (a Lambda's) nothing is kept."""
    with suppress(OSError):
        write(path, content)
