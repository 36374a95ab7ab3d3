"""What oneDAL may take over: guards on model and rows, links, and the proof of equal bytes."""

from __future__ import annotations

import itertools
import json
import os
import platform
import tempfile
from typing import Any, Callable, Dict, Mapping, Set

import numpy as np
import xgboost

from ..model import booster as model_booster

IDENTITY = frozenset(
    [
        "binary:logitraw",
        "rank:map",
        "rank:ndcg",
        "rank:pairwise",
        "reg:absoluteerror",
        "reg:linear",
        "reg:pseudohubererror",
        "reg:quantileerror",
        "reg:squarederror",
        "reg:squaredlogerror",
    ]
)
KNOWN = IDENTITY | model_booster.LOGIT | model_booster.LOG | {"binary:hinge", "multi:softmax", "multi:softprob"}


class Link(object):
    """`predictions(margins, dmatrix)`: margins float32 (n,) or (n, groups), and the request's matrix of n rows."""

    def __init__(self, document: Mapping[str, Any]):
        self._objective = document["learner"]["objective"]["name"]
        simple = self._objective in IDENTITY or self._objective in ("binary:hinge", "multi:softmax")
        self._treeless: Any = None if simple else _treeless(document)

    def predictions(self, margins: np.ndarray, dmatrix: xgboost.DMatrix) -> np.ndarray:
        predictions = margins
        if self._objective == "binary:hinge":
            predictions = (margins > 0).astype(np.float32)
        elif self._objective == "multi:softmax":
            predictions = np.argmax(margins, axis=1).astype(np.float32)
        elif self._treeless is not None:
            # The request's own matrix carries the margins for a moment: making another costs more than predicting.
            dmatrix.set_base_margin(margins if model_booster.XGBOOST >= (1, 6) else margins.ravel())
            try:
                predictions = self._treeless.predict(dmatrix, validate_features=False)
            finally:
                dmatrix.set_base_margin(np.empty(0, dtype=np.float32))
        return predictions


