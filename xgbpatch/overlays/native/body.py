"""Request bodies to float32 rows by the native library: as the base of this version reads them, or not at all."""

from __future__ import annotations

import ctypes
import functools
import logging
from typing import Any, Callable, Dict, List, Optional, Tuple

import numpy as np
from sagemaker_xgboost_container import data_utils, encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

from .. import native, request_data, silence

logger = logging.getLogger(__name__)

MOST_CELLS = 2**23  # of rows that are sparse in the body: 32 MB; of others the body's size is the bound
_LEFT = ctypes.c_int64 * 3 * 32  # MOST_LEFT of body.c
_TEXT, _ARRAY, _NUMBER = ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64
_proving: List[str] = []  # kinds that are held to the base's parser at the moment


def rows(body: bytes, content_type: Optional[str]) -> Optional[np.ndarray]:
    """The records of `body` as float32 (n, f) in C order, f as the base's matrix would have, missing cells NaN.

    None means that the base has to read it: where its parser raises or may differ from this one, where the content type
    is another than CSV, libsvm and recordio-protobuf, and where there is no native. Never raises. Labels in a body are
    no part of a prediction, and are left out.

    The first call for each kind of body holds the library to the base's parser, in 0.1 s at most; where they differ,
    the base reads all of that kind. Fixes change the base's readers, so it must come after they are installed.
    """
    kind = _kind(content_type)
    if kind not in _READERS or not native.available() or not proved(kind):
        return None
    return _READERS[kind](bytes(body))


def reading(parse: Callable[..., Any]) -> Callable[..., Any]:
    """The base's parser `parse`, for which the library reads CSV, into a matrix that xgboost makes late or never.

    Other kinds are the base's: a matrix of theirs carries labels, or is sparse.
    """

    @functools.wraps(parse)
    def parse_content_data(input_data: Any, input_content_type: Any) -> Any:
        numbers = None
        if not _proving and isinstance(input_data, bytes) and _kind(input_content_type) == data_utils.CSV:
            numbers = rows(input_data, input_content_type)
        if numbers is None:
            return parse(input_data, input_content_type)
        return request_data.LateDMatrix(numbers), data_utils.CSV

    return parse_content_data


@functools.lru_cache(maxsize=None)
def proved(kind: str) -> bool:
    """Whether the base reads each of a kind's SAMPLES that the library reads, and as the library does."""
    _proving.append(kind)
    try:
        for sample in SAMPLES[kind]:
            ours = _READERS[kind](sample)
            theirs = None if ours is None else _read_by_base(sample, kind)
            if ours is not None and (theirs is None or ours.shape != theirs.shape or not _equal(ours, theirs)):
                logger.warning("The native library reads %r as the base does not: it reads no %s", sample, kind)
                return False
        return True
    finally:
        _proving.pop()


def _read_by_base(body: bytes, kind: str) -> Optional[np.ndarray]:
    """float32 (n, f), NaN is missing; None where the base raises, or a fix gives no matrix."""
    modules = [(module, module.xgb) for module in (encoder, serve_utils)]
    request_data.record(encoder, serve_utils)
    try:
        with silence():
            matrix, _ = serve_utils.parse_content_data(body, kind)
            data = getattr(matrix, "recorded", None)
            return None if data is None else request_data.dense(data, matrix.num_col())
    except Exception:
        return None
    finally:
        for module, xgb in modules:
            module.xgb = xgb


