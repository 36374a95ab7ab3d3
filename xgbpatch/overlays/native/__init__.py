"""The native library of this machine, loaded through ctypes; and numbers as text, which needs it only for speed."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from typing import Any, Callable, Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ..model.booster import Unsuitable

ABI = 4  # of xgbpatch/native/library.h
FOLDER = os.path.dirname(os.path.abspath(__file__))


def load() -> ctypes.CDLL:
    """The library, loaded once; raises Unsuitable where there is none for this machine, or it does not load."""
    library, reason = _loaded(FOLDER)
    if library is None:
        raise Unsuitable(reason)
    return library


@functools.lru_cache(maxsize=None)
def _loaded(folder: str) -> Tuple[Optional[ctypes.CDLL], str]:
    machine = platform.machine()
    path = os.path.join(folder, "libxgbpatch-{}.so".format(machine))
    if not sys.platform.startswith("linux") or not os.path.isfile(path):
        return None, "there is no native library for {} on {}".format(sys.platform, machine)
    try:
        library = ctypes.CDLL(path)
        library.xgbpatch_abi.restype = ctypes.c_int32
        abi = library.xgbpatch_abi()
        if abi == ABI:
            _declare(library)
    except (OSError, AttributeError) as error:
        return None, "the native library does not load: {}".format(error)
    if abi != ABI:
        return (
            None,
            "the native library has the interface {}, {} is needed: scripts/setup makes it in a checkout".format(
                abi, ABI
            ),
        )
    return library, ""


@functools.lru_cache(maxsize=None)
def available() -> bool:
    """Whether `load` gives a library."""
    try:
        load()
    except Unsuitable:
        return False
    return True


@functools.lru_cache(maxsize=None)
def function(name: str, *types: Any, result: Any = ctypes.c_int64) -> Callable[..., Any]:
    """The library's function `name`, whose arguments are of these ctypes; raises Unsuitable."""
    callable_: Any = getattr(load(), name)
    callable_.argtypes, callable_.restype = types, result
    return callable_  # type: ignore[no-any-return]


def _declare(library: ctypes.CDLL) -> None:
    """The types of every function: a pointer is never cut to an int. Raises AttributeError where one is missing."""
    pointer, integer, long, real = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_float
    for name, result, arguments in (
        ("forest", pointer, (integer, integer)),
        ("forest_free", None, (pointer,)),
        ("forest_add", integer, (pointer, integer) + (pointer,) * 6 + (real, pointer, pointer, long)),
        ("forest_output", None, (pointer, integer)),
        ("forest_end", integer, (pointer,)),
        ("forest_unexplained", integer, (pointer,)),
        ("forest_bytes", long, (pointer,)),
        ("forest_splits", long, (pointer,)),
        ("margins", integer, (pointer, pointer, long, pointer, integer, integer, pointer)),
        ("link", None, (integer, pointer, long, long, pointer)),
        ("kernels", integer, ()),
        ("kernel_width", integer, (integer,)),
        ("contributions", integer, (pointer, integer, pointer, long, pointer)),
        ("contributions_of_rows", integer, (pointer, integer, pointer, long, pointer)),
        ("interactions", integer, (pointer, integer, pointer, long, pointer)),
    ):
        function = getattr(library, "xgbpatch_" + name)
        function.restype, function.argtypes = result, arguments


def address(array: Any) -> int:
    """Where the numbers of a numpy array begin. The caller holds the array, which is in C order, while it is used."""
    place: int = array.__array_interface__["data"][0]  # half the time of array.ctypes.data
    return place


# float32 to text: the shortest that gives the same float32 back, for our columns, and the base's own for predictions.
# Layout is that of Python's `repr` in both. Without the library the same bytes come from Python.


ROOM = 40  # bytes: the longest number takes 24, and the library writes up to 16 behind the digits
AT_ONCE = 2**17  # numbers that are written into one buffer, of 5 MB and more
FEW = 6  # numbers that Python writes sooner than the library is called
PYTHON, JSON = ("nan", "inf"), ("NaN", "Infinity")  # how NaN and infinity are spelled


def shortest(values: np.ndarray, between: str = ", ", special: Tuple[str, str] = PYTHON) -> Iterator[str]:
    """Of each row of float32 (n, k) its numbers in the shortest decimals, with `between` between them.

    Of a number, `numpy.float32(float(text))` is the number. `special` is PYTHON or JSON.
    """
    values = np.ascontiguousarray(values, dtype=np.float32)
    if not available():
        for row in values:
            yield between.join(_spelled(map(shortest_double, row), special))
        return
    texts = ("", between, "", *special)
    if len(values) == 1:  # where one stops needs not be told
        yield _written(values, False, texts).decode("ascii")
        return
    for rows in _slices(values):
        ends = np.empty(len(rows), np.int64)
        start, text = 0, _written(rows, False, texts, ends).decode("ascii")
        for end in ends.tolist():
            yield text[start:end]
            start = end


BEHIND = (",", ",", "\n", *PYTHON)


