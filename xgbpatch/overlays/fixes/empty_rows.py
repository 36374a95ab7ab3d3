"""empty-rows: a libsvm row without features gets an answer, in its place, as every other row does."""

from __future__ import annotations

import functools
from typing import Any

import scipy.sparse
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

LIBSVM = "text/libsvm"
LABEL = b"0"
FIRST_LINE = "0 0:0\n"  # a feature, which is 0, as script mode reads what is absent; its row is dropped again


def not_needed() -> str:
    """Whether each line has a row: labels alone, a label at the end, blank lines at both ends."""
    needed = _loses_labels() or _loses_blank_lines() or _script_mode_loses_labels()
    return "" if needed else "the base answers libsvm rows without features"


def install() -> None:
    """In place of both readers, and of what hands algorithm mode's the body; rows with features are the base's."""
    if _loses_labels():
        read_matrix = serve_utils._get_sparse_matrix_from_libsvm

        @functools.wraps(read_matrix)
        def _get_sparse_matrix_from_libsvm(payload: str) -> Any:
            rows = _count(payload)
            if ":" not in payload:
                return scipy.sparse.csr_matrix((rows, 1))
            matrix = read_matrix(payload)
            matrix.resize(rows, matrix.shape[1])
            return matrix

        serve_utils._get_sparse_matrix_from_libsvm = _get_sparse_matrix_from_libsvm
    if _loses_blank_lines():
        parse = serve_utils.parse_content_data

        @functools.wraps(parse)
        def parse_content_data(input_data: Any, input_content_type: Any) -> Any:
            if serve_utils.get_content_type(input_content_type) == serve_utils.LIBSVM:
                input_data = _labelled(input_data)
            return parse(input_data, input_content_type)

        serve_utils.parse_content_data = parse_content_data
    if _script_mode_loses_labels():
        read_dmatrix = encoder.libsvm_to_dmatrix

        @functools.wraps(read_dmatrix)
        def libsvm_to_dmatrix(string_like: Any) -> Any:
            text = string_like if isinstance(string_like, str) else string_like.decode("utf-8")
            if ":" in text:
                return read_dmatrix(string_like)
            return read_dmatrix(FIRST_LINE + text.strip()).slice(range(1, _count(text.strip()) + 1))

        encoder.libsvm_to_dmatrix = libsvm_to_dmatrix
        decoders = encoder._dmatrix_decoders_map  # bound when the base was imported
        decoders.update({kind: libsvm_to_dmatrix for kind, decoder in decoders.items() if decoder is read_dmatrix})


def _count(payload: str) -> int:
    """The number of lines; raises ValueError where one has neither features nor a label, such as a line of CSV."""
    lines = payload.split("\n")
    for number, line in enumerate(lines, 1):
        if ":" in line:
            continue
        tokens = line.partition("#")[0].split()
        try:
            (_,) = [float(token) for token in tokens] or [0.0]
        except ValueError:
            raise ValueError("record {} has neither features nor a label alone".format(number)) from None
    return len(lines)


def _labelled(payload: bytes) -> bytes:
    """`payload` with a label in the blank lines at its ends, which the base takes for white space.

    A newline ends a record, and behind the last one it may be left out.
    """
    lines = payload.split(b"\n")
    if not lines[-1].strip():
        lines.pop()
    for numbers in (range(len(lines)), range(len(lines) - 1, -1, -1)):
        for number in numbers:
            if lines[number].strip():
                break
            lines[number] = LABEL
    return b"\n".join(lines)


def _loses_labels() -> bool:
    read = serve_utils._get_sparse_matrix_from_libsvm
    try:
        return bool(read("0\n0").shape[0] != 2 or read("0 0:1\n0").shape[0] != 2)
    except ValueError:
        return True


def _loses_blank_lines() -> bool:
    return bool(serve_utils.parse_content_data(b"\n0 0:1\n\n", LIBSVM)[0].num_row() != 3)


def _script_mode_loses_labels() -> bool:
    return bool(encoder.libsvm_to_dmatrix(b"0\n0").num_row() != 2)
