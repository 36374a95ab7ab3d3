"""The methods that compute an array of an explanation for one booster, and what each costs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional, Tuple

import numpy as np

from ..model import booster
from ..model.booster import PredictCall
from . import values
from .request import PROBABILITY, ShapOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """`compute(dmatrix, call)` returns the array, or None where the request is not for it."""

    compute: Callable[[Any, PredictCall], Optional[np.ndarray]]
    cost: values.Cost


def methods(accelerator: Any, folder: Optional[str], call: PredictCall, options: ShapOptions) -> Tuple[Method, ...]:
    """Every Method that is worth its cost; raises ValueError and NotExplained where there is none.

    `accelerator` is the booster's engine.Accelerator or None, `folder` where its model lies or None.
    """
    if options.space == PROBABILITY:
        from . import probability

        explain, sample = probability.verified_method(folder, call, options)
        return (Method(lambda matrix, _: explain(matrix), values.measure(explain, sample)),)
    values.check(call)
    own = Method(lambda matrix, call: native(matrix, call, options), native_cost(call, options))
    if accelerator is None or options.approximate:
        return (own,)
    try:
        from ..onedal import contributions

        compute = contributions.verified_method(accelerator, call, options.interactions, own.cost.row)
    except Exception as error:  # oneDAL never stands in the way of the booster
        logger.info("SHAP values stay with the booster: %s", error)
        return (own,)
    sample = values.zeros(booster.width(call.booster))
    other = Method(compute, values.measure(lambda matrix: compute(matrix, call), sample))
    return (other, own) if accelerator.compares else (other,)


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
