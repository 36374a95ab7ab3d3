"""Metrics of the container: `metric(preds, dtrain)` gives its name and value, as XGBoost asks of a custom metric.

Classes are cut from margins. From 3.0 on XGBoost hands over transformed predictions, so with binary:logistic every row
counts as class 1: that is what the official images do.
"""

from functools import partial

import numpy as np
from sklearn import metrics as scores

from sagemaker_xgboost_container import _training_behaviour as behaviour


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def margin_to_class_label(preds):
    """Class by margin: above 0, or the column of the largest."""
    preds = np.asarray(preds)
    return np.argmax(preds, axis=-1) if preds.ndim > 1 else (preds > 0).astype(int)


def _classified(name, score, preds, dtrain):
    return name, score(dtrain.get_label(), margin_to_class_label(preds))


def _measured(name, score, preds, dtrain):
    return name, score(dtrain.get_label(), preds)


def accuracy(preds, dtrain):
    return _classified("accuracy", scores.accuracy_score, preds, dtrain)


def balanced_accuracy(preds, dtrain):
    return _classified("balanced_accuracy", scores.balanced_accuracy_score, preds, dtrain)


def f1(preds, dtrain):
    return _classified("f1", partial(scores.f1_score, average="macro"), preds, dtrain)


def f1_binary(preds, dtrain):
    return _classified("f1_binary", partial(scores.f1_score, average="binary"), preds, dtrain)


def f1_macro(preds, dtrain):
    return _classified("f1_macro", partial(scores.f1_score, average="macro"), preds, dtrain)


def precision(preds, dtrain):
    return _classified("precision", partial(scores.precision_score, average="binary"), preds, dtrain)


def precision_macro(preds, dtrain):
    return _classified("precision_macro", partial(scores.precision_score, average="macro"), preds, dtrain)


def precision_micro(preds, dtrain):
    return _classified("precision_micro", partial(scores.precision_score, average="micro"), preds, dtrain)


def recall(preds, dtrain):
    return _classified("recall", partial(scores.recall_score, average="binary"), preds, dtrain)


def recall_macro(preds, dtrain):
    return _classified("recall_macro", partial(scores.recall_score, average="macro"), preds, dtrain)


def recall_micro(preds, dtrain):
    return _classified("recall_micro", partial(scores.recall_score, average="micro"), preds, dtrain)


def mae(preds, dtrain):
    return _measured("mae", scores.mean_absolute_error, preds, dtrain)


def mse(preds, dtrain):
    return _measured("mse", scores.mean_squared_error, preds, dtrain)


def rmse(preds, dtrain):
    return "rmse", np.sqrt(scores.mean_squared_error(dtrain.get_label(), preds))


def r2(preds, dtrain):
    return _measured("r2", scores.r2_score, preds, dtrain)


CUSTOM_METRICS = {
    metric.__name__: metric
    for metric in (
        accuracy, balanced_accuracy, f1, f1_binary, f1_macro, mae, mse, rmse, r2,
        precision, precision_macro, precision_micro, recall, recall_macro, recall_micro,
    )
    if metric.__name__ not in behaviour.METRICS_NOT_YET | behaviour.METRICS_LEFT_TO_XGBOOST
}  # fmt: skip


def get_custom_metrics(eval_metrics):
    """Those of `eval_metrics` that the container computes, in their order."""
    return [metric for metric in eval_metrics if metric in CUSTOM_METRICS]


def configure_feval(custom_metric_list):
    """One function for XGBoost that gives a list of (name, value)."""

    def evaluate(preds, dtrain):
        return [CUSTOM_METRICS[name](preds, dtrain) for name in custom_metric_list]

    return evaluate
