"""Objectives and hyperparameters that the xgboost inside knows and the base refuses, in training and in its answers.

In training: what the base refuses is asked of xgboost. In selectable inference: an objective for which the base has no
keys gets `predicted_score`, a list where the model has several outputs.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Callable, Dict, Mapping, Sequence

import numpy as np
from sagemaker_algorithm_toolkit import exceptions
from sagemaker_algorithm_toolkit import hyperparameter_validation as toolkit
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from sagemaker_xgboost_container.constants import xgb_constants

from ..shap.response import RawPrediction
from . import _validation

_PROBE = {"num_round": "1", "seed_per_iteration": "false"}  # which every xgboost knows
_METRICS = ("eval_metric", "_tuning_objective_metric")  # the fix `metrics`
_CONSTRAINTS = ("monotone_constraints", "interaction_constraints")
_AFT = "survival:aft"


def objectives_not_needed() -> str:
    """Whether the base hands on what its xgboost knows."""
    return _validation.left_to(_PROBE)


def install_objectives() -> None:
    """Ask the xgboost inside where the base refuses a hyperparameter; select the score of any objective."""
    _validation.adapt(_check)
    serve_utils.get_selected_predictions = _selecting(serve_utils.get_selected_predictions)


# Training.


def _check(hyperparameters: Any, job: Dict[str, Any], validate: Callable[..., Dict[str, Any]]) -> Dict[str, Any]:
    job = dict(job)
    known = hyperparameters.hyperparameters
    new = [name for name in job if name not in known and name not in hyperparameters.aliases]
    for name in new:
        job[name] = _listed(str(job[name]))
    refusal = ""
    if new:
        try:
            without_use = _validation.unused(job, new)
        except _validation.RefusedByXgboost as error:  # said below, after the base's own refusals
            refusal = str(error)
            without_use = frozenset()
        for name in new:
            if name not in without_use:
                known[name] = toolkit.Hyperparameter(name, required=False)
    for name in known:
        if name not in _METRICS and name not in new:
            _validation.appeal(known[name], "validate_range", functools.partial(_ask, job, name))
    config = validate(job)
    if refusal:
        raise exceptions.UserError("Hyperparameters {}: {}: {}".format(", ".join(new), _validation.NAME, refusal))
    return _handed_on(config)


def _listed(text: str) -> str:
    """Numbers as a list: of a plain "0.1,0.9" xgboost reads the first."""
    parts = re.split(r"[\s,]+", text.strip())
    return "[{}]".format(", ".join(parts)) if len(parts) > 1 and all(map(_is_number, parts)) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ask(job: Mapping[str, Any], name: str, refusal: Exception, value: Any) -> None:
    """Pass a value out of the base's range that xgboost takes; else raise the base's refusal, with xgboost's reason."""
    try:
        if name not in _validation.unused(job, [name]):
            return
    except _validation.RefusedByXgboost as reason:
        raise exceptions.UserError("{} ({}: {})".format(refusal, _validation.NAME, reason)) from refusal
    raise refusal


def _handed_on(config: Dict[str, Any]) -> Dict[str, Any]:
    """The validated hyperparameters, in the forms that xgboost reads."""
    for name in _CONSTRAINTS:  # from 1.5 on xgboost takes text, or features by name
        if name in config and not isinstance(config[name], str):
            config[name] = str(config[name])
    if "_kfold" in config and not str(config.get("objective", "")).startswith("multi:"):
        count = _outputs(config)
        if count > 1:
            text = "_kfold does not go with a model of {} outputs: the file of predictions has one column a row; train "
            raise exceptions.UserError((text + "without _kfold, or one job for each output").format(count))
    if config.get("objective") == _AFT:
        from . import _train_job  # in serving there is no training to import

        _train_job.adapt(_bounded)
    return config


def _outputs(config: Mapping[str, Any]) -> int:
    try:
        return _validation.outputs(config)
    except _validation.RefusedByXgboost:  # xgboost says so itself in a moment
        return 1


def _bounded(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
    """Lifetimes from the labels, which is all that the base reads: below 0 it was longer, as for survival:cox."""
    for name in ("train_dmatrix", "val_dmatrix", "train_val_dmatrix"):
        matrix = job[name]
        if matrix is not None and not len(matrix.get_float_info("label_lower_bound")):
            labels = matrix.get_label()
            matrix.set_float_info("label_lower_bound", np.abs(labels))
            matrix.set_float_info("label_upper_bound", np.where(labels < 0, np.inf, np.abs(labels)))
    return train


# Selectable inference.


def _selecting(base: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(base)
    def get_selected_predictions(
        raw_predictions: Any, selected_keys: Sequence[str], objective: str, *others: Any, **named: Any
    ) -> Any:
        several = np.ndim(raw_predictions) > 1 and not objective.startswith("multi:")
        if objective not in serve_utils.VALID_OBJECTIVES or several:
            raw_predictions = [RawPrediction(each) for each in raw_predictions]
            objective = xgb_constants.REG_SQUAREDERR
        return base(raw_predictions, selected_keys, objective, *others, **named)

    return get_selected_predictions
