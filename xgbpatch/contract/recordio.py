"""Amazon's RecordIO-protobuf, as far as dense float32 rows need it.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html (message `Record`) and MXNet's recordio
framing: magic, length, payload, zeros up to a multiple of four; all little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence

_MAGIC = 0xCED7230A
_FEATURES, _LABEL, _VALUE, _FLOAT32_TENSOR, _VALUES = 1, 2, 2, 2, 1  # field numbers on the way down to the floats
_KEY = 1
_VARINT, _LENGTH_DELIMITED = 0, 2


def encode(rows: Iterable[Sequence[float]]) -> bytes:
    """Each row as one record: features["values"] = float32 tensor."""
    return b"".join(_framed(_record(row)) for row in rows)


def count(stream: bytes) -> int:
    """How many whole records `stream` holds; raises `ValueError` where the framing is broken."""
    return sum(1 for _ in _payloads(stream))


def labels(stream: bytes) -> list[dict[str, tuple[float, ...]]]:
    """The float32 tensors under `label` of each record, by key; raises `ValueError` where there is something else."""
    return [dict(map(_entry, _fields(payload, _LABEL))) for payload in _payloads(stream)]


def _payloads(stream: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(stream):
        if len(stream) - position < 8:
            raise ValueError(f"{len(stream) - position} stray bytes at {position}")
        magic, length = struct.unpack_from("<II", stream, position)
        if magic != _MAGIC:
            raise ValueError(f"no record begins at byte {position}")
        end = position + 8 + length + (-length) % 4
        if end > len(stream):
            raise ValueError(f"the last record is cut off at byte {len(stream)}")
        yield stream[position + 8 : position + 8 + length]
        position = end


def _entry(entry: bytes) -> tuple[str, tuple[float, ...]]:
    key, value = b"".join(_fields(entry, _KEY)).decode(), b"".join(_fields(entry, _VALUE))
    numbers = b"".join(_fields(b"".join(_fields(value, _FLOAT32_TENSOR)), _VALUES))
    return key, struct.unpack(f"<{len(numbers) // 4}f", numbers)


def _fields(message: bytes, number: int) -> list[bytes]:
    """The length-delimited fields of that number; the only other kind that such messages have is a varint."""
    found, position = [], 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        length, position = _read_varint(message, position)
        if tag & 7 == _LENGTH_DELIMITED:
            if tag >> 3 == number:
                found.append(message[position : position + length])
            position += length
        elif tag & 7 != _VARINT:
            raise ValueError(f"a field of wire type {tag & 7}")
    return found


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise ValueError("a number is cut off")


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
