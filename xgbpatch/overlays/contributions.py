"""xgboost's own contributions, cut as the base's prediction was.

Exact tree SHAP in margin space (Lundberg et al. 2020); the last value of each vector is the base value, and a vector
adds up to the margin of its record.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np
import xgboost

from . import booster_json, request_data
from .explanation import Wish

NONSENSE = 1e-2  # of max(1, |margin|), by which a sum of single-precision values may miss
VOTES = ("multi:softmax", "binary:hinge")


class NotExplained(Exception):
    """Why a request gets no SHAP values, and the HTTP status that says so."""

    def __init__(self, status: int, reason: str):
        super(NotExplained, self).__init__(reason)
        self.status = status
        self.reason = reason


class Asked(NamedTuple):
    """A booster, and the options with which the base asked it to predict, its tree cut among them."""

    booster: xgboost.Booster
    options: Mapping[str, Any]


def values(dmatrix: xgboost.DMatrix, asked: Asked, wish: Wish) -> np.ndarray:
    """float32 (n, features + 1), or (n, classes, features + 1); raises ValueError, and xgboost's errors are such."""
    return _predict(dmatrix, asked, {"pred_contribs": True, "approx_contribs": wish.approximate})


def interactions(dmatrix: xgboost.DMatrix, asked: Asked, wish: Wish) -> np.ndarray:
    """float32 (n, [classes,] features + 1, features + 1), whose rows add up to `values`; raises as they do."""
    if booster_json.kind(asked.booster) == "gblinear":
        return _on_diagonal(values(dmatrix, asked, wish))
    return _predict(dmatrix, asked, {"pred_interactions": True, "approx_contribs": wish.approximate})


def check(asked: Asked) -> None:
    """Raise NotExplained (400) where the values do not add up to the margins of some rows, floating-point noise apart.

    xgboost 3.0 answers so for a loaded model with vector leaves: all zero, without an error.
    """
    rows = np.array([[0], [1], [np.nan]], dtype=np.float32).repeat(booster_json.width(asked.booster), axis=1)
    margins = asked.booster.predict(xgboost.DMatrix(rows), output_margin=True, **asked.options)
    found = values(xgboost.DMatrix(rows), asked, Wish()).sum(axis=-1)
    if found.shape != margins.shape or np.any(np.abs(found - margins) > NONSENSE * np.maximum(1, np.abs(margins))):
        raise NotExplained(400, "Unable to explain with this model: xgboost's contributions miss its margins")


def numbers(booster: xgboost.Booster, wish: Wish) -> int:
    """How many values the explanation of one record holds."""
    learner = booster_json.configuration(booster)["learner"]["learner_model_param"]
    outputs = max(1, int(learner["num_class"]), int(learner.get("num_target", 1)))
    vector = booster_json.width(booster) + 1
    return outputs * vector * (1 + vector if wish.interactions else 1)


def refuse_votes(boosters: Sequence[xgboost.Booster]) -> None:
    """Raise NotExplained (400) for an ensemble whose answer is a vote."""
    for booster in boosters:
        objective = booster_json.configuration(booster)["learner"]["objective"]["name"]
        if objective in VOTES:
            raise NotExplained(
                400, "Unable to explain an ensemble that votes ({}): no sum is its answer".format(objective)
            )


def mean(found: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the members' arrays, of one its own; raises NotExplained (400) where they differ in shape."""
    if len({array.shape for array in found}) > 1:
        raise NotExplained(400, "Unable to explain an ensemble of models with different features or classes")
    return found[0] if len(found) == 1 else np.mean(found, axis=0)


def _predict(dmatrix: xgboost.DMatrix, asked: Asked, how: Mapping[str, bool]) -> np.ndarray:
    wide = request_data.padded(dmatrix, booster_json.width(asked.booster))
    return asked.booster.predict(wide, **dict(asked.options, **how))


def _on_diagonal(vectors: np.ndarray) -> np.ndarray:
    """A linear model's features do not interact; xgboost itself returns zeros for it, which add up to nothing."""
    matrices = np.zeros(vectors.shape + vectors.shape[-1:], dtype=np.float32)
    places = np.arange(vectors.shape[-1])
    matrices[..., places, places] = vectors
    return matrices
