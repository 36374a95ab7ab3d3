"""The ways to compute an array of an explanation for one booster, and what each costs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional, Tuple

import numpy as np

from ..model import booster
from . import values
from .request import PROBABILITY, ShapOptions
from .values import PredictCall

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Method:
    """`compute(dmatrix, asked)` returns the array, or None where the request is not for it."""

    compute: Callable[[Any, PredictCall], Optional[np.ndarray]]
    cost: values.Cost


@dataclass(frozen=True)
class _Candidates:
    """What was found out about the booster: its engine.Accelerator or None, and its model's folder or None."""

    accelerator: Any
    folder: Optional[str]


def native(dmatrix: Any, asked: PredictCall, wish: ShapOptions) -> np.ndarray:
    """xgboost's own array: interactions where `wish` has them, else contributions."""
    return (values.interactions if wish.interactions else values.values)(dmatrix, asked, wish)


def methods(found: _Candidates, asked: PredictCall, wish: ShapOptions) -> Tuple[Method, ...]:
    """Every Method that is worth its cost; raises ValueError and NotExplained where there is none."""
    if wish.space == PROBABILITY:
        from . import probability

        proved = probability.verified_method(found.folder, asked, wish)
        return (Method(proved.compute, values.measure(lambda matrix: proved.compute(matrix, asked), proved.sample)),)
    values.check(asked)
    own = Method(lambda matrix, asked: native(matrix, asked, wish), native_cost(asked, wish))
    compute = _accelerated(found.accelerator, asked, wish, own)
    if compute is None:
        return (own,)
    sample = values.zeros(booster.width(asked.booster))
    other = Method(compute, values.measure(lambda matrix: compute(matrix, asked), sample))
    return (other, own) if found.accelerator.compares else (other,)


def native_cost(asked: PredictCall, wish: ShapOptions) -> values.Cost:
    """Interactions are one run of contributions with each feature fixed to each side, so dear ones are not timed."""
    width = booster.width(asked.booster)
    if wish.interactions:
        bound = native_cost(asked, replace(wish, interactions=False)).times(2 * (width + 1))
        if bound.row > values.DEAR:
            return bound
    return values.measure(lambda matrix: native(matrix, asked, wish), values.zeros(width))


def _accelerated(
    accelerator: Any, asked: PredictCall, wish: ShapOptions, own: Method
) -> Optional[Callable[[Any, PredictCall], Optional[np.ndarray]]]:
    """oneDAL's way, where there is one and it is proved; it never stands in the way of the booster's."""
    if accelerator is None or wish.approximate:
        return None
    try:
        from ..onedal import contributions

        return contributions.proved(accelerator, asked, contributions.Question(wish, own.cost.row))
    except Exception as error:
        logger.info("SHAP values stay with the booster: %s", error)
        return None
