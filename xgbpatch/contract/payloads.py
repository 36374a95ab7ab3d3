"""Request bodies and files: CSV, libsvm, recordio-protobuf, npy, and the abalone data."""

from __future__ import annotations

import ast
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from xgbpatch.contract.http import Answer
from xgbpatch.contract.model import Violation

_RECORDIO_MAGIC = 0xCED7230A
_FEATURES, _LABEL, _VALUE, _FLOAT32_TENSOR, _VALUES = 1, 2, 2, 2, 1  # field numbers on the way down to the floats
_KEY = 1
_VARINT, _LENGTH_DELIMITED = 0, 2


def recordio(rows: Iterable[Sequence[float]]) -> bytes:
    """Each row as one record: features["values"] = float32 tensor."""
    stream = bytearray()
    for row in rows:
        tensor = _field(_FLOAT32_TENSOR, _field(_VALUES, struct.pack(f"<{len(row)}f", *row)))
        record = _field(_FEATURES, _field(_KEY, b"values") + _field(_VALUE, tensor))
        stream += struct.pack("<II", _RECORDIO_MAGIC, len(record)) + record + b"\0" * (-len(record) % 4)
    return bytes(stream)


def recordio_count(stream: bytes) -> int:
    """How many whole records `stream` holds; raises `ValueError` where the framing is broken."""
    return sum(1 for _ in _payloads(stream))


def recordio_labels(stream: bytes) -> list[dict[str, tuple[float, ...]]]:
    """The float32 tensors under `label` of each record, by key; raises `ValueError` where there is something else."""
    return [dict(map(_entry, _fields(payload, _LABEL))) for payload in _payloads(stream)]


