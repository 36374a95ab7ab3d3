"""RecordIO-protobuf that xgbpatch.contract.payloads does not write: sparse records.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-training.html, message `Record`; a Float32Tensor has its
values in field 1, its keys in field 2 and its shape in field 3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence


def sparse(values: Sequence[float], keys: Iterable[int], features: int) -> bytes:
    """One framed record whose `keys` say where `values` stand."""
    tensor = field(1, struct.pack(f"<{len(values)}f", *values))
    tensor += field(2, b"".join(map(varint, keys))) + field(3, varint(features))
    return framed(field(1, field(1, b"values") + field(2, field(2, tensor))))


def framed(payload: bytes) -> bytes:
    return struct.pack("<II", 0xCED7230A, len(payload)) + payload + b"\0" * (-len(payload) % 4)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
