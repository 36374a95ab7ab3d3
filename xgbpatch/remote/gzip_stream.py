"""Gzip (RFC 1952) whose bytes depend on the content alone, as far as that can be had.

The header is written here: the standard library's carries a time, and zlib's own names the operating system. What is
left is deflate (RFC 1951). Its output is nothing that a standard fixes: zlib, zlib-ng and Apple's fork each have their
own. Small content is therefore put into "stored" blocks, which every machine writes alike; content that is worth
compressing goes through the machine's zlib, and its compressed digest (never that of the content) may change with it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Protocol

from xgbpatch.archive import Sink

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
        self._held = bytearray()

    def compress(self, data: bytes, /) -> bytes:
        self._held += data
        found = bytearray()
        start = 0
        while len(self._held) - start > _LARGEST_BLOCK:
            found += _block(self._held[start : start + _LARGEST_BLOCK], last=False)
            start += _LARGEST_BLOCK
        del self._held[:start]
        return bytes(found)

    def flush(self) -> bytes:
        return _block(self._held, last=True)


def _block(content: bytearray, last: bool) -> bytes:
    return struct.pack("<BHH", int(last), len(content), len(content) ^ _LARGEST_BLOCK) + content