def _equal(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Bit by bit; one NaN is as good as another."""
    known = ~np.isnan(ours)
    return bool((known == ~np.isnan(theirs)).all() and ours[known].tobytes() == theirs[known].tobytes())


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
    read = native.function("xgbpatch_read_csv", _TEXT, _NUMBER, _NUMBER, _NUMBER, _ARRAY, _ARRAY)
    cells = read(body, len(body), count, width, native.address(values), left)
    return _completed(values, body, left, cells)


def _read_libsvm(body: bytes) -> Optional[np.ndarray]:
    text = body.strip()
    ending = body[len(text) :] if body.startswith(text) else None
    if not text or ending not in (b"", b"\n", b"\r\n"):  # a fix may read blank lines at the ends as records
        return None
    count, entries = text.count(b"\n") + 1, text.count(b":")
    starts, indices = np.empty(count + 1, np.int64), np.empty(entries, np.int32)
    values, left = np.empty(entries, np.float32), _LEFT()
    csr = native.address(starts), native.address(indices), native.address(values)
    read = native.function("xgbpatch_read_libsvm", _TEXT, _NUMBER, _NUMBER, _NUMBER, _ARRAY, _ARRAY, _ARRAY, _ARRAY)
    cells = read(text, len(text), count, entries, *csr, left)
    if _completed(values, text, left, cells) is None:
        return None
    first = 1 if _counts_from_one() and indices.min() >= 1 else 0
    width = int(indices.max()) - first + 1
    if count * width > MOST_CELLS:
        return None
    dense = np.full((count, width), np.nan, np.float32)
    integer = ctypes.c_int32
    fill = native.function("xgbpatch_fill", _ARRAY, _ARRAY, _ARRAY, _NUMBER, _NUMBER, integer, _ARRAY, result=None)
    fill(*csr, count, width, first, native.address(dense))
    return dense


def _read_recordio(body: bytes) -> Optional[np.ndarray]:
    shape = (ctypes.c_int64 * 3)()
    read = native.function("xgbpatch_read_recordio", _TEXT, _NUMBER, _ARRAY, _ARRAY)
    if read(body, len(body), None, shape):
        return None
    count, width, sparse = shape
    if sparse and (count * width > MOST_CELLS or hasattr(encoder, "mlio")):  # what mlio makes of it was not compared
        return None
    values = np.full((count, width), np.nan, np.float32)
    return None if read(body, len(body), native.address(values), shape) else values


_READERS = {
    data_utils.CSV: _read_csv,
    data_utils.LIBSVM: _read_libsvm,
    data_utils.RECORDIO_PROTOBUF: _read_recordio,
}


# One record each: float32, float64, sparse float32.
_DENSE = "0a23d7ce180000000a160a0676616c756573120c120a0a080000c03f0000c07f"
_WIDE = "0a23d7ce180000000a160a0676616c756573120c1a0a0a089a9999999999b93f"
_SPARSE = "0a23d7ce1a0000000a180a0676616c756573120e120c0a04000020401201011a01030000"

# What tells one parser from another: a base that reads one of these in another way is one that nobody has seen.
SAMPLES: Dict[str, Tuple[bytes, ...]] = {
    data_utils.CSV: (
        b"1,2.5,-3e-2",
        b"1,2\n3,4\n",
        b"\n 1, 2\r\n3 ,nan\r\n\n",
        b",1\n-0.0,",
        b"1.5\n\n-3",
        b"5\r\n6",
        b"0.12345678901234567,16777217,1.00000005960464477539,9007199254740993,7.038531e-26,3.4028234e38",
        b"1,2\n3",
        b"a,b\n1,2",
        b"-1e-5",
        b"1;2",
        b"1,2\n\n3,4",
    ),
    data_utils.LIBSVM: (
        b"0 0:1 3:2.5\n1 1:4\n",
        b"1:1 3:-2.5\r\n2:4\r\n",
        b"0 1:nan 2:-0.0",
        b"1 2:0  7:0.12345678901234567\n-1.5 5:1.00000005960464477539",
        b"0 0:1\n0",
        b"0 3:1 1:2",
    ),
    data_utils.RECORDIO_PROTOBUF: tuple(
        map(bytes.fromhex, (_DENSE, _WIDE, _DENSE + _DENSE, _SPARSE, _DENSE + _SPARSE))
    ),
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
