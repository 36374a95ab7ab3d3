"""Models in Universal Binary JSON, as xgboost writes them since 1.6: typed arrays become numpy's, not lists of objects.

Format: https://ubjson.org, and the writer in xgboost's src/common/json.cc.
"""

from __future__ import annotations

import struct
from typing import Any, Dict, List, Tuple, Union

import numpy as np

NUMBERS = {"i": "b", "U": "B", "I": "h", "l": "i", "L": "q", "d": "f", "D": "d"}  # struct's letters; big-endian
CONSTANTS = {"T": True, "F": False, "Z": None}


def read(content: Union[bytes, bytearray]) -> Any:
    """The document that `content` holds; raises ValueError where it is none."""
    try:
        value, _ = _value(content, 1, _letter(content, 0))
    except (IndexError, KeyError, struct.error) as error:
        raise ValueError("not a model in UBJSON: {!r}".format(error)) from error
    return value


def _letter(content: Union[bytes, bytearray], at: int) -> str:
    return chr(content[at])


def _value(content: Union[bytes, bytearray], at: int, kind: str) -> Tuple[Any, int]:
    """The value of that kind whose payload begins at `at`, and where the next one begins."""
    if kind in NUMBERS:
        return _number(content, at, kind)
    if kind in CONSTANTS:
        return CONSTANTS[kind], at
    if kind in "SC":
        return _text(content, at) if kind == "S" else (_letter(content, at), at + 1)
    return {"{": _object, "[": _array}[kind](content, at)


def _number(content: Union[bytes, bytearray], at: int, kind: str) -> Tuple[Any, int]:
    code = ">" + NUMBERS[kind]
    return struct.unpack_from(code, content, at)[0], at + struct.calcsize(code)


def _length(content: Union[bytes, bytearray], at: int) -> Tuple[int, int]:
    return _number(content, at + 1, _letter(content, at))


def _text(content: Union[bytes, bytearray], at: int) -> Tuple[str, int]:
    length, at = _length(content, at)
    return bytes(content[at : at + length]).decode("utf-8"), at + length


def _object(content: Union[bytes, bytearray], at: int) -> Tuple[Dict[str, Any], int]:
    values: Dict[str, Any] = {}
    while _letter(content, at) != "}":
        name, at = _text(content, at)
        values[name], at = _value(content, at + 1, _letter(content, at))
    return values, at + 1


def _array(content: Union[bytes, bytearray], at: int) -> Tuple[Any, int]:
    """A list; an array of numpy's where the numbers are of one kind."""
    kind, count = "", -1
    if _letter(content, at) == "$":
        kind, at = _letter(content, at + 1), at + 2
    if _letter(content, at) == "#":
        count, at = _length(content, at + 1)
    if kind in NUMBERS:
        code = np.dtype(">" + np.dtype(NUMBERS[kind]).str[1:])
        array = np.frombuffer(content, code, count, at) if count else np.empty(0, code)
        return array.astype(code.newbyteorder("=")), at + array.nbytes
    values: List[Any] = []
    while len(values) != count and (count >= 0 or _letter(content, at) != "]"):
        each = kind or _letter(content, at)
        value, at = _value(content, at if kind else at + 1, each)
        values.append(value)
    return values, at if count >= 0 else at + 1
