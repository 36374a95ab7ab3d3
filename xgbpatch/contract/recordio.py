"""Amazon's RecordIO-protobuf, as far as dense float32 rows need it.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html (message `Record`) and MXNet's recordio
framing: magic, length, payload, zeros up to a multiple of four; all little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

_MAGIC = 0xCED7230A
_FEATURES, _VALUE, _FLOAT32_TENSOR, _VALUES = 1, 2, 2, 1  # field numbers on the way down to the floats
_KEY = 1
_LENGTH_DELIMITED = 2


def encode(rows: Iterable[Sequence[float]]) -> bytes:
    """Each row as one record: features["values"] = float32 tensor."""
    return b"".join(_framed(_record(row)) for row in rows)


def count(stream: bytes) -> int:
    """How many whole records `stream` holds; raises `ValueError` where the framing is broken."""
    found = position = 0
    while position < len(stream):
        if len(stream) - position < 8:
            raise ValueError(f"{len(stream) - position} stray bytes at {position}")
        magic, length = struct.unpack_from("<II", stream, position)
        if magic != _MAGIC:
            raise ValueError(f"no record begins at byte {position}")
        position += 8 + length + (-length) % 4
        found += 1
    if position != len(stream):
        raise ValueError(f"the last record is cut off at byte {len(stream)}")
    return found


def _record(row: Sequence[float]) -> bytes:
    floats = _field(_VALUES, struct.pack(f"<{len(row)}f", *row))
    value = _field(_FLOAT32_TENSOR, floats)
    return _field(_FEATURES, _field(_KEY, b"values") + _field(_VALUE, value))


def _framed(payload: bytes) -> bytes:
    return struct.pack("<II", _MAGIC, len(payload)) + payload + b"\0" * (-len(payload) % 4)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
