"""Values in probability space for a model with background rows beside it: when there are such, and proved."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Callable, Optional

import numpy as np
import xgboost

from . import booster_json, cost, guards, interventional, model_folder, request_data, trees
from .contributions import Asked, NotExplained
from .explanation import Wish

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proved:
    """`compute(dmatrix, asked)` of a Way: float32 (n, features + 1) that add up to the probabilities; and some rows."""

    compute: Callable[[Any, Asked], np.ndarray]
    sample: np.ndarray


def proved(folder: Optional[str], asked: Asked, wish: Wish) -> Proved:
    """The way of a model in `folder`.

    Raises NotExplained (400) with the reason where there are no such values; model_folder.ModelFolderError.
    """
    try:
        return _proved(folder, asked, wish)
    except interventional.Unavailable as reason:
        raise NotExplained(
            400, "Unable to explain in probability space: {}. Ask with space=margin.".format(reason)
        ) from reason


def _proved(folder: Optional[str], asked: Asked, wish: Wish) -> Proved:
    _hold("approximate values exist in margin space only" if wish.approximate else "")
    _hold("interactions exist in margin space only" if wish.interactions else "")
    _hold(_objective(booster_json.configuration(asked.booster)))
    document = booster_json.document(asked.booster)
    _hold(guards.model(document))
    forest, width = trees.forest(document, asked.options), booster_json.width(asked.booster)
    rows = _background(folder, width)
    explainer = interventional.Explainer(interventional.compiled(), forest, rows)
    _hold(interventional.check(explainer, lambda some: _probabilities(some, asked), rows))
    logger.info("SHAP values in probability space: proved against %d background rows", len(rows))
    sample = rows[np.arange(cost.ROWS) % len(rows)]
    return Proved(lambda dmatrix, _: explainer.values(_dense(dmatrix, width)), sample)


def _objective(configuration: Any) -> str:
    objective = configuration["learner"]["objective"]["name"]
    if objective in trees.LOGIT:
        return ""
    return 'the objective is "{}", it is exact for {} only'.format(objective, " and ".join(sorted(trees.LOGIT)))


def _background(folder: Optional[str], width: int) -> np.ndarray:
    rows = model_folder.background(folder) if folder else None
    if not folder or rows is None:
        raise interventional.Unavailable(
            'there are no background rows: train with the feature training, or put float32 rows (n, features) as "{}" '
            "beside the model".format(model_folder.path("", model_folder.BACKGROUND))
        )
    if rows.shape[1] != width:
        raise model_folder.ModelFolderError(
            '"{}" has {} features, the model has {}'.format(
                model_folder.path(folder, model_folder.BACKGROUND), rows.shape[1], width
            )
        )
    return rows


def _probabilities(rows: np.ndarray, asked: Asked) -> np.ndarray:
    return asked.booster.predict(xgboost.DMatrix(rows), **asked.options)


def _dense(dmatrix: xgboost.DMatrix, width: int) -> np.ndarray:
    data = request_data.recorded(dmatrix)
    if data is None:
        raise ValueError("the request's numbers are not known")
    return request_data.dense(data, width)


def _hold(reason: str) -> None:
    if reason:
        raise interventional.Unavailable(reason)
