"""metrics and custom-metrics: what is measured, and which way is better."""

from __future__ import annotations

import functools
from typing import Any, Callable, Dict, List, Mapping, Optional

import numpy as np
import xgboost
from sagemaker_algorithm_toolkit import exceptions
from sagemaker_xgboost_container.algorithm_mode import train_utils
from sagemaker_xgboost_container.constants import xgb_constants
from sagemaker_xgboost_container.metrics import custom_metrics

from . import _train_job, _validation

# metrics: those that the xgboost inside knows and the base refuses, or minimises where more is better (every version).


_SEGMENT = "validation:"  # a tuning job optimises on this channel, says the base
_MORE_IS_BETTER = {"interval-regression-accuracy": True}  # the base has it among those to minimise


def metrics_not_needed() -> str:
    """Whether the base takes a metric that its xgboost computes."""
    return _validation.left_to({"num_round": "1", "objective": "reg:logistic", "eval_metric": "auc"})


def install_metrics() -> None:
    """Ask the xgboost inside where the base refuses a metric, and stop early by its name and in its direction."""
    _validation.adapt(_check)
    callbacks: Any = xgboost.callback
    if hasattr(callbacks, "EarlyStopping"):
        callbacks.EarlyStopping = _early_stopping(callbacks.EarlyStopping)
    else:
        callbacks.early_stop = _directed(callbacks.early_stop)


def _check(hyperparameters: Any, job: Dict[str, Any], validate: Callable[..., Dict[str, Any]]) -> Dict[str, Any]:
    def in_range(refusal: Exception, names: List[str]) -> None:
        _ask(job, names, refusal, lambda name: base_range([name]))

    def fits(refusal: Exception, names: List[str], dependencies: Mapping[str, Any]) -> None:
        if not _validation.confines_labels(job):  # auc of amounts means nothing
            raise refusal
        _ask(job, names, refusal, lambda name: base_fit([name], dependencies))

    def tuned(refusal: Exception, value: str) -> None:
        if not value.startswith(_SEGMENT):
            raise refusal
        _ask(job, [value[len(_SEGMENT) :]], refusal, lambda name: base_range([name]))

    metrics = hyperparameters["eval_metric"]
    base_range = _validation.appeal(metrics, "validate_range", in_range)
    base_fit = _validation.appeal(metrics, "validate_dependencies", fits)
    _validation.appeal(hyperparameters["_tuning_objective_metric"], "validate_range", tuned)
    config = validate(job)
    _remember(config)  # now: when hosts train together, a trial would wait for the others
    return config


def _ask(job: Mapping[str, Any], names: List[str], refusal: Exception, base: Callable[[str], None]) -> None:
    """Pass where the base takes each metric alone, or xgboost computes it for the job's objective.

    Else raise the base's refusal, with xgboost's reason.
    """
    for name in names:
        try:
            base(name)
        except exceptions.UserError:
            try:
                _validation.metric(job, name)
            except _validation.RefusedByXgboost as reason:
                text = '{} ({} on "{}": {})'.format(refusal, _validation.NAME, name, reason)
                raise exceptions.UserError(text) from refusal


# Early stopping: the base looks for the name that it was given, and maximises what stands in its list by that name.


_printed = {}  # type: Dict[str, _validation.PrintedMetric]
_last = []  # type: List[str]


def _remember(config: Mapping[str, Any]) -> None:
    _printed.clear()
    del _last[:]
    if config.get("early_stopping_rounds"):
        tuned = config.get("_tuning_objective_metric")
        names = train_utils.get_union_metrics([tuned.rpartition(":")[2]] if tuned else None, config.get("eval_metric"))
        for name in names or ():
            _printed[name] = printed_metric(config, name)
        own = custom_metrics.get_custom_metrics(names or [])
        _last.extend(list(own or names or [])[-1:])  # 1.2 stops by what is printed last


def printed_metric(job: Mapping[str, Any], name: str) -> _validation.PrintedMetric:
    """How a metric of a job is printed, and which way it is better: the base's own word counts where it has one."""
    stem = name.partition("@")[0].rstrip("-")
    maximize = _MORE_IS_BETTER.get(stem) or _base_direction(stem)
    if name in xgb_constants.XGB_MAXIMIZE_METRICS + xgb_constants.XGB_MINIMIZE_METRICS:
        return _validation.PrintedMetric(name, maximize)
    try:
        metric = _validation.metric(job, name)
    except _validation.RefusedByXgboost:  # xgboost itself says so in a moment, and better
        return _validation.PrintedMetric(name, maximize)
    return _validation.PrintedMetric(metric.name, metric.maximize if maximize is None else maximize)


def _base_direction(stem: str) -> Optional[bool]:
    if stem in xgb_constants.XGB_MAXIMIZE_METRICS:
        return True
    return False if stem in xgb_constants.XGB_MINIMIZE_METRICS else None


def _early_stopping(base: Any) -> Any:
    class NamedEarlyStopping(base):
        def __init__(self, rounds: int, metric_name: Optional[str] = None, **named: Any) -> None:
            metric = _printed.get(metric_name or "")
            if metric is not None:
                metric_name = metric.name
                named["maximize"] = metric.maximize
            super(NamedEarlyStopping, self).__init__(rounds, metric_name=metric_name, **named)

    return NamedEarlyStopping


def _directed(base: Callable[..., Any]) -> Callable[..., Any]:
    """1.2, which maximises auc, aucpr, map and ndcg only, whatever the base's list says."""

    @functools.wraps(base)
    def early_stop(stopping_rounds: int, maximize: bool = False, verbose: bool = True) -> Any:
        better = any(_printed[name].maximize for name in _last)
        return base(stopping_rounds, maximize or better, verbose)

    return early_stop


# custom-metrics: those that cut classes at margin 0 and are given transformed predictions instead (3.0-5 and later).


_PROBABILITIES = ("binary:logistic", "reg:logistic")
_LABELS = ("multi:softmax",)
_ARGUMENTS = ("custom_metric", "feval")  # XGBoost's names of the argument; the second is gone in 3.0


def custom_metrics_not_needed() -> str:
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


def install_custom_metrics() -> None:
    """Make classes as the objective of the job asks."""
    base = custom_metrics.margin_to_class_label

    def change(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
        custom_metrics.margin_to_class_label = functools.partial(_classes, base, job["train_cfg"].get("objective"))
        return train

    _train_job.adapt(change)


def _classes(base: Callable[..., Any], objective: Optional[str], predictions: np.ndarray) -> np.ndarray:
    """Classes, int (n,), of predictions as `Booster.predict` gives them for `objective`."""
    if objective in _PROBABILITIES:
        return (predictions > 0.5).astype(int)
    if objective in _LABELS and np.ndim(predictions) == 1:
        return predictions.astype(int)
    labels: np.ndarray = base(predictions)
    return labels
