"""Request bodies to DMatrix, as script mode offers them to user code and algorithm mode uses them."""

import csv
import json
import logging
import os
import tempfile

import numpy as np
import xgboost as xgb
from sagemaker_containers import _content_types, _errors

from sagemaker_xgboost_container import _behaviour
from sagemaker_xgboost_container.constants import xgb_content_types
from sagemaker_xgboost_container.recordio_protobuf import read_recordio_protobuf

_SNIFFED_CHARACTERS = 512


def _clean_csv_string(csv_string, delimiter):
    """The cells of one row; an empty one reads as missing."""
    return [cell or "nan" for cell in csv_string.split(delimiter)]


def _delimiter(rows):
    guess = csv.Sniffer().sniff(rows[0][:_SNIFFED_CHARACTERS]).delimiter
    return "," if guess.isalnum() else guess  # a single column: the sniffer takes a digit for the delimiter


def csv_to_dmatrix(input, dtype=None):  # noqa: A002 - the parameter's name is part of the contract
    """CSV text or bytes without header, every cell a number; raises ValueError for anything else."""
    text = input.decode() if isinstance(input, bytes) else input
    rows = text.split("\n")
    delimiter = _delimiter(rows)
    logging.info("Delimiter of the CSV input: '%s'", delimiter)
    cells = np.array([_clean_csv_string(row, delimiter) for row in rows])
    return xgb.DMatrix(cells.astype(dtype))


def shifted(columns):
    """In 3.2-0 a request that never names column 0 is taken for one that counts from 1."""
    first = min(columns, default=0)
    if _behaviour.SHIFTS_LIBSVM_INDICES and first >= 1:
        return [column - 1 for column in columns]
    return columns


def libsvm_to_dmatrix(string_like):
    """LibSVM text or bytes, read by XGBoost itself; in 3.2-0 by the container, with 0 for absent features."""
    data = string_like.encode() if isinstance(string_like, str) else string_like
    return _dense_dmatrix(data) if _behaviour.FILLS_SCRIPT_LIBSVM else _dmatrix_of_file(data)


def _dense_dmatrix(data):
    lines = data.decode().strip().split("\n")
    cells = [(row, *token.split(":", 1)) for row, line in enumerate(lines) for token in line.split() if ":" in token]
    if not cells:
        return xgb.DMatrix(np.empty((0, 0)))  # labels alone: no record is left, as in the image
    columns = shifted([int(index) for _, index, _ in cells])
    matrix = np.zeros((len(lines), max(columns) + 1))
    for (row, _, value), column in zip(cells, columns):
        matrix[row, column] = float(value)
    return xgb.DMatrix(matrix)


def _dmatrix_of_file(data):
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    try:
        return xgb.DMatrix(file.name + "?format=libsvm")
    finally:
        os.remove(file.name)


def recordio_protobuf_to_dmatrix(string_like):
    """Recordio-protobuf bytes, labels where the records have them; raises ValueError for anything else."""
    features, labels = read_recordio_protobuf(string_like)
    return xgb.DMatrix(features, label=labels)


_dmatrix_decoders_map = {
    _content_types.CSV: csv_to_dmatrix,
    xgb_content_types.LIBSVM: libsvm_to_dmatrix,
    xgb_content_types.X_LIBSVM: libsvm_to_dmatrix,
    xgb_content_types.X_RECORDIO_PROTOBUF: recordio_protobuf_to_dmatrix,
}


def json_to_jsonlines(json_data):
    """The list under the only key of a JSON object, one element a line, as bytes; ValueError for several keys."""
    document = json.loads(json_data) if isinstance(json_data, (str, bytes)) else json_data
    if len(document) != 1:
        raise ValueError("JSON Lines are made from an object with one key, this one has {}.".format(len(document)))
    (elements,) = document.values()
    return "".join(json.dumps(element) + "\n" for element in elements).encode()


def decode(obj, content_type):
    """`obj` as a DMatrix by its content type, parameters ignored; raises UnsupportedFormatError for an unknown one."""
    media_type = content_type.partition(";")[0].strip()
    decoder = _dmatrix_decoders_map.get(media_type)
    if decoder is None:
        raise _errors.UnsupportedFormatError(media_type)
    return decoder(obj)
