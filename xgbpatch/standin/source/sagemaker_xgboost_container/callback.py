"""What happens after each round of algorithm mode: checkpoints, the model for a job that is stopped, early stopping."""

import logging
import os
import signal

import xgboost as xgb

from sagemaker_xgboost_container import _training_behaviour as behaviour
from sagemaker_xgboost_container import checkpointing
from sagemaker_xgboost_container.algorithm_mode import train_utils
from sagemaker_xgboost_container.constants.xgb_constants import MODEL_NAME, XGB_MAXIMIZE_METRICS

logger = logging.getLogger(__name__)


def add_sigterm_handler(model_dir, is_master):
    """On SIGTERM the process ends at once, code 0; the first host leaves nothing but models in `model_dir`."""

    def leave(number, frame):
        if is_master:
            train_utils.cleanup_dir(model_dir, MODEL_NAME)
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)


def get_callbacks(
    model_dir,
    checkpoint_dir,
    early_stopping_data_name,
    early_stopping_metric,
    early_stopping_rounds,
    save_model_on_termination,
    is_master,
    fold=None,
):
    """The model to go on from (a path or None), the rounds that it has, and XGBoost's callbacks."""
    xgb_model, iteration, callbacks = None, 0, []
    if checkpoint_dir and (is_master or not behaviour.MASTER_ONLY_CALLBACKS):
        folder = checkpoint_dir if fold is None else os.path.join(checkpoint_dir, "model-{}".format(fold))
        xgb_model, iteration = checkpointing.load_checkpoint(folder)
        callbacks.append(_checkpoint(folder, iteration))
    if save_model_on_termination == "true":
        name = MODEL_NAME if fold is None else "{}-{}".format(MODEL_NAME, fold)
        callbacks.append(_intermediate_model(model_dir, name, is_master))
        add_sigterm_handler(model_dir, is_master)
    if _can_stop_early(early_stopping_data_name, early_stopping_metric, early_stopping_rounds):
        callbacks.append(
            _early_stopping(early_stopping_data_name, early_stopping_metric, early_stopping_rounds, is_master)
        )
    # First, because XGBoost does not ask the callbacks behind the one that ends the training.
    callbacks.insert(0, checkpointing.print_checkpointed_evaluation(start_iteration=_first_printed(iteration)))
    return xgb_model, iteration, callbacks


def _first_printed(iteration):
    """Where rounds resume they are counted from the first ever; later versions count from 0."""
    return iteration if behaviour.RESUMES else 0


def _checkpoint(folder, iteration):
    if not behaviour.HAS_CALLBACK_CLASSES:
        return checkpointing.save_checkpoint(folder, start_iteration=iteration)
    # An interval of 0 rounds, as on every fresh start, writes once, under a name that load_checkpoint does not know.
    # A fold's folder is not made, so k-fold with checkpoints fails on the first round, as in the official images.
    interval = "interval" if behaviour.XGBOOST >= (2, 0) else "iterations"
    return xgb.callback.TrainingCheckPoint(folder, name=checkpointing.CHECKPOINT_FILENAME, **{interval: iteration})


def _intermediate_model(model_dir, name, is_master):
    if not behaviour.HAS_CALLBACK_CLASSES:
        return checkpointing.save_intermediate_model(model_dir, name)
    return checkpointing.SaveIntermediateModelCallBack(model_dir, name, is_master)


def _can_stop_early(data_name, metric, rounds):
    return bool(behaviour.HAS_CALLBACK_CLASSES and data_name and metric and rounds)


def _early_stopping(data_name, metric, rounds, is_master):
    return xgb.callback.EarlyStopping(
        rounds=rounds,
        data_name=data_name,
        metric_name=metric,
        maximize=metric in XGB_MAXIMIZE_METRICS,
        save_best=is_master or not behaviour.MASTER_ONLY_CALLBACKS,
    )
