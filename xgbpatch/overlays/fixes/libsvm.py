"""libsvm-skew and empty-rows: how a server reads requests of text/libsvm."""

from __future__ import annotations

import functools
from typing import Any, Callable

import scipy.sparse
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

# libsvm-skew: serving reads libsvm indices as they are written, as training does.


# Names column 0, so that nothing after it is taken to count from 1, as the 0 that script mode reads for what is absent.
# Its row is dropped again.
FIRST_LINE = "0 0:0\n"


def libsvm_skew_not_needed() -> str:
    """Whether both readers of libsvm leave a row whose smallest index is 1 as wide as it is written."""
    return "" if _algorithm_mode_shifts() or _script_mode_shifts() else "the base does not shift libsvm indices"


def install_libsvm_skew() -> None:
    """In place of both readers; a request that names column 0 is read as before."""
    if _algorithm_mode_shifts():
        read_matrix = serve_utils._get_sparse_matrix_from_libsvm

        @functools.wraps(read_matrix)
        def _get_sparse_matrix_from_libsvm(payload: str) -> Any:
            matrix = read_matrix(FIRST_LINE + payload)
            return matrix[1:] if matrix.shape[0] > 1 else read_matrix(payload)  # no feature: the base's own answer

        serve_utils._get_sparse_matrix_from_libsvm = _get_sparse_matrix_from_libsvm
    if _script_mode_shifts():

        def unshifted(read: Callable[[Any], Any], body: Any, text: str) -> Any:
            if ":" not in text:
                return read(body)
            matrix = read(FIRST_LINE + text.strip())
            return matrix.slice(range(1, matrix.num_row()))

        _wrap_script_mode(unshifted)


def _wrap_script_mode(reading: Callable[[Callable[[Any], Any], Any, str], Any]) -> None:
    """Have `reading(read, body, text of the body)` stand for the reader of script mode, which is `read`."""
    read = encoder.libsvm_to_dmatrix

    @functools.wraps(read)
    def libsvm_to_dmatrix(string_like: Any) -> Any:
        return reading(read, string_like, string_like if isinstance(string_like, str) else string_like.decode("utf-8"))

    encoder.libsvm_to_dmatrix = libsvm_to_dmatrix
    decoders = encoder._dmatrix_decoders_map  # bound when the base was imported
    decoders.update({kind: libsvm_to_dmatrix for kind, decoder in decoders.items() if decoder is read})


def _algorithm_mode_shifts() -> bool:
    return bool(serve_utils._get_sparse_matrix_from_libsvm("1:5").shape[1] == 1)


def _script_mode_shifts() -> bool:
    return bool(encoder.libsvm_to_dmatrix(b"0 1:5").num_col() == 1)


# empty-rows: a libsvm row without features gets an answer, in its place, as every other row does.


LIBSVM = "text/libsvm"
LABEL = b"0"


def empty_rows_not_needed() -> str:
    """Whether each line has a row: labels alone, a label at the end, blank lines at both ends."""
    needed = _loses_labels() or _loses_blank_lines() or _script_mode_loses_labels()
    return "" if needed else "the base answers libsvm rows without features"


def install_empty_rows() -> None:
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

        def labelled(read: Callable[[Any], Any], body: Any, text: str) -> Any:
            if ":" in text:
                return read(body)
            return read(FIRST_LINE + text.strip()).slice(range(1, _count(text.strip()) + 1))

        _wrap_script_mode(labelled)


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
