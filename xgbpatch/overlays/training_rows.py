"""A sample of a DMatrix's rows, which a DMatrix gives back in its own way in every xgboost."""

from __future__ import annotations

import os
import random
import struct
import tempfile
from typing import Sequence

import numpy as np
import scipy.sparse
import xgboost

SEED = 0
_COUNTS = struct.Struct("<QQ").pack
_ENTRY = np.dtype([("column", "<u4"), ("value", "<f4")])


def sample(rows: int, most: int) -> Sequence[int]:
    """At most `most` of the row numbers 0 .. rows - 1, in random order, the same at every call."""
    return random.Random(SEED).sample(range(rows), min(rows, most))  # noqa: S311 - a sample, not a secret


def read(dmatrix: xgboost.DMatrix, numbers: Sequence[int], width: int) -> scipy.sparse.csr_matrix:
    """Those rows as float32 CSR (n, width): what is not stored is missing. Raises ValueError where they are wider."""
    part = dmatrix.slice(list(numbers), allow_groups=True)
    found = part.get_data() if hasattr(part, "get_data") else _from_file(part)
    if found.shape[1] > width:
        raise ValueError("{} columns, the model has {}".format(found.shape[1], width))
    return scipy.sparse.csr_matrix((found.data, found.indices, found.indptr), (found.shape[0], width))


def nothing(width: int) -> np.ndarray:
    """One row in which all is missing."""
    return np.full((1, width), np.nan, dtype=np.float32)


def dense(rows: scipy.sparse.csr_matrix) -> np.ndarray:
    """float32 (n, width), what is missing NaN."""
    found = np.full(rows.shape, np.nan, dtype=np.float32)
    found[np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), rows.indices] = rows.data
    return found


def _from_file(dmatrix: xgboost.DMatrix) -> scipy.sparse.csr_matrix:
    """xgboost before 1.7 gives data to files only."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows")
        dmatrix.save_binary(path, silent=True)
        with open(path, "rb") as file:
            return _page(file.read(), (dmatrix.num_row(), dmatrix.num_col()))


def _page(content: bytes, shape: Sequence[int]) -> scipy.sparse.csr_matrix:
    """The CSR at the end of a binary DMatrix: the row offsets, then the entries, each behind its count (uint64).

    Source: xgboost 1.2 to 1.6, SimpleDMatrix::SaveToLocalFile. Raises ValueError where the file is not of this form.
    """
    rows, columns = shape
    start = content.find(_COUNTS(rows + 1, 0))
    while start >= 0:
        if len(content) - start >= 8 * (rows + 3):
            counts = np.frombuffer(content, "<u8", rows + 3, start).astype(np.int64)
            found = content[start + counts.nbytes :]
            if counts[-1] == counts[-2] and len(found) == counts[-1] * _ENTRY.itemsize:
                entries = np.frombuffer(found, _ENTRY)
                parts = (entries["value"], entries["column"].astype(np.int64), counts[1:-1])
                return scipy.sparse.csr_matrix(parts, (rows, columns))
        start = content.find(_COUNTS(rows + 1, 0), start + 1)
    raise ValueError("this xgboost writes a DMatrix in another form")
