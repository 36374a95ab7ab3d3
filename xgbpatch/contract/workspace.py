"""A temporary directory that containers write into as root, and that still goes away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xgbpatch.engine.client import Engine
from xgbpatch.engine.interruption import afterwards
from xgbpatch.engine.values import Mount, Run


@contextmanager
def workspace(engine: Engine, image: str) -> Iterator[Path]:
    """A directory for bind mounts. What root left in it is removed through a container of `image` where need be."""
    directory = Path(tempfile.mkdtemp(prefix="xgbpatch-"))
    directory.chmod(0o755)  # a container whose root is mapped to another user must read it
    with afterwards(lambda: _remove(engine, image, directory)):
        yield directory


def _remove(engine: Engine, image: str, directory: Path) -> None:
    try:
        shutil.rmtree(directory)
    except PermissionError:
        sweep = ("-c", "rm -rf /workspace/* /workspace/.[!.]*")
        engine.run(Run(image, sweep, entrypoint=("/bin/sh",), mounts=(Mount(directory, "/workspace"),)), timeout=60)
        shutil.rmtree(directory)
