"""libsvm-skew: serving reads libsvm indices as they are written, as training does."""

from __future__ import annotations

import functools
from typing import Any

from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

FIRST_LINE = "0 0:0\n"  # names column 0, so that nothing after it is taken to count from 1; its row is dropped again


def not_needed() -> str:
    """Whether both readers of libsvm leave a row whose smallest index is 1 as wide as it is written."""
    return "" if _algorithm_mode_shifts() or _script_mode_shifts() else "the base does not shift libsvm indices"


def install() -> None:
    """In place of both readers; a request that names column 0 is read as before."""
    if _algorithm_mode_shifts():
        read_matrix = serve_utils._get_sparse_matrix_from_libsvm

        @functools.wraps(read_matrix)
        def _get_sparse_matrix_from_libsvm(payload: str) -> Any:
            matrix = read_matrix(FIRST_LINE + payload)
            return matrix[1:] if matrix.shape[0] > 1 else read_matrix(payload)  # no feature: the base's own answer

        serve_utils._get_sparse_matrix_from_libsvm = _get_sparse_matrix_from_libsvm
    if _script_mode_shifts():
        read_dmatrix = encoder.libsvm_to_dmatrix

        @functools.wraps(read_dmatrix)
        def libsvm_to_dmatrix(string_like: Any) -> Any:
            text = string_like if isinstance(string_like, str) else string_like.decode("utf-8")
            if ":" not in text:
                return read_dmatrix(string_like)
            matrix = read_dmatrix(FIRST_LINE + text.strip())
            return matrix.slice(range(1, matrix.num_row()))

        encoder.libsvm_to_dmatrix = libsvm_to_dmatrix
        decoders = encoder._dmatrix_decoders_map  # bound when the base was imported
        decoders.update({kind: libsvm_to_dmatrix for kind, decoder in decoders.items() if decoder is read_dmatrix})


def _algorithm_mode_shifts() -> bool:
    return bool(serve_utils._get_sparse_matrix_from_libsvm("1:5").shape[1] == 1)


def _script_mode_shifts() -> bool:
    return bool(encoder.libsvm_to_dmatrix(b"0 1:5").num_col() == 1)
