"""An uncompressed tar whose bytes depend on the content alone: what a build sends to the engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

_MTIME = 1704067200  # 2024-01-01: bytecode records it, so it must not be the day of the build


class TreeWriter:
    """Adds folders, files and links to a tar; everything belongs to root and has one date."""

    def __init__(self, target: IO[bytes]) -> None:
        self._tar = tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - closed by `__exit__`

    def __enter__(self) -> TreeWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._tar.close()

    def text(self, name: str, content: str, mode: int = 0o644) -> None:
        """A file with that content."""
        self.content(name, content.encode(), mode)

    def content(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """A file with these bytes."""
        entry = _entry(name, mode)
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))

    def file(self, name: str, source: Path) -> None:
        """A copy of `source`, executable where that is."""
        entry = _entry(name, 0o755 if source.stat().st_mode & 0o100 else 0o644)
        entry.size = source.stat().st_size
        with source.open("rb") as stream:
            self._tar.addfile(entry, stream)

    def stream(self, name: str, content: IO[bytes]) -> None:
        """A file with everything that was written to `content`."""
        entry = _entry(name, 0o644)
        entry.size = content.seek(0, io.SEEK_END)
        content.seek(0)
        self._tar.addfile(entry, content)

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        entry = _entry(name, 0o777)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def folder(self, name: str, source: Path, keep: Callable[[Path], bool]) -> None:
        """Everything below `source` whose path relative to it `keep` accepts, in sorted order."""
        for path in sorted(source.iterdir()):
            self._member(f"{name}/{path.name}", path, Path(path.name), keep)

    def _member(self, name: str, path: Path, relative: Path, keep: Callable[[Path], bool]) -> None:
        if not keep(relative):
            return
        if path.is_symlink() and not path.exists():
            return
        if path.is_dir():
            for child in sorted(path.iterdir()):
                self._member(f"{name}/{child.name}", child, relative / child.name, keep)
        else:
            self.file(name, path)


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.mode, entry.mtime = mode, _MTIME
    return entry
