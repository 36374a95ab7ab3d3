"""libsvm-skew: serving reads libsvm indices as they are written, as training does."""

from __future__ import annotations

import functools
from typing import Any, Callable

import xgboost
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

FIRST_LINE = "0 0:0\n"  # names column 0, so that nothing after it is taken to count from 1; its row is dropped again


def not_needed() -> str:
    """Whether both readers of libsvm leave a row whose smallest index is 1 as wide as it is written."""
    return "" if _algorithm_mode_shifts() or _script_mode_shifts() else "the base does not shift libsvm indices"


def install() -> None:
    """In place of both readers; a request that names column 0 is read as before."""
    if _algorithm_mode_shifts():
        read = serve_utils._get_sparse_matrix_from_libsvm
        serve_utils._get_sparse_matrix_from_libsvm = _unshifted_matrix(read)
    if _script_mode_shifts():
        read = encoder.libsvm_to_dmatrix
        encoder.libsvm_to_dmatrix = _unshifted_dmatrix(read)
        decoders = encoder._dmatrix_decoders_map  # bound when the base was imported
        decoders.update({kind: encoder.libsvm_to_dmatrix for kind, decoder in decoders.items() if decoder is read})


def _algorithm_mode_shifts() -> bool:
    return bool(serve_utils._get_sparse_matrix_from_libsvm("1:5").shape[1] == 1)


def _script_mode_shifts() -> bool:
    return bool(encoder.libsvm_to_dmatrix(b"0 1:5").num_col() == 1)


def _unshifted_matrix(read: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(read)
    def _get_sparse_matrix_from_libsvm(payload: str) -> Any:
        matrix = read(FIRST_LINE + payload)
        return matrix[1:] if matrix.shape[0] > 1 else read(payload)  # without any feature: the base's own answer

    return _get_sparse_matrix_from_libsvm


def _unshifted_dmatrix(read: Callable[..., xgboost.DMatrix]) -> Callable[..., xgboost.DMatrix]:
    @functools.wraps(read)
    def libsvm_to_dmatrix(string_like: Any) -> xgboost.DMatrix:
        text = string_like if isinstance(string_like, str) else string_like.decode("utf-8")
        if ":" not in text:
            return read(string_like)
        matrix: Any = read(FIRST_LINE + text.strip())
        unshifted: xgboost.DMatrix = matrix.slice(range(1, matrix.num_row()))
        return unshifted

    return libsvm_to_dmatrix
