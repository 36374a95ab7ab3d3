"""What the tar of a layer holds: entries, whiteouts, and the contents of the files that matter."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import IO, NamedTuple

from xgbpatch.oci import layer_tar
from xgbpatch.oci.layer_tar import TOO_MANY, FileTooLargeError
from xgbpatch.oci.manifest import Descriptor

LARGEST_FILE = 4 << 20  # bytes; the largest that is really there is a METADATA of a tenth of it

FileReader = Callable[[IO[bytes]], bytes]

_PIECE = 1 << 18
_LINE = 1 << 14
_OVERLAP = 256
_LIBC = re.compile(rb"GNU C Library [^\n\0]{0,120} version (\d{1,3}\.\d{1,3})(?!\d)")
_PYTHON = re.compile(rb"(?<![\d. ])(3\.\d{1,2}\.\d{1,3}(?:(?:a|b|rc)\d{1,2})?\+?)\0")  # linkers merge equal ends
_DEBIAN = re.compile(rb"Version: (?:\d+:)?(\d{1,3}\.\d{1,3})(?!\d)")


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
        elif package == b"Package: libc6\n" and (match := _DEBIAN.match(line)):
            return match[1]
    return b""


def _matches(pattern: re.Pattern[bytes]) -> FileReader:
    """The first group of every match in a program, a line each, each once."""

    def keep(stream: IO[bytes]) -> bytes:
        groups: dict[bytes, None] = {}
        window = b""
        while piece := stream.read(_PIECE):
            window = window[-_OVERLAP:] + piece
            groups.update(dict.fromkeys(match[1] for match in pattern.finditer(window)))
            if len(groups) > 1000:
                raise FileTooLargeError("too many versions in one program")
        return b"\n".join(groups)

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


def _keeper(path: str) -> FileReader | None:
    """What is kept of a file of that name; most tell nothing."""
    return next((keep for pattern, keep in _KEEPERS if pattern.search(path)), None)


# What one layer holds: every path, and the content of the few files that an inspection reads.
#
# Names and whiteouts are OCI's (image-spec, layer.md). A name is never more than text here: nothing is unpacked to
# disk, so that `../` or a device can do no harm.


DEEPEST = 100  # folders in one another
LONGEST_PATH = 4096  # characters, of links too: Linux's PATH_MAX
LARGEST_NAMES = 64 << 20  # bytes of all paths and link targets
LARGEST_CONTENTS = 64 << 20  # bytes of all kept content

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"


class EntryKind(str, Enum):
    """What stands at a path; `OTHER` are devices and pipes. A hardlink is the file that it names."""

    FILE = "f"
    FOLDER = "d"
    SYMLINK = "l"
    OTHER = "o"


class Entry(NamedTuple):
    """A member of a layer; `link` is a symlink's target as written."""

    kind: EntryKind
    mode: int
    size: int
    link: str = ""


IMPLIED = Entry(EntryKind.FOLDER, 0o755, 0)  # a folder that has no member of its own, but members below


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
        folders: dict[str, list[str]] = {}
        for path in self.entries:
            folder, name = posixpath.split(path)
            folders.setdefault(folder, []).append(name)
        return {folder: tuple(names) for folder, names in folders.items()}


def index_layer(pieces: Iterator[bytes], descriptor: Descriptor) -> LayerIndex:
    """The index of the layer whose compressed bytes are `pieces`, read to their end and verified. Raises as
    `layer_tar.opened`."""
    draft = _Draft()
    with layer_tar.opened(pieces, descriptor) as layer:
        for member in layer.members():
            draft.add(member, layer.archive)
    return LayerIndex(draft.entries, frozenset(draft.whiteouts), frozenset(draft.opaque), draft.contents)


class _Draft:
    """A layer's index in the making."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.whiteouts: set[str] = set()
        self.opaque: set[str] = set()
        self.contents: dict[str, bytes] = {}
        self._names = 0
        self._content_bytes = 0

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
        if target in self.contents and _keeper(target) is _keeper(path):
            self._take(path, self.contents[target])
        return self.entries.get(target, Entry(EntryKind.OTHER, 0, 0))

    def _imply(self, folder: str) -> None:
        while folder and folder not in self.entries:
            self.entries[folder] = IMPLIED
            self._count(folder, "")
            folder = posixpath.dirname(folder)

    def _keep(self, path: str, member: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        keep = _keeper(path) if member.isreg() else None
        stream = archive.extractfile(member) if keep else None
        if keep and stream:
            self._take(path, keep(stream))

    def _take(self, path: str, content: bytes) -> None:
        self._content_bytes += len(content)
        if self._content_bytes > LARGEST_CONTENTS:
            raise FileTooLargeError("the files that tell what it holds are too large")
        self.contents[path] = content

    def _count(self, path: str, link: str) -> None:
        self._names += len(path) + len(link)
        if path.count("/") > DEEPEST:
            raise FileTooLargeError("its folders are nested deeper than any image's")
        if max(len(path), len(link)) > LONGEST_PATH:
            raise FileTooLargeError("a path in it is longer than Linux takes")
        if len(self.entries) > layer_tar.MOST_PATHS or self._names > LARGEST_NAMES:
            raise FileTooLargeError(TOO_MANY)


def _path(name: str) -> str:
    return posixpath.normpath(f"/{name}").lstrip("/")


def _entry(member: tarfile.TarInfo) -> Entry:
    mode = member.mode & 0o7777
    if member.isreg():
        return Entry(EntryKind.FILE, mode, member.size)
    if member.isdir():
        return Entry(EntryKind.FOLDER, mode, 0)
    return Entry(EntryKind.SYMLINK, mode, 0, member.linkname) if member.issym() else Entry(EntryKind.OTHER, mode, 0)
