"""From margins to what `Booster.predict` returns, bit for bit.

Exponentials differ in their last bit between numpy and the C library, so every objective that needs one is transformed
by xgboost itself: by the same model without its trees, which adds nothing to a base margin.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Dict, Mapping

import numpy as np
import xgboost

from . import booster_json, trees

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
KNOWN = IDENTITY | trees.LOGIT | trees.LOG | {"binary:hinge", "multi:softmax", "multi:softprob"}


class Link(object):
    """`predictions(margins, dmatrix)`: margins float32 (n,) or (n, groups), and the request's matrix of n rows."""

    def __init__(self, document: Mapping[str, Any]):
        self._objective = document["learner"]["objective"]["name"]
        self._xgboost: Any = None if self._simple else _treeless(document)

    @property
    def _simple(self) -> bool:
        return self._objective in IDENTITY or self._objective in ("binary:hinge", "multi:softmax")

    def predictions(self, margins: np.ndarray, dmatrix: xgboost.DMatrix) -> np.ndarray:
        if self._objective in IDENTITY:
            return margins
        if self._objective == "binary:hinge":
            return (margins > 0).astype(np.float32)
        if self._objective == "multi:softmax":
            labels: np.ndarray = np.argmax(margins, axis=1).astype(np.float32)
            return labels
        return self._transformed(margins, dmatrix)

    def _transformed(self, margins: np.ndarray, dmatrix: xgboost.DMatrix) -> np.ndarray:
        """The request's own matrix carries the margins for a moment: making another costs more than predicting."""
        dmatrix.set_base_margin(margins if trees.XGBOOST >= (1, 6) else margins.ravel())
        try:
            found: np.ndarray = self._xgboost.predict(dmatrix, validate_features=False)
            return found
        finally:
            dmatrix.set_base_margin(np.empty(0, dtype=np.float32))


def _treeless(document: Mapping[str, Any]) -> xgboost.Booster:
    learner = dict(document["learner"], attributes={})
    learner["gradient_booster"] = _emptied(learner["gradient_booster"])
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "link.json")
        booster_json.write(dict(document, learner=learner), path)
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
