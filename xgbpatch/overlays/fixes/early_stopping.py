"""early-stopping: boosters whose best round xgboost cannot cut out, and k-fold without objective (every version).

A linear model has no rounds to cut, so a finished job is lost (1.3-1 and later) or its model answers no request
(1.2-2). A dart has them, but later rounds change the weight of earlier trees: what is cut out is not what was best.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Callable, Dict

import xgboost
from sagemaker_xgboost_container import training
from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation, metrics

from ..model import booster as model_booster
from . import _train_job

logger = logging.getLogger(__name__)
CUT_OUT = "gbtree"  # the one booster whose first rounds are the model that they once were
VECTORS = "multi_output_tree"  # whose leaves xgboost 3.0 loses when it cuts
_callbacks: Any = xgboost.callback
_HAS_CLASSES = hasattr(_callbacks, "EarlyStopping")


def early_stopping_not_needed() -> str:
    """Whether the base has xgboost cut the best round out of whatever it has trained, and serve that."""

    def verdict(call: _train_job.Call) -> str:
        if not _HAS_CLASSES:
            return "" if call.arguments.get("early_stopping_rounds") else "it does not stop early"
        cuts = [each for each in call.arguments["callbacks"] if getattr(each, "save_best", False)]
        return "" if cuts else "it does not cut the best round out of a linear model"

    linear = {"objective": "reg:squarederror", "booster": "gblinear"}
    return _train_job.judge(verdict, {**linear, "eval_metric": ["rmse"], "early_stopping_rounds": 2})


def install_early_stopping() -> None:
    """Keep the model of the best round as it was; give a job of folds xgboost's own objective where it names none."""
    state_objective_with("_kfold")
    if _HAS_CLASSES:
        _callbacks.EarlyStopping = _keeping(_callbacks.EarlyStopping)
    _train_job.adapt(_adapt)


def _adapt(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
    config = job["train_cfg"]
    stops = bool(config.get("early_stopping_rounds")) and (not _HAS_CLASSES or _has_what_it_takes(job))
    booster, strategy = config.get("booster", CUT_OUT), config.get("multi_strategy")
    if (booster == CUT_OUT and strategy != VECTORS) or not (stops or booster == "gblinear"):
        return train
    if stops and job["checkpoint_dir"]:
        kind = strategy if booster == CUT_OUT else booster
        logger.warning("No checkpoints: early stopping of %s needs the model of the best round from the start", kind)
        job["checkpoint_dir"] = None

    def train_whole(parameters: Any, matrix: Any, *positional: Any, **named: Any) -> Any:
        best = _Best()
        rounds = named.get("early_stopping_rounds")
        if rounds and not _HAS_CLASSES:
            named["early_stopping_rounds"] = None
            stop = _callbacks.early_stop(rounds, verbose=False)
            named["callbacks"] = [*named["callbacks"], stop, best.after_iteration]
        trained = train(parameters, matrix, *positional, **named)
        return _served_whole(trained if best.model is None else best.model)

    return train_whole


def _has_what_it_takes(job: Dict[str, Any]) -> bool:
    """Whether the base stops the job early; the log says why not."""
    config = job["train_cfg"]
    missing = []
    if job["val_dmatrix"] is None:
        missing.append("a validation channel")
    if not config.get("eval_metric") and not config.get("_tuning_objective_metric"):
        missing.append("eval_metric")
    if missing:
        logger.warning("early_stopping_rounds changes nothing: the job has to have %s too", " and ".join(missing))
    return not missing


class _Best(object):
    """The model of the best round, for an xgboost that calls functions (before 1.3)."""

    model: Any = None

    def after_iteration(self, environment: Any) -> None:
        """To be called behind early stopping, which notes the best round in the model."""
        if environment.model.attr("best_iteration") == str(environment.iteration):
            self.model = environment.model.copy()


def _served_whole(booster: xgboost.Booster) -> xgboost.Booster:
    """Without the bound that the base cuts by when it serves: a linear model cannot be cut, the best dart is whole."""
    booster.__dict__.pop("best_ntree_limit", None)
    if booster.attr("best_ntree_limit") is not None:
        booster.set_attr(best_ntree_limit=None)
    return booster


def _can_be_cut(model: xgboost.Booster) -> bool:
    """Whether xgboost cuts its first rounds out as they were then."""
    learner = model_booster.configuration(model)["learner"]
    vectors = learner["learner_train_param"].get("multi_strategy") == VECTORS
    return learner["gradient_booster"]["name"] == CUT_OUT and not vectors


def _keeping(base: Any) -> Any:
    class BestRoundStopping(base):
        """Keeps the model of the best round where xgboost could not cut it out of the last."""

        save_best: bool
        keeps = False
        best: Any = None

        def before_training(self, model: xgboost.Booster) -> xgboost.Booster:
            model = super(BestRoundStopping, self).before_training(model)
            if self.save_best and not _can_be_cut(model):
                self.save_best, self.keeps = False, True
            return model

        def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Dict[str, Any]) -> bool:
            ends = bool(super(BestRoundStopping, self).after_iteration(model, epoch, evals_log))
            if self.keeps and not self.current_rounds:
                self.best = model.copy()
            return ends

        def after_training(self, model: xgboost.Booster) -> xgboost.Booster:
            model = super(BestRoundStopping, self).after_training(model)
            return model if self.best is None else self.best

    return BestRoundStopping


# eval-metric-without-objective: on such a job the base's check of the metrics ends in KeyError (every version).


DEFAULT = "reg:squarederror"  # XGBoost's own, https://xgboost.readthedocs.io/en/stable/parameter.html


def eval_metric_without_objective_not_needed() -> str:
    """Whether the base checks a metric without an objective."""
    try:
        hyperparameter_validation.initialize(metrics.initialize()).validate({"num_round": "1", "eval_metric": "rmse"})
    except KeyError:
        return ""
    except Exception as error:
        return "this base has its own answer ({}: {})".format(type(error).__name__, error)
    return "metrics are checked without an objective"


def install_eval_metric_without_objective() -> None:
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
