"""Request bodies to float32 rows by the native library: as the base of this version reads them, or not at all."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, Optional

import numpy as np
from sagemaker_xgboost_container import data_utils, encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

from . import library

MOST_CELLS = 2**23  # of rows that are sparse in the body: 32 MB; of others the body's size is the bound
_LEFT = ctypes.c_int64 * 3 * 32  # MOST_LEFT of body.c
_TEXT, _ARRAY, _NUMBER = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64


def rows(body: bytes, content_type: Optional[str]) -> Optional[np.ndarray]:
    """The records of `body` as float32 (n, f) in C order, f as the base's matrix would have, missing cells NaN.

    None means that the base has to read it: where its parser raises or may differ from this one, where the content type
    is another than CSV, libsvm and recordio-protobuf, and where there is no library. Never raises. Labels in a body are
    no part of a prediction, and are left out.

    The fixes of libsvm change the base's readers, so the first call must come after they are installed.
    """
    read = _READERS.get(_kind(content_type))
    if read is None or not library.available():
        return None
    return read(bytes(body))


@functools.lru_cache(maxsize=64)
def _kind(content_type: Optional[str]) -> Optional[str]:
    try:
        kind: str = data_utils.get_content_type(content_type)
    except Exception:  # the base refuses it in its own words
        return None
    return kind


def _read_csv(body: bytes) -> Optional[np.ndarray]:
    body = body.strip()
    count, width = body.count(b"\n") + 1, body.count(b",", 0, _end_of_line(body)) + 1
    if count * width > len(body) + 1:  # lines differ: each cell but the last takes a delimiter at least
        return None
    values, left = np.empty((count, width), np.float32), _LEFT()
    read = library.function("xgbpatch_read_csv", _TEXT, _NUMBER, _NUMBER, _NUMBER, _ARRAY, _ARRAY)
    cells = read(body, len(body), count, width, library.address(values), left)
    return _completed(values, body, left, cells)


def _read_libsvm(body: bytes) -> Optional[np.ndarray]:
    text = body.strip()
    ending = body[len(text) :] if body.startswith(text) else None
    if not text or ending not in (b"", b"\n", b"\r\n"):  # a fix may read blank lines at the ends as records
        return None
    count, entries = text.count(b"\n") + 1, text.count(b":")
    starts, indices = np.empty(count + 1, np.int64), np.empty(entries, np.int32)
    values, left = np.empty(entries, np.float32), _LEFT()
    read = library.function("xgbpatch_read_libsvm", _TEXT, _NUMBER, _NUMBER, _NUMBER, _ARRAY, _ARRAY, _ARRAY, _ARRAY)
    cells = read(
        text,
        len(text),
        count,
        entries,
        library.address(starts),
        library.address(indices),
        library.address(values),
        left,
    )
    if _completed(values, text, left, cells) is None:
        return None
    first = 1 if _counts_from_one() and indices.min() >= 1 else 0
    width = int(indices.max()) - first + 1
    if count * width > MOST_CELLS:
        return None
    dense = np.full((count, width), np.nan, np.float32)
    fill = library.function(
        "xgbpatch_fill", _ARRAY, _ARRAY, _ARRAY, _NUMBER, _NUMBER, ctypes.c_int32, _ARRAY, result=None
    )
    pointers = (library.address(starts), library.address(indices), library.address(values))
    fill(*pointers, count, width, first, library.address(dense))
    return dense


def _read_recordio(body: bytes) -> Optional[np.ndarray]:
    shape = (ctypes.c_int64 * 3)()
    read = library.function("xgbpatch_read_recordio", _TEXT, _NUMBER, _ARRAY, _ARRAY)
    if read(body, len(body), None, shape):
        return None
    count, width, sparse = shape
    if sparse and (count * width > MOST_CELLS or hasattr(encoder, "mlio")):  # what mlio makes of it was not compared
        return None
    values = np.full((count, width), np.nan, np.float32)
    return None if read(body, len(body), library.address(values), shape) else values


_READERS = {
    data_utils.CSV: _read_csv,
    data_utils.LIBSVM: _read_libsvm,
    data_utils.RECORDIO_PROTOBUF: _read_recordio,
}


def _completed(values: np.ndarray, body: bytes, left: Any, cells: int) -> Optional[np.ndarray]:
    """`values`, with the `cells` that are in `left` read by Python; None where all are refused."""
    if cells < 0:
        return None
    for cell, start, length in left[:cells]:
        values.flat[cell] = float(body[start : start + length])
    return values


def _end_of_line(body: bytes) -> int:
    end = body.find(b"\n")
    return len(body) if end < 0 else end


@functools.lru_cache(maxsize=None)
def _counts_from_one() -> bool:
    """Whether the base takes a request that never names column 0 for one that counts from 1 (3.2-0 does)."""
    return bool(serve_utils._get_sparse_matrix_from_libsvm("1:5").shape[1] == 1)
