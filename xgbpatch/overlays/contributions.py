"""SHAP values of a request: xgboost's own contributions, cut and combined as the base's prediction was.

Exact tree SHAP in margin space (Lundberg et al. 2020); the last value of each vector is the base value, and a vector
adds up to the margin of its record.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np
import xgboost

from . import booster_json, request_data

VOTES = ("multi:softmax", "binary:hinge")


class NotExplained(Exception):
    """Why a request gets no SHAP values, and the HTTP status that says so."""

    def __init__(self, status: int, reason: str):
        super(NotExplained, self).__init__(reason)
        self.status = status
        self.reason = reason


def contributions(evaluation: Any) -> np.ndarray:
    """float32 (n, features + 1), or (n, classes, features + 1), for a prediction.Evaluation.

    Of an ensemble: the mean of the members' contributions, in margin space. Raises NotExplained (400) where the members
    vote, where their widths differ, and where xgboost has no contributions for the model.
    """
    if len(evaluation.members) > 1:
        _refuse_votes(evaluation)
    try:
        found = [_of_member(evaluation.dmatrix, booster, options) for booster, options in evaluation.members]
    except ValueError as error:  # xgboost's own error is one too
        raise NotExplained(400, "Unable to explain payload provided: {}".format(error)) from error
    if len({values.shape for values in found}) > 1:
        raise NotExplained(400, "Unable to explain an ensemble of models with different features or classes")
    return found[0] if len(found) == 1 else np.mean(found, axis=0)


def check_time(evaluation: Any, costs: Sequence[Any], seconds: float) -> None:
    """Raise NotExplained (413) where the members' `costs` for these rows pass `seconds`; it says how many would fit."""
    rows = evaluation.dmatrix.num_row()
    estimate = sum(cost.seconds(rows) for cost in costs)
    if estimate <= seconds:
        return
    fit = min(cost.rows_within(seconds / len(costs)) for cost in costs)
    raise NotExplained(
        413,
        "SHAP values of {} records would take about {:.0f} s, the limit is {:g} s (XGBPATCH_SHAP_SECONDS): "
        "send at most {} records a request".format(rows, estimate, seconds, fit),
    )


def _of_member(dmatrix: xgboost.DMatrix, booster: xgboost.Booster, options: Mapping[str, Any]):
    wide = request_data.padded(dmatrix, booster_json.width(booster))
    return booster.predict(wide, pred_contribs=True, **options)


def _refuse_votes(evaluation: Any):
    for booster, _ in evaluation.members:
        objective = booster_json.configuration(booster)["learner"]["objective"]["name"]
        if objective in VOTES:
            raise NotExplained(
                400, "Unable to explain an ensemble that votes ({}): no sum is its answer".format(objective)
            )
