"""Reads recordio-protobuf: framed `Record` messages, features under the key "values"."""

import struct

import numpy as np
from sagemaker_containers.record_pb2 import Record
from scipy.sparse import csr_matrix

from sagemaker_xgboost_container import _behaviour

_MAGIC = 0xCED7230A  # in front of every record, little endian, followed by its length; padded to four bytes
_TENSORS = {"float32_tensor": np.float32, "float64_tensor": np.float64, "int32_tensor": np.int32}


def read_recordio_protobuf(buf):
    """Features and labels of the records in the bytes `buf`.

    Features are a dense array or, when the first record is sparse, a csr_matrix, of shape (records, features); labels
    an array of length records, or None when the first record has none. Raises ValueError on anything else.
    """
    records = [Record.FromString(body) for body in _bodies(buf)]
    if not records:
        raise ValueError("the data holds no record")
    return _features([_tensor(record.features["values"]) for record in records]), _labels(records)


def _bodies(buf):
    at = 0
    while at + 8 <= len(buf):
        magic, length = struct.unpack_from("<II", buf, at)
        if magic != _MAGIC:
            raise ValueError("no record begins at byte {}".format(at))
        if at + 8 + length > len(buf):
            raise ValueError("the data ends within the record at byte {}".format(at))
        yield bytes(buf[at + 8 : at + 8 + length])
        at += 8 + -(-length // 4) * 4


def _tensor(value):
    name = value.WhichOneof("value")
    if name not in _TENSORS:
        raise ValueError("a tensor of type {} is not read".format(name))
    tensor = getattr(value, name)
    shape = tensor.shape[0] if tensor.shape else None
    return np.array(tensor.values, dtype=_TENSORS[name]), np.array(tensor.keys, dtype=np.int64), shape


def _features(tensors):
    _, keys, shape = tensors[0]
    return _sparse(tensors) if len(keys) or shape is not None else _dense(tensors)


def _dense(tensors):
    return np.vstack([values for values, _, _ in tensors])


def _sparse(tensors):
    if _behaviour.REFUSES_EMPTY_SPARSE_RECORDS and not all(len(keys) for _, keys, _ in tensors):
        raise ValueError("incompatible column dimensions: a sparse record holds no value")
    widths = [shape if shape is not None else keys.max(initial=-1) + 1 for _, keys, shape in tensors]
    starts = np.cumsum([0] + [len(keys) for _, keys, _ in tensors])
    values, keys = (np.concatenate([tensor[i] for tensor in tensors]) for i in (0, 1))
    return csr_matrix((values, keys, starts), shape=(len(tensors), max(widths)))


def _labels(records):
    if "values" not in records[0].label:
        return None
    return np.concatenate([_tensor(record.label["values"])[0] for record in records])
