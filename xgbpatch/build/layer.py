"""The layer of a patch: a reproducible tar, compressed so that its bytes are the same on every machine."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Protocol, cast

from xgbpatch import layout
from xgbpatch.errors import BuildError
from xgbpatch.patch.compose import Patch

if TYPE_CHECKING:
    from xgbpatch.oci.manifest import Descriptor


class Sink(Protocol):
    """Takes bytes in order; it need not seek."""

    def write(self, data: bytes, /) -> int: ...


def tar_writer(stream: Sink) -> tarfile.TarFile:
    """A tar to be written to `stream`, in the one format that all of ours have."""
    return tarfile.open(fileobj=cast("IO[bytes]", stream), mode="w|", format=tarfile.PAX_FORMAT, bufsize=1 << 16)


def add_patch(archive: tarfile.TarFile, patch: Patch, folder: str) -> None:
    """Add the patch's folders, `folder` in the place of `/opt/xgbpatch`, and then its files, read in pieces."""
    paths = [PurePosixPath(folder + file.target.removeprefix(layout.ROOT)) for file in patch.files]
    folders = {folder, *(str(above) for path in paths for above in path.parents if above.is_relative_to(folder))}
    for name in sorted(folders):
        member = _tar_member(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
    for file, path in zip(patch.files, paths, strict=True):
        member = _tar_member(str(path))
        member.mode = 0o755 if file.executable else 0o644
        with io.BytesIO(file.content) if isinstance(file.content, bytes) else file.content.open("rb") as content:
            member.size = content.seek(0, io.SEEK_END)
            content.seek(0)
            archive.addfile(member, content)


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add one more file."""
    member = _tar_member(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _tar_member(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)  # its defaults are owner 0:0, mode 0644 and time 0
    member.mtime = 0
    return member


# Gzip (RFC 1952) whose bytes depend on the content alone, as far as that can be had.
#
# The header is written here: the standard library's carries a time, and zlib's own names the operating system. What
# is left is deflate (RFC 1951). Its output is nothing that a standard fixes: zlib, zlib-ng and Apple's fork each have
# their own. Small content is therefore put into "stored" blocks, which every machine writes alike; content that is
# worth compressing goes through the machine's zlib, and its compressed digest (never that of the content) may change
# with it.


LEVEL = 6
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, time 0, unknown operating system
_LARGEST_BLOCK = 0xFFFF


class _Deflate(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class GzipWriter:
    """One gzip member written to `target`, which stays open; `finish` ends it."""

    def __init__(self, target: Sink, stored: bool) -> None:
        self._target = target
        self._deflate: _Deflate = _Stored() if stored else zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = 0
        self._size = 0
        target.write(_HEADER)

    def write(self, data: bytes, /) -> int:
        """Append `data`."""
        self._crc = zlib.crc32(data, self._crc)
        self._size += len(data)
        self._target.write(self._deflate.compress(data))
        return len(data)

    def finish(self) -> None:
        """Write what is held back, and the trailer."""
        self._target.write(self._deflate.flush())
        self._target.write(struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF))


class _Stored:
    """Blocks without compression, all of the largest size but the last: the cut of the input does not show."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def compress(self, data: bytes, /) -> bytes:
        self._pending += data
        blocks = bytearray()
        start = 0
        while len(self._pending) - start > _LARGEST_BLOCK:
            blocks += _stored_block(self._pending[start : start + _LARGEST_BLOCK], last=False)
            start += _LARGEST_BLOCK
        del self._pending[:start]
        return bytes(blocks)

    def flush(self) -> bytes:
        return _stored_block(self._pending, last=True)


def _stored_block(content: bytearray, last: bool) -> bytes:
    return struct.pack("<BHH", int(last), len(content), len(content) ^ _LARGEST_BLOCK) + content


# The patch as one image layer, the same bytes for the same patch: no day, no user and no machine shows in it.
#
# The digest of the layer's content (`diff_id`) depends on the patch alone. The digest of the compressed blob does so
# too up to `STORED_BYTES`, since such a layer is stored and not compressed; above, it depends on zlib's deflate as
# well. `SOURCE_DATE_EPOCH` has nothing to say here: times are zero, as in the layer that the engine's builder copies.


STORED_BYTES = 4 << 20  # an overlay without packages has a tenth of it; one with daal4py is worth compressing
_MEMORY_BYTES = 32 << 20


@dataclass(frozen=True)
class Layer:
    """A layer that lasts as long as the block of `made`: gzip by its descriptor, plain by its `diff_id`."""

    descriptor: Descriptor
    diff_id: str
    _content: IO[bytes] = field(repr=False, compare=False)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """The compressed bytes from their beginning, seekable; for one reader at a time."""
        self._content.seek(0)
        yield self._content


@contextmanager
def packed_layer(patch: Patch) -> Iterator[Layer]:
    """The patch's files and the folders below `/opt` that hold them; nothing above, because that is the base's.

    Held in memory up to 32 MiB, else in a temporary file that vanishes with the block. Raises `BuildError` when the
    layer cannot be written.
    """
    stream = tempfile.SpooledTemporaryFile(_MEMORY_BYTES, prefix="xgbpatch-layer-")  # noqa: SIM115 — closed below
    try:
        layer = _write_layer(stream, patch)
    except OSError as error:
        with suppress(OSError):  # closing writes what is left, which fails on a full disk again
            stream.close()
        raise unwritable("layer", error) from error
    with stream:
        yield layer


def unwritable(what: str, error: OSError) -> BuildError:
    """The error for a temporary file that could not be written, as a rule because the disk is full."""
    return BuildError(
        f'the {what} could not be written to "{tempfile.gettempdir()}": {error.strerror or error}',
        "Free some space there, or set TMPDIR to a folder with room.",
    )


def _write_layer(stream: IO[bytes], patch: Patch) -> Layer:
    from xgbpatch.oci.manifest import DOCKER_LAYER, Descriptor

    compressed = _HashingWriter(stream)
    packed = GzipWriter(compressed, stored=sum(file.size for file in patch.files) <= STORED_BYTES)
    plain = _HashingWriter(packed)
    with tar_writer(plain) as tar:
        add_patch(tar, patch, layout.ROOT.removeprefix("/"))
    packed.finish()
    stream.flush()
    return Layer(Descriptor(compressed.digest, DOCKER_LAYER, compressed.size), plain.digest, stream)


class _HashingWriter:
    """Passes bytes on, and knows their number and digest."""

    def __init__(self, target: Sink) -> None:
        self._target = target
        self._sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> int:
        self._sha256.update(data)
        self.size += len(data)
        return self._target.write(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"