def _treeless(document: Mapping[str, Any]) -> xgboost.Booster:
    learner = dict(document["learner"], attributes={})
    learner["gradient_booster"] = _emptied(learner["gradient_booster"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "link.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(dict(document, learner=learner), file)
        booster = xgboost.Booster()
        booster.load_model(path)
    booster.set_param({"nthread": 1})
    return booster


def _emptied(gradient_booster: Mapping[str, Any]) -> Dict[str, Any]:
    if "gbtree" in gradient_booster:
        return dict(gradient_booster, gbtree=_emptied(gradient_booster["gbtree"]), weight_drop=[])
    model = dict(gradient_booster["model"], trees=[], tree_info=[])
    model["gbtree_model_param"] = dict(model["gbtree_model_param"], num_trees="0")
    if "iteration_indptr" in model:
        model["iteration_indptr"] = [0]
    return dict(gradient_booster, model=model)


# Which models and which requests oneDAL may answer. Each guard returns the reason why not, or an empty string.


MEMORY = 256 * 1024**2  # bytes that the exponential tree layout of daal4py before 2026 may take
NODES = 5000000  # building takes about 5 us a node and 500 bytes while it lasts
DENSE = 256 * 1024**2  # bytes of a request's dense matrix
LINEAR_LAYOUT = 2026  # first year of daal4py whose trees take memory by node, not by depth


def guard_machine() -> str:
    """oneDAL is built for x86-64 only."""
    name = platform.machine()
    return "" if name in ("x86_64", "AMD64") else "oneDAL is not built for {}".format(name)


def guard_model(document: Mapping[str, Any]) -> str:
    """The document is of a kind that the builder can express."""
    learner = document["learner"]
    booster, objective = learner["gradient_booster"]["name"], learner["objective"]["name"]
    if booster not in ("gbtree", "dart"):
        return 'the booster is "{}"'.format(booster)
    if objective not in KNOWN:
        return 'the objective "{}" is not known'.format(objective)
    if int(learner["learner_model_param"].get("num_target", 1)) > 1:
        return "the model has several targets"
    trees = model_booster.model_of(document)["trees"]
    for tree in trees:
        if int(tree["tree_param"].get("size_leaf_vector", 0) or 0) > 1:
            return "the model has vector leaves"
        if any(tree.get("split_type", ())) or any(tree.get("categories_nodes", ())):
            return "the model has categorical splits"
    return "" if trees else "the model has no trees"


def guard_size(forest: model_booster.Forest, year: int) -> str:
    """The model fits in memory, under the layout of the daal4py of `year`; deeper trees than 24 crash the old one."""
    if not all(forest.groups):
        return "the model has an output without trees"
    nodes = sum(tree.size for tree in forest.trees)
    if nodes > NODES:
        return "{} nodes, the limit is {}".format(nodes, NODES)
    if year < LINEAR_LAYOUT:
        needed = sum(32 * 2 ** (tree.depth + 1) for tree in forest.trees)
        if needed > MEMORY:
            return "{} MiB for its deep trees, the limit is {}".format(needed >> 20, MEMORY >> 20)
    return ""


def guard_data(recorded: Any, features: int) -> str:
    """The request's recorded numbers can be made dense."""
    if recorded is None:
        return "the request's numbers are not known"
    if recorded.shape[0] == 0:
        return "no rows"
    if recorded.shape[1] != features:  # of narrower ones xgboost 3 sends missing cells another way, by their number
        return "{} columns, the model has {}".format(recorded.shape[1], features)
    if recorded.shape[0] * features * 4 > DENSE:
        return "the dense matrix would pass {} MiB".format(DENSE >> 20)
    return ""


def guard_margin(dmatrix: xgboost.DMatrix) -> str:
    """No base content type carries one; a script may."""
    return "a base margin" if dmatrix.get_base_margin().size else ""


def guard_rows(dense: np.ndarray) -> str:
    """xgboost treats infinities in its own way."""
    return "an infinite value" if np.isinf(dense).any() else ""


# The proof that oneDAL answers as the booster does, made at model load on rows where a wrong model shows.


FEWEST, MOST = 256, 2048
EXTREMES = (np.nan, 0.0, -0.0, 3e38, -3e38, 1e-45, -1e-45, 1.0)


def proof_rows(forest: model_booster.Forest) -> np.ndarray:
    """float32 (n, features): every cell a threshold of its feature or one float32 step beside it, some missing.

    After them rows of extremes and random rows. Deterministic. n grows with the thresholds of the busiest feature.
    """
    thresholds = _thresholds(forest)
    busiest = max((len(values) for values in thresholds.values()), default=0)
    count = int(np.clip(3 * busiest, FEWEST, MOST))
    random = np.random.RandomState(0)
    near = np.zeros((count, forest.features), dtype=np.float32)
    for feature, values in thresholds.items():
        near[:, feature] = _beside(values, count, random)
    missing = near[: count // 4].copy()
    missing[random.rand(*missing.shape) < 0.3] = np.nan
    extremes = np.repeat(np.array(EXTREMES, dtype=np.float32)[:, None], forest.features, axis=1)
    spread = random.standard_normal((64, forest.features)).astype(np.float32) * np.nanstd(near, axis=0)
    return np.ascontiguousarray(np.concatenate([near, missing, extremes, spread.astype(np.float32)]))


def prove(
    booster: xgboost.Booster,
    options: Mapping[str, Any],
    accelerated: Callable[..., Any],
    proof_rows: np.ndarray,
) -> str:
    """Why `accelerated(rows, dmatrix) -> (margins, predictions)` is not the booster, or an empty string.

    Both have to be those of `booster.predict` with the base's own options, bit for bit.
    """
    margins, predictions = accelerated(proof_rows, xgboost.DMatrix(proof_rows))
    for what, ours, output_margin in (("margins", margins, True), ("predictions", predictions, False)):
        theirs = booster.predict(xgboost.DMatrix(proof_rows), output_margin=output_margin, **options)
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return "{} are {} {}, the booster's {} {}".format(what, ours.dtype, ours.shape, theirs.dtype, theirs.shape)
        if ours.tobytes() != theirs.tobytes():
            differ = int(np.sum(ours != theirs))
            largest = float(np.nanmax(np.abs(ours.astype(float) - theirs)))
            return "{} differ in {} of {} proof values, by up to {:.3g}".format(what, differ, ours.size, largest)
    return ""


def _thresholds(forest: model_booster.Forest) -> Dict[int, np.ndarray]:
    thresholds: Dict[int, Set[np.float32]] = {}
    for tree in forest.trees:
        for node in itertools.chain.from_iterable(tree.levels()):
            if tree.left[node] != -1:
                thresholds.setdefault(tree.feature[node], set()).add(tree.condition[node])
    return {feature: np.array(sorted(values), dtype=np.float32) for feature, values in thresholds.items()}


def _beside(values: np.ndarray, count: int, random: np.random.RandomState) -> np.ndarray:
    """`count` cells that go through every value and both its neighbours before any comes again, in random order."""
    infinity = np.float32(np.inf)
    all_values = np.concatenate([values, np.nextafter(values, -infinity), np.nextafter(values, infinity)])
    finite = all_values[np.isfinite(all_values)]
    return random.permutation(np.resize(random.permutation(finite), count))