def _payloads(stream: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(stream):
        if len(stream) - position < 8:
            raise ValueError(f"{len(stream) - position} stray bytes at {position}")
        magic, length = struct.unpack_from("<II", stream, position)
        if magic != _RECORDIO_MAGIC:
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
    fields, position = [], 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        length, position = _read_varint(message, position)
        if tag & 7 == _LENGTH_DELIMITED:
            if tag >> 3 == number:
                fields.append(message[position : position + length])
            position += length
        elif tag & 7 != _VARINT:
            raise ValueError(f"a field of wire type {tag & 7}")
    return fields


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
    raise ValueError("a number is cut off")


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


# numpy's array file, as far as float32 rows need it, so that this machine needs no numpy.
#
# Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0.


_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNED = 64


def npy_float32(rows: Sequence[Sequence[float]]) -> bytes:
    """The file of an array (rows, columns) in C order, little-endian."""
    shape = (len(rows), len(rows[0]))
    header = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode("ascii")
    padding = -(len(_NPY_MAGIC) + 2 + len(header) + 1) % _ALIGNED
    header += b" " * padding + b"\n"
    numbers = struct.pack(f"<{shape[0] * shape[1]}f", *(value for row in rows for value in row))
    return _NPY_MAGIC + struct.pack("<H", len(header)) + header + numbers


def npy_shape(content: bytes) -> tuple[int, ...]:
    """The shape of a file of float32; raises `ValueError` where it is another file, or cut off."""
    if not content.startswith(_NPY_MAGIC):
        raise ValueError("not an array file of version 1.0")
    start = len(_NPY_MAGIC) + 2
    length = int.from_bytes(content[len(_NPY_MAGIC) : start], "little")
    described = ast.literal_eval(content[start : start + length].decode("ascii"))
    shape: tuple[int, ...] = described["shape"]
    if described["descr"] != "<f4" or len(content) != start + length + 4 * math.prod(shape):
        raise ValueError(f"{described} in {len(content)} bytes")
    return shape


# The abalone data that ships with the project, as channels for training and rows for serving.


ABALONE_CHANNELS = {"train": ("train_0", "train_1"), "validation": ("validation",)}
ABALONE_NAMES = (
    "sex", "length", "diameter", "height", "whole weight", "shucked weight", "viscera weight", "shell weight",
)  # fmt: skip
ABALONE_FEATURES = 9  # indices 1 to 8 in the files, and the column 0 that libsvm training sees in front of them
_MEDIAN = 9  # rings


def abalone_rows() -> tuple[Row, ...]:
    """The 626 rows of the validation file without labels, as the trained model counts columns: column 0 is 0."""
    return tuple(_abalone_record(line)[1] for line in _text("validation").splitlines())


def write_channels(directory: Path, content_type: str, as_classes: bool = False) -> None:
    """Write `train/` and `validation/` below `directory` as libsvm or CSV; CSV rows start with label and column 0.

    The label is the number of rings, or `as_classes` 1 for more than 9 and 0.
    """
    as_csv = content_type == "text/csv"
    for channel, names in ABALONE_CHANNELS.items():
        (directory / channel).mkdir(parents=True)
        for name in names:
            lines = []
            for line in _text(name).splitlines():
                rings, row = _abalone_record(line)
                label = str(int(float(rings) > _MEDIAN)) if as_classes else rings
                # libsvm as published: its indices are counted from 1
                lines.append(
                    f"{label},{','.join(map(repr, row))}\n" if as_csv else f"{label} {line.partition(' ')[2]}\n"
                )
            path = directory / channel / f"{name}.{'csv' if as_csv else 'libsvm'}"
            path.write_text("".join(lines), encoding="ascii")


def _abalone_record(line: str) -> tuple[str, Row]:
    label, *pairs = line.split()
    values = {int(index): float(value) for index, value in (pair.split(":") for pair in pairs)}
    return label, tuple(values.get(index, 0.0) for index in range(ABALONE_FEATURES))


def _text(name: str) -> str:
    return (files("xgbpatch") / "data" / "abalone" / f"{name}.libsvm").read_text(encoding="ascii")


# Rows of numbers as request bodies, and response bodies as rows of numbers.


Row = tuple[float, ...]


@dataclass(frozen=True)
class ContentType:
    """A content type that every base takes: the header's value, and rows as such a body."""

    header: str
    encode: Callable[[Sequence[Row]], bytes]


def csv(rows: Sequence[Row]) -> bytes:
    """One line a row, no header, no label, no newline at the end."""
    return "\n".join(",".join(map(_number, row)) for row in rows).encode()


def libsvm(rows: Sequence[Row]) -> bytes:
    """Every feature written out from index 0: 3.2-0 shifts a request whose smallest index is 1."""
    lines = (" ".join(f"{index}:{_number(value)}" for index, value in enumerate(row)) for row in rows)
    return "\n".join(f"0 {line}" for line in lines).encode()


CONTENT_TYPES = {
    "csv": ContentType("text/csv", csv),
    "libsvm": ContentType("text/libsvm", libsvm),
    "recordio-protobuf": ContentType("application/x-recordio-protobuf", recordio),
}


def vector(value: object) -> Row:
    """A number, or a list of numbers, as a row."""
    return tuple(map(float, value)) if isinstance(value, list) else (float(value),)  # type: ignore[arg-type]


def csv_scores(answer: Answer) -> list[Row]:
    """The numbers of a CSV answer, one row a line; raises `Violation` where a cell is none."""
    try:
        return [tuple(float(cell) for cell in line.split(",")) for line in answer.text.splitlines()]
    except ValueError as error:
        raise Violation(f"answered {answer}, which is no CSV of numbers") from error


def json_scores(answer: Answer, key: str = "score") -> list[Row]:
    """The numbers under `predictions[].<key>`, one row a record; raises `Violation` on another shape."""
    document = answer.json()
    try:
        return [vector(record[key]) for record in document["predictions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise Violation(f'answered {answer}, not {{"predictions": [{{"{key}": …}}]}}') from error


def json_lines_scores(answer: Answer, key: str = "score") -> list[Row]:
    """The numbers under `key` of each line; raises `Violation` on another shape."""
    lines = [Answer(answer.status, {}, b'{"predictions": [' + line + b"]}") for line in answer.body.splitlines()]
    return [score for line in lines for score in json_scores(line, key)]


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
