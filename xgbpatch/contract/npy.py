"""numpy's array file, as far as float32 rows need it, so that this machine needs no numpy.

Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0.
"""

from __future__ import annotations

import ast
import math
import struct
from collections.abc import Sequence

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNED = 64


def float32(rows: Sequence[Sequence[float]]) -> bytes:
    """The file of an array (rows, columns) in C order, little-endian."""
    shape = (len(rows), len(rows[0]))
    header = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode("ascii")
    padding = -(len(_MAGIC) + 2 + len(header) + 1) % _ALIGNED
    header += b" " * padding + b"\n"
    numbers = struct.pack(f"<{shape[0] * shape[1]}f", *(value for row in rows for value in row))
    return _MAGIC + struct.pack("<H", len(header)) + header + numbers


def shape(content: bytes) -> tuple[int, ...]:
    """The shape of a file of float32; raises `ValueError` where it is another file, or cut off."""
    if not content.startswith(_MAGIC):
        raise ValueError("not an array file of version 1.0")
    start = len(_MAGIC) + 2
    length = int.from_bytes(content[len(_MAGIC) : start], "little")
    described = ast.literal_eval(content[start : start + length].decode("ascii"))
    found: tuple[int, ...] = described["shape"]
    if described["descr"] != "<f4" or len(content) != start + length + 4 * math.prod(found):
        raise ValueError(f"{described} in {len(content)} bytes")
    return found
