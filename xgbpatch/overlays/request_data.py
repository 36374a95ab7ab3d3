"""The numbers of a request, kept beside the DMatrix that the base's parser makes of them.

A DMatrix cannot give its data back before xgboost 1.7, and the base's parsers return nothing else.
"""

from __future__ import annotations

from typing import Any, List

import numpy as np
import scipy.sparse
import xgboost

from .model import booster as model_booster


class RecordedDMatrix(xgboost.DMatrix):
    """A DMatrix that remembers the array (n, f) or CSR matrix (n, f) that it was made from.

    `carries_margin`: it may; asking xgboost takes as long as explaining a row.
    """

    carries_margin = False

    def __init__(self, data: Any, *arguments: Any, **named: Any) -> None:
        super(RecordedDMatrix, self).__init__(data, *arguments, **named)
        if isinstance(data, np.ndarray):
            understood = data.ndim == 2 and data.dtype.kind in "fiub"
        else:
            understood = bool(scipy.sparse.isspmatrix_csr(data) and data.has_canonical_format)
        missing = arguments[3] if len(arguments) > 3 else named.get("missing")
        if missing is not None and not np.isnan(missing):  # a number stands for missing, which the array does not tell
            understood = False
        self.recorded: Any = data if understood else None

    def set_base_margin(self, margin: Any) -> None:
        self.carries_margin = True
        super(RecordedDMatrix, self).set_base_margin(margin)

    def set_float_info(self, field: str, data: Any) -> None:
        self.carries_margin = self.carries_margin or field == "base_margin"
        super(RecordedDMatrix, self).set_float_info(field, data)

    def set_float_info_npy2d(self, field: str, data: Any) -> None:
        self.carries_margin = self.carries_margin or field == "base_margin"
        super(RecordedDMatrix, self).set_float_info_npy2d(field, data)


class PlainDMatrix(RecordedDMatrix):
    """A RecordedDMatrix whose class, once it is made, is xgboost.DMatrix: who asks for it gets the base's answer."""

    def __init__(self, data: Any, *arguments: Any, **named: Any) -> None:
        super(PlainDMatrix, self).__init__(data, *arguments, **named)
        self.__class__ = xgboost.DMatrix  # type: ignore[assignment]


class LateDMatrix(RecordedDMatrix):
    """A RecordedDMatrix that xgboost makes when something asks for more than its shape: an engine may never do so.

    What xgboost might refuse, or take otherwise than as numbers, is made at once: its errors come where they came.
    """

    def __init__(self, data: Any, *arguments: Any, **named: Any) -> None:
        if arguments or named or not _certain(data):
            super(LateDMatrix, self).__init__(data, *arguments, **named)
        else:
            self.recorded: Any = data

    @property
    def handle(self) -> Any:
        """xgboost's own, which all of its methods ask for."""
        if "_handle" not in self.__dict__:
            self._make()
        return self._handle

    @handle.setter
    def handle(self, handle: Any) -> None:
        self._handle = handle

    @handle.deleter
    def handle(self) -> None:
        """As xgboost's `__del__` does from 3.2 on; without the handle, it would be made once more."""
        self._handle = None

    def __getattr__(self, name: str) -> Any:
        """What the constructor would have set."""
        if "_handle" in self.__dict__ or name.startswith("__"):
            raise AttributeError(name)
        self._make()
        return getattr(self, name)

    def __del__(self) -> None:
        if self.__dict__.get("_handle") is not None:
            super(LateDMatrix, self).__del__()

    def num_row(self) -> int:
        return int(self.recorded.shape[0]) if unmade(self) else int(super(LateDMatrix, self).num_row())

    def num_col(self) -> int:
        return int(self.recorded.shape[1]) if unmade(self) else int(super(LateDMatrix, self).num_col())

    def _make(self) -> None:
        self._handle = None  # from here on, an attribute that is not there is none
        try:
            super(LateDMatrix, self).__init__(self.recorded)
        except BaseException:
            del self._handle
            raise


def unmade(dmatrix: Any) -> bool:
    """Whether `dmatrix` is nothing but its recorded numbers yet: it carries no margin, label or name."""
    return isinstance(dmatrix, LateDMatrix) and "_handle" not in dmatrix.__dict__


def _certain(data: Any) -> bool:
    """Whether every xgboost takes `data` for the numbers it holds."""
    if type(data) is not np.ndarray or data.ndim != 2 or not data.size or data.dtype not in (np.float32, np.float64):
        return False
    with np.errstate(over="ignore"):
        return not np.isinf(data.astype(np.float32, copy=False)).any()


class RecordingXgboost(object):
    """Stands for the module `xgboost` in a parser's namespace: everything is xgboost's, but DMatrix records."""

    def __init__(self, kind: Any = RecordedDMatrix):
        self.DMatrix = kind

    def __getattr__(self, name: str) -> Any:
        return getattr(xgboost, name)


