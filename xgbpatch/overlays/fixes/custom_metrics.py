"""Metrics that cut classes at margin 0 and are given transformed predictions instead (3.0-5 and later)."""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, Optional

import numpy as np
import xgboost
from sagemaker_xgboost_container.metrics import custom_metrics

from . import _train_job

_PROBABILITIES = ("binary:logistic", "reg:logistic")
_LABELS = ("multi:softmax",)
_ARGUMENTS = ("custom_metric", "feval")  # XGBoost's names of the argument; the second is gone in 3.0


def not_needed() -> str:
    """Whether the base's accuracy is right on a model of one round."""
    return _train_job.judge(_verdict, {"objective": "binary:logistic", "eval_metric": ["accuracy"]})


def _verdict(call: _train_job.Call) -> str:
    (argument,) = (name for name in _ARGUMENTS if call.arguments.get(name) is not None)
    history = {}  # type: Dict[str, Any]
    booster = xgboost.train(
        {"objective": "binary:logistic", "min_child_weight": 0},
        call.matrix,
        num_boost_round=1,
        evals=[(call.matrix, "train")],
        evals_result=history,
        verbose_eval=False,
        **{argument: call.arguments[argument]},
    )
    right = np.mean((booster.predict(call.matrix) > 0.5) == call.matrix.get_label())
    return "its accuracy is right" if abs(history["train"]["accuracy"][0] - right) < 1e-5 else ""


def install() -> None:
    """Make classes as the objective of the job asks."""

    def change(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
        custom_metrics.margin_to_class_label = functools.partial(classes, job["train_cfg"].get("objective"))
        return train

    _train_job.adapt(change)


_base_classes = custom_metrics.margin_to_class_label


def classes(objective: Optional[str], predictions: np.ndarray) -> np.ndarray:
    """Classes, int (n,), of predictions as `Booster.predict` gives them for `objective`."""
    if objective in _PROBABILITIES:
        return (predictions > 0.5).astype(int)
    if objective in _LABELS and np.ndim(predictions) == 1:
        return predictions.astype(int)
    labels: np.ndarray = _base_classes(predictions)
    return labels
