"""Reading the tar of a layer safely: entries, whiteouts, and the contents of the files that matter."""

from __future__ import annotations

import hashlib
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import IO, Any, NamedTuple, Protocol, cast

from xgbpatch.errors import BaseImageError, RegistryError
from xgbpatch.oci.manifest import Descriptor

LARGEST_FILE = 4 << 20  # bytes; the largest that is really there is a METADATA of a tenth of it

FileReader = Callable[[IO[bytes]], bytes]

_PIECE = 1 << 18
_LINE = 1 << 14
_OVERLAP = 256
_LIBC = re.compile(rb"GNU C Library [^\n\0]{0,120} version (\d+\.\d+)")
_PYTHON = re.compile(rb"(?<![\d. ])(3\.\d{1,2}\.\d{1,3}(?:(?:a|b|rc)\d{1,2})?\+?)\0")  # linkers merge equal ends
_DEBIAN = re.compile(rb"Version: (?:\d+:)?(\d+\.\d+)")


class FileTooLargeError(ValueError):
    """A file is much larger than any of its kind."""


def _whole(stream: IO[bytes]) -> bytes:
    content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise FileTooLargeError(f"more than {LARGEST_FILE >> 20} MiB")
    return content


def _header(stream: IO[bytes]) -> bytes:
    """The lines before the first empty one: a distribution's fields, without its description."""
    content = bytearray()
    while line := stream.readline(_LINE):
        if line in (b"\n", b"\r\n") and (not content or content.endswith(b"\n")):
            break
        content += line
        if len(content) > LARGEST_FILE:
            raise FileTooLargeError(f"fields of more than {LARGEST_FILE >> 20} MiB")
    return bytes(content)


def _debian_libc(stream: IO[bytes]) -> bytes:
    """The version of glibc by dpkg's records, as `2.36`; empty where the package is not installed."""
    package = b""
    while line := stream.readline(_LINE):
        if line.startswith(b"Package: "):
            package = line
        elif package == b"Package: libc6\n" and (found := _DEBIAN.match(line)):
            return found[1]
    return b""


def _matches(pattern: re.Pattern[bytes]) -> FileReader:
    """The first group of every match in a program, a line each, each once."""

    def keep(stream: IO[bytes]) -> bytes:
        found: dict[bytes, None] = {}
        window = b""
        while piece := stream.read(_PIECE):
            window = window[-_OVERLAP:] + piece
            found.update(dict.fromkeys(match[1] for match in pattern.finditer(window)))
            if len(found) > 1000:
                raise FileTooLargeError("too many versions in one program")
        return b"\n".join(found)

    return keep


_KEEPERS: tuple[tuple[re.Pattern[str], FileReader], ...] = (
    (re.compile(r"\.dist-info/METADATA$|\.egg-info(/PKG-INFO)?$"), _header),
    (re.compile(r"\.egg-info/requires\.txt$|(^|/)pyvenv\.cfg$|/python3\.\d+m?/patchlevel\.h$"), _whole),
    (re.compile(r"(^|/)(sagemaker_xgboost_container|sagemaker_algorithm_toolkit)/.*\.py$"), _whole),
    (re.compile(r"(^|/)(serve|train)$"), lambda stream: stream.readline(1024)),
    (re.compile(r"^var/lib/dpkg/status$"), _debian_libc),
    (re.compile(r"(^|/)libc(\.so\.6|-2\.\d+\.so)$"), _matches(_LIBC)),
    (re.compile(r"(^|/)(python3\.\d+m?|libpython3\.\d+m?\.so(\.1\.0)?)$"), _matches(_PYTHON)),
)


# A layer's blob as the tar inside it, verified while it is read, with bounds that hostile bytes cannot pass.
#
# Gzip (of any number of members) and plain tar, told apart by their first bytes. Zstandard is refused: neither the
# standard library of the Pythons that xgbpatch runs on nor SageMaker's Docker manifests know it.