def record(*parsers: Any, late: bool = False, plain: bool = False) -> None:
    """Let the modules `parsers` build recorded matrices, late or plain ones, and plain ones give way to the others.

    A module without the name `xgb` is left as it is.
    """
    kind = LateDMatrix if late else PlainDMatrix if plain else RecordedDMatrix
    for parser in parsers:
        module = getattr(parser, "xgb", None)
        if module is xgboost or (isinstance(module, RecordingXgboost) and module.DMatrix is PlainDMatrix):
            parser.xgb = RecordingXgboost(kind)


def recorded(dmatrix: xgboost.DMatrix) -> Any:
    """The array or CSR matrix behind `dmatrix`, or None where it is not known or does not describe it."""
    data = getattr(dmatrix, "recorded", None)
    return data if data is not None and data.shape[0] == dmatrix.num_row() else None


def part(rows: Any, start: int, stop: int) -> Any:
    """Those from `start` to before `stop` of an array, or of a matrix with what it carries; all of them as they are."""
    if isinstance(rows, np.ndarray):
        return rows[start:stop]
    if start == 0 and stop == rows.num_row():
        return rows
    few, data = rows.slice(np.arange(start, stop, dtype=np.int32)), recorded(rows)
    few.recorded = None if data is None else data[start:stop]
    return few


def dense(data: Any, width: int) -> np.ndarray:
    """`data` as float32 (n, width) in C order, absent cells NaN; raises ValueError where it is wider."""
    if data.shape[1] > width:
        raise ValueError("{} columns, the model has {}".format(data.shape[1], width))
    if data.shape[1] == width and not scipy.sparse.issparse(data):
        return np.ascontiguousarray(data, dtype=np.float32)
    rows = np.full((data.shape[0], width), np.nan, dtype=np.float32)
    if scipy.sparse.issparse(data):
        rows[np.repeat(np.arange(data.shape[0]), np.diff(data.indptr)), data.indices] = data.data
    else:
        rows[:, : data.shape[1]] = data
    return rows


def padded(dmatrix: xgboost.DMatrix, width: int) -> xgboost.DMatrix:
    """`dmatrix` widened to `width` columns, the new ones missing; itself where it is wide enough.

    Contributions refuse a narrower matrix in every xgboost, prediction accepts it. Of what a DMatrix carries, the base
    margin is a part of the prediction and is kept; labels, weights, names and types are none.
    """
    if dmatrix.num_col() >= width:
        return dmatrix
    data = recorded(dmatrix)
    if data is None:
        raise ValueError("{} columns, the model has {}".format(dmatrix.num_col(), width))
    if not scipy.sparse.issparse(data):
        wide = xgboost.DMatrix(dense(data, width))
    else:
        shape = (data.shape[0], width)
        wide = xgboost.DMatrix(scipy.sparse.csr_matrix((data.data, data.indices, data.indptr), shape))
    margin = dmatrix.get_base_margin()
    if margin.size:
        wide.set_base_margin(margin)
    return wide


# Rows whose cells stand by position (CSV, dense recordio) beside the width of the model that is to read them. Such a
# row is misread where a cell is left out or added: nothing in it tells which one. Sparse rows name their columns.


ADVICE = "send one cell a column, an empty one where a value is missing"


class WrongWidth(ValueError):
    """Rows of another width than the model's; the message names both."""


def check(model: Any, dmatrix: Any) -> None:
    """Raise WrongWidth where `complaint` has something to say."""
    text = complaint(model, dmatrix)
    if text:
        raise WrongWidth(text)


def complaint(model: Any, dmatrix: Any) -> str:
    """What is wrong with the width of a dense `dmatrix` for `model`, a booster or a list of them; else nothing.

    Dense is what was made from an array where `record` stands; of another matrix nothing is known.
    """
    if not isinstance(getattr(dmatrix, "recorded", None), np.ndarray):
        return ""
    columns = dmatrix.num_col()
    if not columns:  # sparse recordio records without a feature, which 3.2-0 makes an array of; all is missing
        return ""
    widths = (features for features in widths_of(model) if features != columns)
    return next((compared("the records have", columns, features) for features in widths), "")


def gapless(model: Any, dmatrix: Any) -> str:
    """What is wrong with a sparse `dmatrix` that is narrower than `model` and that xgboost takes for a dense one.

    Version 3.2 does so with two records and more without a gap, and then the absent columns are not missing to it.
    """
    data: Any = getattr(dmatrix, "recorded", None)
    if model_booster.XGBOOST < (3, 1) or not scipy.sparse.issparse(data) or data.shape[0] < 2:
        return ""
    (rows, columns), widest = data.shape, max(widths_of(model))
    if columns >= widest or data.nnz < rows * columns:
        return ""
    return (
        "the records have {} columns without a gap, the model has {}, and xgboost does not take the others for "
        'missing: name them all (libsvm: end a record with "{}:nan"), or build the image with the fix row-width'
    ).format(columns, widest, widest - 1)


def widths_of(model: Any) -> List[int]:
    """The number of columns of each booster."""
    return [model_booster.width(booster) for booster in (model if isinstance(model, list) else [model])]


def compared(who: str, columns: int, features: int, advice: str = ADVICE) -> str:
    """`who` ("record 2 has") with its columns, those of the model, and what to do."""
    plural = "" if columns == 1 else "s"
    return "{} {} column{}, the model has {}: {}".format(who, columns, plural, features, advice)
