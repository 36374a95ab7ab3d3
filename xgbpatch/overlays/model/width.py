"""Rows whose cells stand by position (CSV, dense recordio) beside the width of the model that is to read them.

Such a row is misread where a cell is left out or added: nothing in it tells which one. Sparse rows name their columns.
"""

from __future__ import annotations

from typing import Any, List

import numpy as np
import scipy.sparse

from . import booster as model_booster

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

    Dense is what was made from an array where `request_data.record` stands; of another matrix nothing is known.
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
