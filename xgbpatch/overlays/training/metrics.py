"""Metrics of the user's, evaluated and printed with the base's own, tunable and good for early stopping."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import xgboost
from sagemaker_xgboost_container.algorithm_mode import train_utils
from sagemaker_xgboost_container.constants import xgb_constants

from ..model import booster
from .options import OptionError, UserMetric

logger = logging.getLogger(__name__)
GIVES_MARGINS = booster.XGBOOST < (2, 0)  # to the argument `feval`, which the base uses there
STOPS_BY_DIRECTION = hasattr(xgboost.callback, "EarlyStopping")  # 1.2 minimises every metric that it does not know


@dataclass
class MetricEvaluation:
    """The user's functions by metric name, and how they are called: on the base's predictions for `objective`.

    A `strict` one raises what a function raises at its first evaluation; later, and on several hosts, where one that
    ends would leave the others waiting, the value is nan and the log says why.
    """

    functions: Mapping[str, Callable[..., Any]]
    strict: bool
    objective: str = ""
    begun: bool = False

    def values(self, predictions: np.ndarray, dmatrix: xgboost.DMatrix) -> List[Tuple[str, float]]:
        """(name, value) of each metric, as XGBoost takes them; `predictions` as XGBoost gives them to the base."""
        y_pred = transformed(self.objective, predictions) if GIVES_MARGINS else predictions
        values = [(name, self._value(name, dmatrix.get_label(), y_pred)) for name in self.functions]
        self.begun = True
        return values

    def _value(self, name: str, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        try:
            return float(self.functions[name](y_true, y_pred))
        except Exception as error:
            if self.strict and not self.begun:
                reason = "{}: {}".format(type(error).__name__, error)
                raise OptionError('xgbpatch_metrics: "{}" failed: {}'.format(name, reason)) from error
            logger.exception('xgbpatch_metrics: "%s" failed, its value is nan', name)
            return float("nan")


def load(metrics: Sequence[UserMetric], hyperparameters: Mapping[str, Any]) -> Dict[str, Callable[..., Any]]:
    """The functions by name; raises OptionError for one that cannot be imported, or would not mean what it says."""
    builtin = set(xgb_constants.XGB_MAXIMIZE_METRICS + xgb_constants.XGB_MINIMIZE_METRICS)
    for metric in metrics:
        if metric.name in builtin:
            raise OptionError('xgbpatch_metrics: "{}" has the name of a metric of the base'.format(metric.path))
        if metric.maximize and "early_stopping_rounds" in hyperparameters and not STOPS_BY_DIRECTION:
            reason = "early stopping of xgboost {} would minimise it".format(xgboost.__version__)
            raise OptionError('xgbpatch_metrics: "{}": {}'.format(metric.path, reason))
    return {metric.name: _function(metric.path) for metric in metrics}


def _function(path: str) -> Callable[..., Any]:
    module, _, name = path.rpartition(".")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        inspect.signature(function).bind("y_true", "y_pred")
    except Exception as error:
        raise OptionError(
            'xgbpatch_metrics: "{}" is no function(y_true, y_pred) of this image: {}: {}; '
            "xgbpatch build --file puts modules into it".format(path, type(error).__name__, error)
        ) from error
    return function


@contextlib.contextmanager
def declared(metrics: Sequence[UserMetric], evaluation: MetricEvaluation) -> Iterator[None]:
    """The base knows the metrics: it prints them, and may tune and stop early by them."""
    base = train_utils.get_eval_metrics_and_feval
    lists = [
        (xgb_constants.XGB_MAXIMIZE_METRICS if metric.maximize else xgb_constants.XGB_MINIMIZE_METRICS, metric.name)
        for metric in metrics
    ]
    for names, name in lists:
        names.append(name)
    if metrics:
        train_utils.get_eval_metrics_and_feval = _with_own(base, evaluation)
    try:
        yield
    finally:
        train_utils.get_eval_metrics_and_feval = base
        for names, name in lists:
            names.remove(name)


def _with_own(base: Callable[..., Any], evaluation: MetricEvaluation) -> Callable[..., Any]:
    own = evaluation.functions

    def get_eval_metrics_and_feval(tuning_objective_metric_param: Optional[str], eval_metric: Any) -> Any:
        tuned = (tuning_objective_metric_param or "").rpartition(":")[2]
        native, feval, *stopping = base(
            None if tuned in own else tuning_objective_metric_param,
            [name for name in eval_metric if name not in own] or None if eval_metric else eval_metric,
        )
        if stopping and tuned in own:
            stopping = [[tuned]]

        def evaluate(predictions: np.ndarray, dmatrix: xgboost.DMatrix) -> Any:
            values = feval(predictions, dmatrix) if feval else []
            return (values if isinstance(values, list) else [values]) + evaluation.values(predictions, dmatrix)

        return tuple([native, evaluate] + stopping)

    return get_eval_metrics_and_feval


def transformed(objective: str, margins: np.ndarray) -> np.ndarray:
    """What `Booster.predict` returns for margins (n,) or (n, classes); right to a float's last bits."""
    predictions = margins
    if objective in booster.LOGIT:
        predictions = 1 / (1 + np.exp(-margins))
    elif objective in booster.LOG:
        predictions = np.exp(margins)
    elif objective == "binary:hinge":
        predictions = (margins > 0).astype(np.float32)
    elif objective == "multi:softmax":
        predictions = np.argmax(margins, axis=1).astype(np.float32)
    elif objective == "multi:softprob":
        raised = np.exp(margins - margins.max(axis=1, keepdims=True))
        predictions = raised / raised.sum(axis=1, keepdims=True)
    return predictions
