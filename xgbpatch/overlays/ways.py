"""The ways to compute an array of an explanation for one booster, and what each costs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional, Tuple

import numpy as np

from . import background, booster_json, contributions, cost, onedal_contributions
from .contributions import Asked
from .explanation import PROBABILITY, Wish

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    """`compute(dmatrix, asked)` returns the array, or None where the request is not for it."""

    compute: Callable[[Any, Asked], Optional[np.ndarray]]
    cost: cost.Cost


@dataclass(frozen=True)
class Found:
    """What was found out about the booster: its engine.Accelerator or None, and its model's folder or None."""

    accelerator: Any
    folder: Optional[str]


def native(dmatrix: Any, asked: Asked, wish: Wish) -> np.ndarray:
    """xgboost's own array: interactions where `wish` has them, else contributions."""
    return (contributions.interactions if wish.interactions else contributions.values)(dmatrix, asked, wish)


def ways(found: Found, asked: Asked, wish: Wish) -> Tuple[Way, ...]:
    """Every Way that is worth its cost; raises ValueError and NotExplained where there is none."""
    if wish.space == PROBABILITY:
        proved = background.proved(found.folder, asked, wish)
        return (Way(proved.compute, cost.measure(lambda matrix: proved.compute(matrix, asked), proved.sample)),)
    contributions.check(asked)
    own = Way(lambda matrix, asked: native(matrix, asked, wish), native_cost(asked, wish))
    compute = _accelerated(found.accelerator, asked, wish, own)
    if compute is None:
        return (own,)
    sample = cost.zeros(booster_json.width(asked.booster))
    other = Way(compute, cost.measure(lambda matrix: compute(matrix, asked), sample))
    return (other, own) if found.accelerator.compares else (other,)


def native_cost(asked: Asked, wish: Wish) -> cost.Cost:
    """Interactions are one run of contributions with each feature fixed to each side, so dear ones are not timed."""
    width = booster_json.width(asked.booster)
    if wish.interactions:
        bound = native_cost(asked, replace(wish, interactions=False)).times(2 * (width + 1))
        if bound.row > cost.DEAR:
            return bound
    return cost.measure(lambda matrix: native(matrix, asked, wish), cost.zeros(width))


def _accelerated(
    accelerator: Any, asked: Asked, wish: Wish, own: Way
) -> Optional[Callable[[Any, Asked], Optional[np.ndarray]]]:
    """oneDAL's way, where there is one and it is proved; it never stands in the way of the booster's."""
    if accelerator is None or wish.approximate:
        return None
    try:
        return onedal_contributions.proved(accelerator, asked, onedal_contributions.Question(wish, own.cost.row))
    except Exception as error:
        logger.info("SHAP values stay with the booster: %s", error)
        return None
