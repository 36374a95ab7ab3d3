"""`eval_metric` without `objective`, on which the base's check of the metrics ends in KeyError (every version)."""

from __future__ import annotations

import functools
from typing import Any, Dict

from sagemaker_xgboost_container import training
from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation, metrics

DEFAULT = "reg:squarederror"  # XGBoost's own, https://xgboost.readthedocs.io/en/stable/parameter.html


def not_needed() -> str:
    """Whether the base checks a metric without an objective."""
    try:
        hyperparameter_validation.initialize(metrics.initialize()).validate({"num_round": "1", "eval_metric": "rmse"})
    except KeyError:
        return ""
    except Exception as error:
        return "this base has its own answer ({}: {})".format(type(error).__name__, error)
    return "metrics are checked without an objective"


def install() -> None:
    """Name the default objective where a job with a metric leaves it to XGBoost."""
    state_objective_with("eval_metric")


def state_objective_with(name: str) -> None:
    """Have jobs with the hyperparameter `name` name the default objective where they name none."""
    base = training.sagemaker_train

    @functools.wraps(base)
    def sagemaker_train(train_config: Dict[str, Any], *positional: Any, **named: Any) -> Any:
        if name in train_config and "objective" not in train_config:
            train_config = {**train_config, "objective": DEFAULT}
        return base(train_config, *positional, **named)

    training.sagemaker_train = sagemaker_train
