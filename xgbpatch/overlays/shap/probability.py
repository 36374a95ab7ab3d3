"""SHAP values in probability space: interventional, against a background of rows."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import os
from typing import Any, Callable, List, Optional, Tuple

import numpy as np
import xgboost

from .. import request_data
from ..model import accelerator, booster
from ..model import folder as model_folder
from ..model.booster import PredictCall
from ..settings import ShapOptions
from . import values
from .values import NotExplained

logger = logging.getLogger(__name__)
INTERVENTIONAL, LOGISTIC = 0, 1  # the codes of shap's compiled part
DEEPEST = 30  # its binomial coefficients overflow beyond
CHUNK = 8  # rows a call: it holds the interpreter meanwhile, and draws a progress bar after ten seconds
TOLERANCE = 1e-4


class Unavailable(Exception):
    """Why a model has no values in probability space; the message ends in the next step."""


class ProbabilityExplainer(object):
    """`values(rows)`: float32 (n, features) to float32 (n, features + 1), base value last, adding up to probabilities.

    Raises Unavailable for trees that the compiled part cannot walk.
    """

    def __init__(self, compiled: Any, forest: booster.Forest, background: np.ndarray):
        deepest = max(tree.depth for tree in forest.trees)
        if deepest > DEEPEST:
            raise Unavailable("trees of depth {} are too deep for it (at most {})".format(deepest, DEEPEST))
        self._compiled = compiled
        self._forest = _arrays(forest, typed=_takes_types(compiled))
        self._depth = max(1, deepest)
        self._count = len(forest.trees)
        self._base = np.array(forest.base, dtype=np.float64)
        self._background = _cells(background)

    def values(self, rows: np.ndarray) -> np.ndarray:
        values = np.zeros((rows.shape[0], rows.shape[1] + 1, 1))
        for start in range(0, len(rows), CHUNK):
            self._compiled.dense_tree_shap(
                *self._forest,
                self._depth,
                *_cells(rows[start : start + CHUNK]),
                None,
                *self._background,
                self._count,
                self._base,
                values[start : start + CHUNK],
                INTERVENTIONAL,
                LOGISTIC,
                False,
            )
        return values[:, :, 0].astype(np.float32)


def compiled() -> Any:
    """shap's compiled part; raises Unavailable where the image does not carry it."""
    package = importlib.util.find_spec("shap")
    places = list(package.submodule_search_locations or ()) if package else []
    spec = importlib.machinery.PathFinder.find_spec("_cext", places) if places else None
    if spec is None or spec.loader is None:
        raise Unavailable("the image does not carry the package shap: build it with --feature shap-probability")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(
    explainer: ProbabilityExplainer, probabilities: Callable[[np.ndarray], np.ndarray], background: np.ndarray
) -> str:
    """Why the values do not add up to `probabilities(rows)`, or an empty string; held to 1e-4 on background rows."""
    rows = background[:64]
    contributions, expected = explainer.values(rows).astype(float), probabilities(rows)
    worst = np.max(np.abs(contributions.sum(axis=1) - expected))
    if not worst <= TOLERANCE:
        return "its values miss the probability of a background row by {:.2g}".format(worst)
    worst = np.max(np.abs(contributions[:, -1] - np.mean(probabilities(background), dtype=float)))
    return "" if worst <= TOLERANCE else "its base value misses the background's mean by {:.2g}".format(worst)


