"""The overlay as values: files that land under `/opt/xgbpatch`, and the environment that switches them in."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class PatchFile:
    """A file of the overlay: absolute POSIX `target` in the image, and its content as bytes or as a local path."""

    target: str
    content: bytes | Path
    executable: bool = False

    def read(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()

    def opened(self) -> IO[bytes]:
        """The content as a stream to be closed by the caller; a local file is never held in memory as a whole."""
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def sha256(self) -> str:
        total = hashlib.sha256()
        with self.opened() as stream:
            while piece := stream.read(1 << 20):
                total.update(piece)
        return total.hexdigest()


@dataclass(frozen=True)
class Patch:
    """All that a build adds: files (sorted by target, no target twice) and environment variables."""

    files: tuple[PatchFile, ...]
    environment: Mapping[str, str]

    @cached_property
    def files_digest(self) -> str:
        """sha256 over targets, modes and contents."""
        return files_digest_of((file.target, file.executable, file.sha256) for file in self.files)

    @property
    def digest(self) -> str:
        """sha256 over files and environment: equal for equal patches, on any machine."""
        return digest_of(self.files_digest, self.environment)


def files_digest_of(files: Iterable[tuple[str, bool, str]]) -> str:
    """`Patch.files_digest` from targets (sorted), whether they are executable, and the sha256 of their content."""
    total = hashlib.sha256()
    for target, executable, sha256 in files:
        total.update(f"{target}\0{int(executable)}\0{sha256}\n".encode())
    return total.hexdigest()


def digest_of(files_digest: str, environment: Mapping[str, str]) -> str:
    """`Patch.digest` where the files are known by their digest alone."""
    total = hashlib.sha256(f"{files_digest}\n".encode())
    for name, value in sorted(environment.items()):
        total.update(f"{name}={value}\0".encode())
    return total.hexdigest()


def tree(root: Path, target: str, pattern: str = "**/*") -> Iterable[PatchFile]:
    """The regular files below `root` that match `pattern`, as overlay files below `target`; caches are left out."""
    for path in sorted(root.glob(pattern)):
        if path.is_file() and "__pycache__" not in path.parts:
            executable = bool(path.stat().st_mode & 0o100)
            yield PatchFile(f"{target}/{path.relative_to(root).as_posix()}", path, executable)
