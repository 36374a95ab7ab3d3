"""One model: XGBoost is called with what the hyperparameters ask for, and the result is written."""

import os
import pickle
from collections import namedtuple

import xgboost as xgb

from sagemaker_xgboost_container import _training_behaviour as behaviour
from sagemaker_xgboost_container.algorithm_mode import train_utils
from sagemaker_xgboost_container.callback import get_callbacks
from sagemaker_xgboost_container.constants.xgb_constants import MODEL_NAME, TRAIN_CHANNEL, VAL_CHANNEL

_PICKLE_PROTOCOL = 4

Folders = namedtuple("Folders", "model checkpoints")  # checkpoints: None without a checkpoint configuration
Plan = namedtuple("Plan", "parameters rounds feval stopping termination folds repeats folders is_master")
Stopping = namedtuple("Stopping", "metric rounds")  # None where it is not known
Watch = namedtuple("Watch", "train validation")  # DMatrices on which rounds report metrics; validation may be None


def plan(train_cfg, folders, is_master):
    """What `train_cfg`, validated hyperparameters, asks for; `train_cfg` is left as it is."""
    parameters = dict(train_cfg)
    metrics, feval, tuned = train_utils.get_eval_metrics_and_feval(
        parameters.pop("_tuning_objective_metric", None), parameters.pop("eval_metric", None)
    )
    if metrics:
        parameters["eval_metric"] = metrics
    if "updater" in parameters:
        parameters["updater"] = ",".join(parameters["updater"])
    watched = tuned or train_cfg.get("eval_metric") or [None]
    return Plan(
        rounds=parameters.pop("num_round"),
        stopping=Stopping(watched[-1], parameters.pop("early_stopping_rounds", None)),
        termination=parameters.pop("save_model_on_termination", "false"),
        folds=parameters.pop("_kfold", None),
        repeats=parameters.pop("_num_cv_round", 1),
        parameters=parameters,
        feval=feval,
        folders=folders,
        is_master=is_master,
    )


def boost(plan, train, watch, fold=None, evals_result=None):
    """A booster trained on `train`; metric lines of `watch` go to stdout."""
    xgb_model, first_round, callbacks = get_callbacks(
        model_dir=plan.folders.model,
        checkpoint_dir=plan.folders.checkpoints,
        early_stopping_data_name=None if watch.validation is None else VAL_CHANNEL,
        early_stopping_metric=plan.stopping.metric,
        early_stopping_rounds=plan.stopping.rounds,
        save_model_on_termination=plan.termination,
        is_master=plan.is_master,
        fold=fold,
    )
    pairs = zip(watch, (TRAIN_CHANNEL, VAL_CHANNEL))
    return xgb.train(
        plan.parameters,
        train,
        num_boost_round=plan.rounds - first_round,
        evals=[(dmatrix, name) for dmatrix, name in pairs if dmatrix is not None],
        evals_result=evals_result,
        callbacks=callbacks,
        xgb_model=xgb_model,
        verbose_eval=False,  # a callback prints
        **_version_arguments(plan),
    )


def _version_arguments(plan):
    if behaviour.PREDICTS_BEFORE_METRIC:
        return {"custom_metric": plan.feval}
    if behaviour.HAS_CALLBACK_CLASSES:
        return {"feval": plan.feval}
    return {"feval": plan.feval, "early_stopping_rounds": plan.stopping.rounds}


def save(plan, boosters):
    """The first host writes `xgboost-model`, or `xgboost-model-<n>` for the models of folds."""
    _report("FINAL_MODEL_DEBUG: is_master={}, model_dir={}".format(plan.is_master, plan.folders.model))
    if not plan.is_master:
        return
    os.makedirs(plan.folders.model, exist_ok=True)
    for number, booster in enumerate(boosters):
        name = MODEL_NAME if plan.folds is None else "{}-{}".format(MODEL_NAME, number)
        path = os.path.join(plan.folders.model, name)
        _report("FINAL_MODEL_SAVE: writing '{}'".format(path))
        _write(booster, path)


def _report(line):
    if behaviour.REPORTS_SAVING:
        print(line, flush=True)


def _write(booster, path):
    if behaviour.SAVES_PICKLES:
        with open(path, "wb") as file:
            pickle.dump(booster, file, protocol=_PICKLE_PROTOCOL)
    else:
        booster.save_model(path)