def _cells(rows: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The compiled part's two arrays of rows: float64 numbers, and where they are missing."""
    return np.ascontiguousarray(rows, dtype=np.float64), np.isnan(rows)


def _takes_types(compiled_part: Any) -> bool:
    """Newer releases take an array of threshold types, for categories, after the thresholds."""
    nothing, integers, cells = np.zeros((0, 1)), np.zeros((0, 1), dtype=np.int32), np.zeros((0, 1))
    node = [integers] * 4 + [nothing]
    rest = [np.zeros((0, 1, 1)), nothing, 1, cells, cells == 1, None, cells, cells == 1, 0, np.zeros(1)]
    last = [np.zeros((0, 2, 1)), INTERVENTIONAL, LOGISTIC, False]
    try:
        compiled_part.dense_tree_shap(*node, *rest, *last)
    except TypeError:
        return True
    return False


def _arrays(forest: booster.Forest, typed: bool) -> List[np.ndarray]:
    """(trees, nodes) arrays of children, features, thresholds and values; nodes that no row reaches hold -1."""
    shape = (len(forest.trees), max(len(tree.left) for tree in forest.trees))
    children = [np.full(shape, -1, dtype=np.int32) for _ in range(4)]  # left, right, default, and the feature
    thresholds, leaves = np.zeros(shape), np.zeros(shape)
    for number, tree in enumerate(forest.trees):
        nodes = np.array([node for level in tree.levels() for node in level])
        left, right = np.asarray(tree.left)[nodes], np.asarray(tree.right)[nodes]
        splits = left != -1
        inner, outer = nodes[splits], nodes[~splits]
        default = np.where(np.asarray(tree.default_left, dtype=bool)[inner], left[splits], right[splits])
        for array, column in zip(children, (left[splits], right[splits], default, np.asarray(tree.feature)[inner])):
            array[number, inner] = column
        thresholds[number, inner] = np.nextafter(tree.condition[inner], np.float32(-np.inf))
        leaves[number, outer] = tree.condition[outer] * tree.weight
    types = [np.zeros(shape, dtype=np.int32)] if typed else []
    return [*children, thresholds, *types, leaves[:, :, None], np.ones(shape)]


def verified_method(
    folder: Optional[str], call: PredictCall, options: ShapOptions
) -> Tuple[Callable[[Any], np.ndarray], np.ndarray]:
    """(explain, sample) of a model with background rows in `folder`, once it is proved against them.

    `explain(dmatrix)` gives float32 (n, features + 1) that add up to the probabilities; `sample` are some of the rows.
    Raises NotExplained (400) with the reason where there are no such values; model_folder.ModelFolderError.
    """
    try:
        _hold("approximate values exist in margin space only" if options.approximate else "")
        _hold("interactions exist in margin space only" if options.interactions else "")
        objective = booster.configuration(call.booster)["learner"]["objective"]["name"]
        if objective not in booster.LOGIT:
            exact = " and ".join(sorted(booster.LOGIT))
            raise Unavailable('the objective is "{}", it is exact for {} only'.format(objective, exact))
        document = booster.document(call.booster)
        _hold(accelerator.guard_model(document))
        forest, width = booster.forest(document, call.options), booster.width(call.booster)
        background = _background(folder, width)
        explainer = ProbabilityExplainer(compiled(), forest, background)
        _hold(check(explainer, lambda rows: call.booster.predict(xgboost.DMatrix(rows), **call.options), background))
    except Unavailable as reason:
        raise NotExplained(
            400, "Unable to explain in probability space: {}. Ask with space=margin.".format(reason)
        ) from reason
    logger.info("SHAP values in probability space: proved against %d background rows", len(background))

    def explain(dmatrix: xgboost.DMatrix) -> np.ndarray:
        if dmatrix.get_base_margin().size:
            raise NotExplained(
                400,
                "Unable to explain in probability space: the rows carry a base margin, and the background rows have "
                "none. Ask with space=margin.",
            )
        data = request_data.recorded(dmatrix)
        if data is None:
            raise ValueError("the request's numbers are not known")
        return explainer.values(request_data.dense(data, width))

    return explain, background[np.arange(values.ROWS) % len(background)]


def _hold(reason: str) -> None:
    if reason:
        raise Unavailable(reason)


def _background(folder: Optional[str], width: int) -> np.ndarray:
    rows = model_folder.background(folder) if folder else None
    if not folder or rows is None:
        raise Unavailable(
            'there are no background rows: train with the feature training, or put float32 rows (n, features) as "{}" '
            "beside the model".format(os.path.join(model_folder.FOLDER, model_folder.BACKGROUND))
        )
    if rows.shape[1] != width:
        path = model_folder.path(folder, model_folder.BACKGROUND)
        raise model_folder.ModelFolderError('"{}" has {} features, the model has {}'.format(path, rows.shape[1], width))
    return rows