LARGEST_PLAIN = 32 << 30  # bytes of one layer's tar; official images are 3 to 9 GB as a whole
NEXT_STEP = "Use --builder docker, which leaves the image to the engine."

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class _Decoder(Protocol):
    def feed(self, piece: bytes) -> None: ...

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none where more has to be fed."""
        ...


class LayerReader:
    """The tar of the layer `descriptor`, whose compressed bytes arrive as `pieces`.

    `read` raises `RegistryError` for bytes that are not the announced ones and `BaseImageError` for what cannot be
    unpacked or passes a bound: `LARGEST_PLAIN`, or the position `limit` (in the tar) where that is set.
    """

    def __init__(self, pieces: Iterator[bytes], descriptor: Descriptor) -> None:
        self._pieces = pieces
        self._descriptor = descriptor
        self._sha256 = hashlib.sha256()
        self._decoder: _Decoder | None = None
        self.received = 0
        self.position = 0
        self.limit: int | None = None

    def read(self, size: int) -> bytes:
        """At most `size` bytes of the tar; none at its end."""
        if self.position >= (LARGEST_PLAIN if self.limit is None else min(self.limit, LARGEST_PLAIN)):
            raise self.refused("it unpacks to more than any image's layer would")
        try:
            content = self._decoded(size)
        except zlib.error as error:
            raise self.refused(f"it is no gzip: {error}") from error
        self.position += len(content)
        return content

    def finish(self) -> None:
        """Read what is left and hold it against size and digest; raises `RegistryError` when they differ."""
        while self._next_piece():
            pass
        seen = f"sha256:{self._sha256.hexdigest()}"
        if (seen, self.received) != (self._descriptor.digest, self._descriptor.size):
            raise RegistryError(
                f'the registry sent wrong bytes for the layer "{self._descriptor.digest}": '
                f"{self.received} of {self._descriptor.size} bytes, with digest {seen}",
                "Try again; a proxy or a damaged registry stands between.",
            )

    def refused(self, reason: str) -> BaseImageError:
        """The error for a layer that cannot be taken; raises `RegistryError` where it only arrived damaged."""
        self.finish()
        return BaseImageError(f'the layer "{self._descriptor.digest}" cannot be read: {reason}', NEXT_STEP)

    def _decoded(self, size: int) -> bytes:
        while True:
            content = self._decoder.read(size) if self._decoder else b""
            if content:
                return content
            piece = self._next_piece()
            if not piece:
                return b""
            if self._decoder is None:
                while len(piece) < 4 and (more := self._next_piece()):
                    piece += more
                if piece.startswith(_ZSTD):
                    raise self.refused("it is compressed with Zstandard")
                self._decoder = _Gzip() if piece.startswith(_GZIP) else _Plain()
            self._decoder.feed(piece)

    def _next_piece(self) -> bytes:
        for piece in self._pieces:
            self._sha256.update(piece)
            self.received += len(piece)
            if self.received > self._descriptor.size:
                raise RegistryError(
                    f'the registry sends more than the {self._descriptor.size} bytes of "{self._descriptor.digest}"'
                )
            if piece:
                return piece
        return b""


class _Plain:
    def __init__(self) -> None:
        self._held = b""

    def feed(self, piece: bytes) -> None:
        self._held = piece

    def read(self, size: int) -> bytes:
        content, self._held = self._held[:size], self._held[size:]
        return content


class _Gzip:
    """Inflates no more than is asked for: a bomb costs time, up to the bound, and no memory."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._held = b""

    def feed(self, piece: bytes) -> None:
        self._held += piece

    def read(self, size: int) -> bytes:
        while self._held or not self._inflate.eof:
            if self._inflate.eof and not self._next_member():
                return b""
            content = self._inflate.decompress(self._held, size)
            self._held = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if content or not self._inflate.eof:
                return content
        return b""

    def _next_member(self) -> bool:
        """Whether another member begins; what follows the last one (zeros, as a rule) is no part of the content."""
        if len(self._held) < 2:
            return False
        if not self._held.startswith(_GZIP):
            self._held = b""
            return False
        self._inflate = zlib.decompressobj(wbits=31)
        return True


# What one layer holds: every path, and the content of the few files that an inspection reads.
#
# Names and whiteouts are OCI's (image-spec, layer.md). A name is never more than text here: nothing is unpacked to
# disk, so that `../` or a device can do no harm.


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


def index_layer(pieces: Iterator[bytes], descriptor: Descriptor) -> LayerIndex:
    """The index of the layer whose compressed bytes are `pieces`, read to their end and verified.

    Raises `RegistryError` when they are not the announced bytes, `BaseImageError` when they are no tar or pass a bound.
    """
    unpacked = LayerReader(pieces, descriptor)
    unpacked.limit = LARGEST_HEADER + _BUFFER
    draft = _Draft()
    try:
        with opened(cast("IO[bytes]", unpacked)) as archive:
            for member in members(archive, unpacked):
                draft.add(member, archive)
    except (tarfile.TarError, ValueError, ArithmeticError, RecursionError, EOFError) as error:
        raise unpacked.refused(str(error) or type(error).__name__) from error
    unpacked.finish()
    return LayerIndex(draft.entries, frozenset(draft.whiteouts), frozenset(draft.opaque), draft.contents)


def opened(stream: IO[bytes]) -> tarfile.TarFile:
    """The tar of a layer, to be read once from its beginning; raises `tarfile.TarError` as its members do."""
    return tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER, encoding="utf-8", tarinfo=_Member)


def members(archive: tarfile.TarFile, unpacked: LayerReader) -> Iterator[tarfile.TarInfo]:
    """The members of `archive`, whose bytes `unpacked` gives: no header is larger than `LARGEST_HEADER`, and none is
    remembered."""
    memory: Any = archive  # of every member and every global header
    for member in archive:
        unpacked.limit = archive.offset + LARGEST_HEADER + _BUFFER
        yield member
        memory.members.clear()
        memory.pax_headers.clear()
    unpacked.limit = None


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
        """Most files tell nothing, and are passed over."""
        keep = next((keep for pattern, keep in _KEEPERS if pattern.search(path)), None) if member.isreg() else None
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
