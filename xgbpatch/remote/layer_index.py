"""What one layer holds: every path, and the content of the few files that an inspection reads.

Names and whiteouts are OCI's (image-spec, layer.md). A name is never more than text here: nothing is unpacked to disk,
so that `../` or a device can do no harm.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import IO, Any, NamedTuple, cast

from xgbpatch.manifest import Descriptor
from xgbpatch.remote.kept import FileTooLargeError, keeper
from xgbpatch.remote.unpacked import Unpacked

LARGEST_HEADER = 256 << 10  # bytes from one member's content to the next one's: names, extended attributes
MOST_PATHS = 500_000  # in one layer; the largest official one has a fifth of it
DEEPEST = 100  # folders in one another
LARGEST_NAMES = 64 << 20  # bytes of all paths and link targets
LARGEST_CONTENTS = 64 << 20  # bytes of all kept content

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_BUFFER = 1 << 18


class Kind(str, Enum):
    """What stands at a path; `OTHER` are devices and pipes. A hardlink is the file that it names."""

    FILE = "f"
    FOLDER = "d"
    SYMLINK = "l"
    OTHER = "o"


class Entry(NamedTuple):
    """A member of a layer; `link` is a symlink's target as written."""

    kind: Kind
    mode: int
    size: int
    link: str = ""


IMPLIED = Entry(Kind.FOLDER, 0o755, 0)  # a folder that has no member of its own, but members below


@dataclass(frozen=True)
class LayerIndex:
    """Paths are relative to the root, without a leading slash. `whiteouts` are the paths that the layer takes away from
    those below it, `opaque` the folders of which it hides all that is below it."""

    entries: Mapping[str, Entry]
    whiteouts: frozenset[str] = frozenset()
    opaque: frozenset[str] = frozenset()
    contents: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        """folder → the names in it."""
        found: dict[str, list[str]] = {}
        for path in self.entries:
            folder, name = posixpath.split(path)
            found.setdefault(folder, []).append(name)
        return {folder: tuple(names) for folder, names in found.items()}


def index(pieces: Iterator[bytes], descriptor: Descriptor) -> LayerIndex:
    """The index of the layer whose compressed bytes are `pieces`, read to their end and verified.

    Raises `RegistryError` when they are not the announced bytes, `BaseImageError` when they are no tar or pass a bound.
    """
    unpacked = Unpacked(pieces, descriptor)
    draft = _Draft()
    try:
        _read(unpacked, draft)
    except (tarfile.TarError, ValueError, ArithmeticError, RecursionError, EOFError) as error:
        raise unpacked.refused(str(error) or type(error).__name__) from error
    unpacked.finish()
    return LayerIndex(draft.entries, frozenset(draft.whiteouts), frozenset(draft.opaque), draft.contents)


def opened(stream: IO[bytes]) -> tarfile.TarFile:
    """The tar of a layer, to be read once from its beginning; raises `tarfile.TarError` as its members do."""
    return tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER, encoding="utf-8", tarinfo=_Member)


def members(archive: tarfile.TarFile, unpacked: Unpacked) -> Iterator[tarfile.TarInfo]:
    """The members of `archive`, whose bytes `unpacked` gives: no header is larger than `LARGEST_HEADER`, and none is
    remembered."""
    for member in archive:
        unpacked.limit = archive.offset + LARGEST_HEADER + _BUFFER
        yield member
        _forget(archive)
    unpacked.limit = None


def _forget(archive: Any) -> None:
    """A tar file remembers every member and every global header that it has seen."""
    archive.members.clear()
    archive.pax_headers.clear()


class _Member(tarfile.TarInfo):
    """A damaged header is an error; a tar file alone takes one that is not its first for its end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):  # no end, which is a block of zeros or nothing
                raise tarfile.ReadError(f"a member's header is damaged: {error}") from error
            raise


def _read(unpacked: Unpacked, draft: _Draft) -> None:
    unpacked.limit = LARGEST_HEADER + _BUFFER
    stream = cast("IO[bytes]", unpacked)
    with opened(stream) as archive:
        for member in members(archive, unpacked):
            draft.add(member, archive)


class _Draft:
    """A layer's index in the making."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.whiteouts: set[str] = set()
        self.opaque: set[str] = set()
        self.contents: dict[str, bytes] = {}
        self._names = 0
        self._kept = 0

    def add(self, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        """Take `member` in; its content is read where it is kept."""
        path = _path(member.name)
        folder, name = posixpath.split(path)
        self._count(path, member.linkname)
        if f"/{_WHITEOUT}" in f"/{folder}" or (name.startswith(_WHITEOUT + _WHITEOUT) and name != _OPAQUE):
            return  # aufs wrote such members for itself
        self._imply(folder)
        if name == _OPAQUE:
            self.opaque.add(folder)
        elif name.startswith(_WHITEOUT):
            self.whiteouts.add(posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        elif path:
            self.contents.pop(path, None)
            self.entries[path] = self._linked(path, member) if member.islnk() else _entry(member)
            self._keep(path, member, archive)

    def _linked(self, path: str, member: tarfile.TarInfo) -> Entry:
        """A hardlink: what its target is, which stands before it in the same layer."""
        target = _path(member.linkname)
        if target in self.contents:
            self._take(path, self.contents[target])
        return self.entries.get(target, Entry(Kind.OTHER, 0, 0))

    def _imply(self, folder: str) -> None:
        while folder and folder not in self.entries:
            self.entries[folder] = IMPLIED
            self._count(folder, "")
            folder = posixpath.dirname(folder)

    def _keep(self, path: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        keep = keeper(path) if member.isreg() else None
        stream = archive.extractfile(member) if keep else None
        if keep and stream:
            self._take(path, keep(stream))

    def _take(self, path: str, content: bytes) -> None:
        self._kept += len(content)
        if self._kept > LARGEST_CONTENTS:
            raise FileTooLargeError("the files that tell what it holds are too large")
        self.contents[path] = content

    def _count(self, path: str, link: str) -> None:
        self._names += len(path) + len(link)
        if path.count("/") > DEEPEST:
            raise FileTooLargeError("its folders are nested deeper than any image's")
        if len(self.entries) > MOST_PATHS or self._names > LARGEST_NAMES:
            raise FileTooLargeError("it holds more paths than any image's layer would")


def _path(name: str) -> str:
    return posixpath.normpath(f"/{name}").lstrip("/")


def _entry(member: tarfile.TarInfo) -> Entry:
    mode = member.mode & 0o7777
    if member.issparse():
        raise FileTooLargeError(f'"{member.name}" is a sparse file, which no image builder writes')
    if member.isreg():
        return Entry(Kind.FILE, mode, member.size)
    if member.isdir():
        return Entry(Kind.FOLDER, mode, 0)
    return Entry(Kind.SYMLINK, mode, 0, member.linkname) if member.issym() else Entry(Kind.OTHER, mode, 0)
