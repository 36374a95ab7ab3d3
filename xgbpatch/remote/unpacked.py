"""A layer's blob as the tar inside it, verified while it is read, with bounds that hostile bytes cannot pass.

Gzip (of any number of members) and plain tar, told apart by their first bytes. Zstandard is refused: neither the
standard library of the Pythons that xgbpatch runs on nor SageMaker's Docker manifests know it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import Protocol

from xgbpatch.errors import BaseImageError, RegistryError
from xgbpatch.manifest import Descriptor

LARGEST_PLAIN = 32 << 30  # bytes of one layer's tar; official images are 3 to 9 GB as a whole
NEXT_STEP = "Use --builder docker, which leaves the image to the engine."

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class _Decoder(Protocol):
    def feed(self, piece: bytes) -> None: ...

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none where more has to be fed."""
        ...


class Unpacked:
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
                piece = self._beginning(piece)
                self._decoder = self._decoder_for(piece)
            self._decoder.feed(piece)

    def _beginning(self, piece: bytes) -> bytes:
        while len(piece) < 4 and (more := self._next_piece()):
            piece += more
        return piece

    def _decoder_for(self, beginning: bytes) -> _Decoder:
        if beginning.startswith(_ZSTD):
            raise self.refused("it is compressed with Zstandard")
        return _Gzip() if beginning.startswith(_GZIP) else _Plain()

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
