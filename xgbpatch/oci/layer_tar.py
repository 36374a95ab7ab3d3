"""A layer's blob as the tar inside it, verified while it is read, with bounds that hostile bytes cannot pass.

Gzip (of any number of members) and plain tar, told apart by their first bytes. Zstandard is refused: neither the
standard library of the Pythons that xgbpatch runs on nor SageMaker's Docker manifests know it.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol, cast

from xgbpatch.errors import BaseImageError, RegistryError
from xgbpatch.oci.manifest import Descriptor

LARGEST_PLAIN = 32 << 30  # bytes of one layer's tar; official images are 3 to 9 GB as a whole
LARGEST_HEADER = 256 << 10  # bytes from one member's content to the next one's: names, extended attributes
MOST_PATHS = 500_000  # in one layer; the largest official one has a fifth of it
TOO_MANY = "it holds more paths than any image's layer would"
NEXT_STEP = "Use --builder docker, which leaves the image to the engine."

_BUFFER = 1 << 18
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class FileTooLargeError(ValueError):
    """A file is much larger than any of its kind."""


class _Decoder(Protocol):
    def feed(self, piece: bytes) -> None: ...

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none where more has to be fed."""
        ...


class LayerReader:
    """The tar of the layer `descriptor`, whose compressed bytes arrive as `pieces`: read it by `opened`.

    `read` raises `RegistryError` for bytes that are not the announced ones and `BaseImageError` for what cannot be
    unpacked or passes a bound: `LARGEST_PLAIN`, or the position `limit` (in the tar) where that is set.
    """

    archive: tarfile.TarFile

    def __init__(self, pieces: Iterator[bytes], descriptor: Descriptor, plain: Any = None) -> None:
        self._pieces = pieces
        self._descriptor = descriptor
        self._sha256 = hashlib.sha256()
        self._plain = plain
        self._decoder: _Decoder | None = None
        self.received = 0
        self.position = 0
        self.limit: int | None = None
        self.ended = False

    def read(self, size: int) -> bytes:
        """At most `size` bytes of the tar; none at its end, for which nobody who reads what is there asks twice."""
        if self.position >= (LARGEST_PLAIN if self.limit is None else min(self.limit, LARGEST_PLAIN)):
            raise self.refused("it unpacks to more than any image's layer would")
        if self.ended:
            raise self.refused("it ends before the members that it announces: unexpected end of data")
        try:
            content = self._decoded(size)
        except zlib.error as error:
            raise self.refused(f"it is no gzip: {error}") from error
        self.position += len(content)
        self.ended = not content
        if self._plain is not None:
            self._plain.update(content)
        return content

    def members(self) -> Iterator[tarfile.TarInfo]:
        """The members, each to be read before the next one: no header is larger than `LARGEST_HEADER`, they are no more
        than `MOST_PATHS`, and none is remembered."""
        memory: Any = self.archive
        for count, member in enumerate(self.archive):
            if count == MOST_PATHS:
                raise FileTooLargeError(TOO_MANY)
            self.limit = self.archive.offset + LARGEST_HEADER + _BUFFER
            yield member
            memory.members.clear()
        self.limit = None

    def read_rest(self) -> None:
        """What stands behind the last member."""
        while not self.ended:
            self.read(_BUFFER)

    def finish(self) -> None:
        """Read what is left and hold it against size and digest; raises `RegistryError` when they differ."""
        while self._next_piece():
            pass
        digest = f"sha256:{self._sha256.hexdigest()}"
        if (digest, self.received) != (self._descriptor.digest, self._descriptor.size):
            raise RegistryError(
                f'the registry sent wrong bytes for the layer "{self._descriptor.digest}": '
                f"{self.received} of {self._descriptor.size} bytes, with digest {digest}",
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
        self._buffer = b""

    def feed(self, piece: bytes) -> None:
        self._buffer = piece

    def read(self, size: int) -> bytes:
        content, self._buffer = self._buffer[:size], self._buffer[size:]
        return content


class _Gzip:
    """Inflates no more than is asked for: a bomb costs time, up to the bound, and no memory."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=31)
        self._buffer = b""

    def feed(self, piece: bytes) -> None:
        self._buffer += piece

    def read(self, size: int) -> bytes:
        while self._buffer or not self._inflate.eof:
            if self._inflate.eof and not self._next_member():
                return b""
            content = self._inflate.decompress(self._buffer, size)
            self._buffer = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if content or not self._inflate.eof:
                return content
        return b""

    def _next_member(self) -> bool:
        """Whether another member begins; what follows the last one (zeros, as a rule) is no part of the content."""
        if len(self._buffer) < 2:
            return False
        if not self._buffer.startswith(_GZIP):
            self._buffer = b""
            return False
        self._inflate = zlib.decompressobj(wbits=31)
        return True


# All that `tarfile` and the readers of files raise for bytes that nobody wrote in good faith.
_DAMAGE = (tarfile.TarError, ValueError, ArithmeticError, LookupError, RecursionError, EOFError)


@contextmanager
def opened(pieces: Iterator[bytes], descriptor: Descriptor, plain: Any = None) -> Iterator[LayerReader]:
    """The layer whose compressed bytes are `pieces`, verified when the block ends; `plain`, a hash, is fed its tar.

    Raises `RegistryError` when they are not the announced bytes, `BaseImageError` when they are no tar or pass a bound.
    """
    if descriptor.size > LARGEST_PLAIN:
        raise BaseImageError(
            f'the layer "{descriptor.digest}" has {descriptor.size} bytes, more than any image\'s layer', NEXT_STEP
        )
    layer = LayerReader(pieces, descriptor, plain)
    layer.limit = LARGEST_HEADER + _BUFFER
    try:
        stream = cast("IO[bytes]", layer)
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BUFFER, encoding="utf-8", tarinfo=_TarMember) as archive:
            layer.archive = archive
            yield layer
    except _DAMAGE as error:
        raise layer.refused(str(error) or type(error).__name__) from error
    if plain is not None:
        layer.read_rest()
    layer.finish()


_BLOCK = 512
_RECORD = re.compile(rb"(\d{1,9}) ([^=\n]{1,1000})=")


class _TarMember(tarfile.TarInfo):
    """A damaged header is an error, as is one that announces what no layer holds: a tar file alone takes a damaged one
    that is not its first for its end, and believes any other."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _TarMember:
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):  # no end, which is a block of zeros or nothing
                raise tarfile.ReadError(f"a member's header is damaged: {error}") from error
            raise
        if member.type == tarfile.GNUTYPE_SPARSE:
            raise _sparse(member.name)
        return member._sized(member.size)

    def _sized(self, size: int) -> _TarMember:
        if not 0 <= size <= LARGEST_PLAIN:
            raise tarfile.ReadError(f'"{self.name[:100]}" announces {size} bytes, more than any image\'s layer holds')
        self.size = size
        return self

    def _proc_pax(self, archive: Any) -> tarfile.TarInfo:
        """What an extended header says of the place and the size of the next member; one for all members is passed
        over, as engines do. `tarfile` would keep everything, and takes minutes for records that lie over one another
        where it is older (CVE-2024-6232)."""
        records = _records(archive.fileobj.read(_blocks(self.size))[: self.size])
        try:
            member = self.fromtarfile(archive)
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"no member follows an extended header: {error}") from error
        if self.type == tarfile.XGLTYPE:
            return member
        if any(keyword.startswith("GNU.sparse.") for keyword in records):
            raise _sparse(member.name)
        member.name = records.get("path", member.name)
        member.linkname = records.get("linkpath", member.linkname)
        if "size" in records:
            text = records["size"]
            member._sized(int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1)
            if member.isreg() or member.type not in tarfile.SUPPORTED_TYPES:
                archive.offset = member.offset_data + _blocks(member.size)
        return member


def _records(content: bytes) -> dict[str, str]:
    """keyword → value of an extended header (POSIX.1-2008, pax): `<length> <keyword>=<value>` and a newline, where the
    length counts all of it."""
    records: dict[str, str] = {}
    start = 0
    while start < len(content):
        record = _RECORD.match(content, start)
        end = start + int(record[1]) if record else 0
        if record is None or not record.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise tarfile.ReadError("an extended header is damaged")
        value = content[record.end() : end - 1].decode("utf-8", "surrogateescape")
        records[record[2].decode("utf-8", "surrogateescape")] = value
        start = end
    return records


def _blocks(size: int) -> int:
    """Bytes that `size` bytes take up in a tar."""
    return -(-size // _BLOCK) * _BLOCK


def _sparse(name: str) -> tarfile.ReadError:
    return tarfile.ReadError(f'"{name[:100]}" is a sparse file, which no image builder writes')
