"""Contributions by oneDAL, for a model whose margins were proved equal, once they are proved to be xgboost's too."""

from __future__ import annotations

import logging
from typing import Any, Callable, Optional

import numpy as np
import xgboost

from ..model.booster import PredictCall
from ..shap import values
from ..shap.request import ShapOptions

logger = logging.getLogger(__name__)
TOLERANCE = 1e-4  # of max(1, |margin|); both engines add in single precision, in other orders
ROWS, SECONDS = 8, 2.0  # of a proof


class Unproved(Exception):
    """Why oneDAL does not explain with a model."""


def verified_method(
    accelerator: Any, call: PredictCall, interactions: bool, seconds: float
) -> Callable[[Any, PredictCall], Optional[np.ndarray]]:
    """oneDAL's `compute` of a Method; raises Unproved. `seconds` is what the booster takes to explain a row."""
    model = accelerator.model
    if not model.explains:
        raise Unproved("this daal4py has no contributions")
    count = min(ROWS, int(SECONDS / seconds))
    if not count:
        raise Unproved("a proof would take {:.1f} s a row".format(seconds))
    # the sample has rows beside thresholds, with cells missing, and spread ones, in this order
    sample = accelerator.sample[np.linspace(0, len(accelerator.sample) - 1, count).astype(int)]
    reason = check(model.explain(sample, interactions), sample, call)
    if reason:
        raise Unproved(reason)
    logger.info("SHAP %s by oneDAL: proved on %d rows", "interactions" if interactions else "values", len(sample))

    last = (Ellipsis, -1, -1) if interactions else (Ellipsis, -1)
    base = values.values(xgboost.DMatrix(sample[:1]), call, ShapOptions())[0, ..., -1]

    def compute(dmatrix: Any, call: PredictCall) -> Optional[np.ndarray]:
        rows = accelerator.rows(dmatrix, call.options)
        if rows is None:
            return None
        array: np.ndarray = model.explain(rows, interactions)
        array[last] = base  # oneDAL's differs from record to record in its last bits
        return array

    return compute


def check(ours: np.ndarray, rows: np.ndarray, call: PredictCall) -> str:
    """Why `ours` are not the booster's contributions, or interactions, of `rows`; an empty string where they are.

    They have to be the booster's, and to add up to the margin, within 1e-4 x max(1, |margin|).
    """
    margins = call.booster.predict(xgboost.DMatrix(rows), output_margin=True, **call.options)
    axes = tuple(range(margins.ndim, ours.ndim))
    explain = values.interactions if len(axes) == 2 else values.values
    theirs = explain(xgboost.DMatrix(rows), call, ShapOptions())
    if ours.shape != theirs.shape:
        return "shape {} instead of {}".format(ours.shape, theirs.shape)
    scale = TOLERANCE * np.maximum(1, np.abs(margins))
    differs = np.max(np.abs(ours - theirs).max(axis=axes) / scale)
    misses = np.max(np.abs(ours.sum(axis=axes) - margins) / scale)
    if differs <= 1 and misses <= 1:
        return ""
    return "oneDAL's differ by {:.2g}, and miss the margin by {:.2g} (x {} x max(1, |margin|))".format(
        differs, misses, TOLERANCE
    )
