"""The methods that compute an array of an explanation for one booster, and what each costs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Callable, List, Optional, Tuple

import numpy as np
import xgboost

from ..model import booster
from ..model.booster import PredictCall
from . import values
from .request import PROBABILITY, ShapOptions

logger = logging.getLogger(__name__)
TOLERANCE = 1e-4  # of max(1, |margin|); engines add in single precision, in other orders, or in double
ROWS, SECONDS = 8, 2.0  # of a proof


@dataclass(frozen=True)
class Method:
    """`rows(dmatrix, call)` is what `compute(rows, call)` makes the array of, or None where a request is not for it.

    `preferred` serves before others, whatever they cost.
    """

    rows: Callable[[Any, PredictCall], Any]
    compute: Callable[[Any, PredictCall], np.ndarray]
    cost: values.Cost
    preferred: bool = False


def methods(accelerator: Any, folder: Optional[str], call: PredictCall, options: ShapOptions) -> Tuple[Method, ...]:
    """Every Method that is worth its cost, the last of which takes every request.

    `accelerator` is the booster's Accelerator or None, `folder` where its model lies or None. Raises ValueError, and
    NotExplained where there is no method.
    """
    if options.space == PROBABILITY:
        from . import probability

        explain, sample = probability.verified_method(folder, call, options)
        return (Method(_matrix, lambda matrix, _: explain(matrix), values.measure(explain, sample)),)
    values.check(call)
    own = Method(_matrix, lambda matrix, call: native(matrix, call, options), native_cost(call, options))
    methods: List[Method] = []
    if accelerator is not None and not options.approximate:
        try:
            methods.append(_by_engine(accelerator, call, options, own.cost.row))
        except Exception as error:  # an engine never stands in the way of the booster
            logger.info("SHAP values stay with the booster: %s", error)
    return (*methods, own)


def native(dmatrix: Any, call: PredictCall, options: ShapOptions) -> np.ndarray:
    """xgboost's own array: interactions where `options` have them, else contributions."""
    return (values.interactions if options.interactions else values.values)(dmatrix, call, options)


def native_cost(call: PredictCall, options: ShapOptions) -> values.Cost:
    """Interactions are one run of contributions with each feature fixed to each side, so dear ones are not timed."""
    width = booster.width(call.booster)
    if options.interactions:
        bound = native_cost(call, replace(options, interactions=False)).times(2 * (width + 1))
        if bound.row > values.DEAR:
            return bound
    return values.measure(lambda matrix: native(matrix, call, options), values.zeros(width))


def _matrix(dmatrix: Any, call: PredictCall) -> Any:
    return dmatrix


# An engine's contributions, for a model whose margins were proved equal, once they are proved to be xgboost's too.


class Unproved(Exception):
    """Why an engine does not explain with a model."""


def _by_engine(accelerator: Any, call: PredictCall, options: ShapOptions, seconds: float) -> Method:
    """The engine's Method; raises Unproved. `seconds` is what the booster takes to explain a row."""
    model, interactions = accelerator.model, options.interactions
    if model.unexplained:
        raise Unproved(model.unexplained)
    count = min(ROWS, int(SECONDS / seconds))
    if not count:
        raise Unproved("a proof would take {:.1f} s a row".format(seconds))
    # the sample has rows beside thresholds, with cells missing, and spread ones, in this order
    sample = accelerator.sample[np.linspace(0, len(accelerator.sample) - 1, count).astype(int)]
    reason = check(model.explain(sample, interactions), sample, call)
    if reason:
        raise Unproved("{}'s {}".format(accelerator.name, reason))
    what = "interactions" if interactions else "values"
    logger.info("SHAP %s by %s: proved on %d rows", what, accelerator.name, len(sample))
    last = (Ellipsis, -1, -1) if interactions else (Ellipsis, -1)
    base = values.values(xgboost.DMatrix(sample[:1]), call, ShapOptions())[0, ..., -1]

    def compute(rows: np.ndarray, call: PredictCall) -> np.ndarray:
        array: np.ndarray = model.explain(rows, interactions)
        if model.wavers:
            array[last] = base  # oneDAL's differs from record to record in its last bits
        return array

    def rows(dmatrix: Any, call: PredictCall) -> Any:
        return accelerator.rows(dmatrix, call.options, narrower=True)

    cost = values.measure(lambda matrix: compute(rows(matrix, call), call), values.zeros(booster.width(call.booster)))
    return Method(rows, compute, cost, preferred=not accelerator.compares)


def check(ours: np.ndarray, rows: np.ndarray, call: PredictCall) -> str:
    """How `ours` differ from the booster's contributions, or interactions, of `rows`, or an empty string.

    They have to be the booster's, and to add up to the margin, within 1e-4 x max(1, |margin|).
    """
    margins = call.booster.predict(xgboost.DMatrix(rows), output_margin=True, **call.options)
    axes = tuple(range(margins.ndim, ours.ndim))
    explain = values.interactions if len(axes) == 2 else values.values
    theirs = explain(xgboost.DMatrix(rows), call, ShapOptions())
    if ours.shape != theirs.shape:
        return "have the shape {} instead of {}".format(ours.shape, theirs.shape)
    scale = TOLERANCE * np.maximum(1, np.abs(margins))
    differs = np.max(np.abs(ours - theirs).max(axis=axes) / scale)
    misses = np.max(np.abs(ours.sum(axis=axes) - margins) / scale)
    if differs <= 1 and misses <= 1:
        return ""
    return "differ by {:.2g}, and miss the margin by {:.2g} (x {} x max(1, |margin|))".format(
        differs, misses, TOLERANCE
    )
