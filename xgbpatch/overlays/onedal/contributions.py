"""Contributions by oneDAL, for a model whose margins were proved equal, once they are proved to be xgboost's too."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Callable, Optional

import numpy as np
import xgboost

from ..shap import values
from ..shap.request import ShapOptions
from ..shap.values import PredictCall

logger = logging.getLogger(__name__)
TOLERANCE = 1e-4  # of max(1, |margin|); both engines add in single precision, in other orders
ROWS, SECONDS = 8, 2.0  # of a proof


@dataclass(frozen=True)
class Question:
    """Which array is to be proved, and how many seconds the booster takes for a row of it."""

    wish: ShapOptions
    seconds: float


class Unproved(Exception):
    """Why oneDAL does not explain with a model."""


def proved(
    accelerator: Any, asked: PredictCall, question: Question
) -> Callable[[Any, PredictCall], Optional[np.ndarray]]:
    """oneDAL's `compute` of a Way; raises Unproved."""
    model, interactions = accelerator.model, question.wish.interactions
    if not model.explains:
        raise Unproved("this daal4py has no contributions")
    rows = _rows(accelerator.sample, question.seconds)
    reason = check(model.explain(rows, interactions), rows, asked)
    if reason:
        raise Unproved(reason)
    logger.info("SHAP %s by oneDAL: proved on %d rows", "interactions" if interactions else "values", len(rows))

    last = (Ellipsis, -1, -1) if interactions else (Ellipsis, -1)
    base = values.values(xgboost.DMatrix(rows[:1]), asked, ShapOptions())[0, ..., -1]

    def compute(dmatrix: Any, asked: PredictCall) -> Optional[np.ndarray]:
        found = accelerator.rows(dmatrix, asked.options)
        if found is None:
            return None
        values: np.ndarray = model.explain(found, interactions)
        values[last] = base  # oneDAL's differs from record to record in its last bits
        return values

    return compute


def check(ours: np.ndarray, rows: np.ndarray, asked: PredictCall) -> str:
    """Why `ours` are not the booster's contributions, or interactions, of `rows`; an empty string where they are.

    Held to the booster's, and to adding up to the margin, within 1e-4 x max(1, |margin|).
    """
    margins = asked.booster.predict(xgboost.DMatrix(rows), output_margin=True, **asked.options)
    axes = tuple(range(margins.ndim, ours.ndim))
    explain = values.interactions if len(axes) == 2 else values.values
    theirs = explain(xgboost.DMatrix(rows), asked, ShapOptions())
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


def _rows(sample: np.ndarray, seconds: float) -> np.ndarray:
    """Beside thresholds, with cells missing, and spread; as many as the booster explains in SECONDS."""
    count = min(ROWS, int(SECONDS / seconds))
    if not count:
        raise Unproved("a proof would take {:.1f} s a row".format(seconds))
    chosen: np.ndarray = sample[np.linspace(0, len(sample) - 1, count).astype(int)]
    return chosen