def behind(lines: bytes, parts: Iterable[np.ndarray]) -> bytes:
    """`lines`, each with the numbers of its row in the shortest decimals behind it, and commas between them.

    `parts`, float32 (n, k), have as many rows together. The last line ends in a newline where it does in `lines`.
    """
    ending = b"\n" if lines.endswith(b"\n") else b""
    if not available() or b"\0" in lines:
        texts = (text.encode("ascii") for part in parts for text in shortest(part, ","))
        return b"\n".join(map(b",".join, zip(lines.split(b"\n"), texts))) + ending
    slices = (rows for part in parts for rows in _slices(np.ascontiguousarray(part, dtype=np.float32)))
    count, written, at, row = lines.count(b"\n") + (not ending), [], 0, 0
    ends: Any = None  # where each line ends; a slice of all rows needs it not
    for rows in slices:
        row += len(rows)
        if ends is None and row < count:
            ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n"))
        stop = ends[row - 1] + 1 if row < count else len(lines)
        written.append(_written(rows, False, BEHIND, lines=lines[at:stop]))
        at = stop
    body = b"".join(written)
    return body if ending else body[:-1]


def doubles(values: np.ndarray) -> np.ndarray:
    """float64 like `values`, float32 of any shape: the numbers whose `repr` are the shortest texts."""
    texts = shortest(values.reshape(-1, 1))
    return np.array([float(text) for text in texts], dtype=np.float64).reshape(values.shape)


def shortest_double(value: np.float32) -> float:
    """The number whose `repr` is the shortest text of a float32.

    numpy's own text has the digits (Dragon4). One float32 has a shortest decimal that as a double is nearer to its
    neighbour: as the library does, it is widened instead.
    """
    double = float(str(value))
    return float(value) if np.isfinite(value) and np.float32(double) != value else double


class BodyLayout(NamedTuple):
    """How the base puts predictions into a body; a record of several classes is in brackets, or is not."""

    opening: str
    before: str
    after: str
    separator: str
    closing: str
    brackets: bool = True
    special: Tuple[str, str] = PYTHON


CSV = BodyLayout("", "", "", "\n", "\n", brackets=False)
BATCH_LINES = BodyLayout(
    "", "", "", "\n", "\n"
)  # batch transform, whatever Accept says; on multi-model servers for CSV alone
JSON_SCORES = BodyLayout('{"predictions": [', '{"score": ', "}", ", ", "]}", special=JSON)
JSON_LINES = BodyLayout("", '{"score": ', "}", "\n", "\n", special=JSON)
MULTI_MODEL_CSV = BodyLayout("", "", "", ",", "")  # all records in one line
MULTI_MODEL_JSON = BodyLayout("[", "", "", ", ", "]", special=JSON)


def predictions(values: np.ndarray, layout: BodyLayout) -> Optional[bytes]:
    """The base's answer for predictions float32 (n,) or (n, classes), byte for byte: the `repr` of each as a double.

    None for other arrays, and for none at all: the base writes these.
    """
    if values.dtype != np.float32 or values.ndim not in (1, 2) or not values.size:
        return None
    brackets = layout.brackets and values.ndim == 2
    before, between = layout.before + "[" * brackets, ", " if layout.brackets else ","
    after = "]" * brackets + layout.after + layout.separator
    rows = np.ascontiguousarray(values.reshape(len(values), -1))
    if values.size <= FEW or not available():
        lines = (before + between.join(_spelled(row, layout.special)) + after for row in rows.tolist())
        records = "".join(lines).encode("ascii")
    else:
        texts = (before, between, after, *layout.special)
        records = b"".join(_written(part, True, texts) for part in _slices(rows))
    records = records[: len(records) - len(layout.separator)]
    return layout.opening.encode("ascii") + records + layout.closing.encode("ascii")


def _slices(values: np.ndarray) -> Iterator[np.ndarray]:
    """`values` in parts of about AT_ONCE numbers."""
    step = max(1, AT_ONCE // max(1, values.shape[1]))
    for start in range(0, len(values), step):
        yield values[start : start + step]


_TEXT, _ARRAY, _NUMBER = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64
_TYPES = (_ARRAY, _NUMBER, _NUMBER, ctypes.c_int32, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _ARRAY, _ARRAY)


def _written(
    values: np.ndarray,
    widened: bool,
    texts: Tuple[str, ...],
    ends: Optional[np.ndarray] = None,
    lines: Optional[bytes] = None,
) -> bytes:
    """The text of rows in C order, by the library; `ends`, int64, gets where each ends.

    `texts` stand before, between and after the numbers, and for NaN and infinity; `lines`, one a row, before all.
    """
    rows, columns = values.shape
    words, more, room_of_number = _encoded(texts)
    body = np.empty(len(lines or b"") + rows * (more + columns * room_of_number), np.uint8)
    pointers = address(body), None if ends is None else address(ends)
    length = _writer()(address(values), rows, columns, widened, lines, *words, *pointers)
    return ctypes.string_at(pointers[0], length)


@functools.lru_cache(maxsize=64)
def _encoded(texts: Tuple[str, ...]) -> Tuple[Tuple[bytes, ...], int, int]:
    """The texts of `_written` as the library takes them; the room for those of a row, and for a number."""
    words = tuple(text.encode("ascii") for text in texts)
    return words, len(words[0]) + len(words[2]), ROOM + len(words[1])


@functools.lru_cache(maxsize=None)
def _writer() -> Callable[..., Any]:
    return function("xgbpatch_write", *_TYPES)


def _spelled(numbers: Iterable[float], special: Tuple[str, str]) -> List[str]:
    spelling = {"nan": special[0], "inf": special[1], "-inf": "-" + special[1]}
    return [spelling.get(text, text) for text in map(repr, numbers)]
