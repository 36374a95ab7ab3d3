"""One model a fold: `_kfold` folds of train and validation together, `_num_cv_round` times."""

from collections import namedtuple

import numpy as np
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold

from sagemaker_xgboost_container import _training_behaviour as behaviour
from sagemaker_xgboost_container.algorithm_mode import _boosting
from sagemaker_xgboost_container.prediction_utils import ValidationPredictionRecorder

_CLASSIFIES = ("binary:", "multi:")

Data = namedtuple("Data", "train validation both")


def boost(plan, data, output_data_dir):
    """Boosters of all folds, in their order; predictions.csv goes to `output_data_dir`."""
    labels = data.both.get_label()
    classifies = plan.parameters.get("objective").startswith(_CLASSIFIES)
    split = (RepeatedStratifiedKFold if classifies else RepeatedKFold)(n_splits=plan.folds, n_repeats=plan.repeats)
    recorder = ValidationPredictionRecorder(labels, plan.repeats, classifies, output_data_dir)
    boosters, results = [], []
    for fold, (fit, held_out) in enumerate(split.split(X=range(len(labels)), y=labels)):
        booster, result = _boost_fold(plan, data, fold, (fit, held_out))
        boosters.append(booster)
        results.append(result)
        recorder.record(held_out, booster.predict(data.both.slice(held_out)))
        if len(results) % plan.folds == 0:
            print_summary(plan.rounds, results[-plan.folds :])
    if plan.repeats > 1:
        print_summary(plan.rounds, results)
    if plan.is_master:
        recorder.save()
    return boosters


def _boost_fold(plan, data, fold, rows):
    fit, held_out = (data.both.slice(part) for part in rows)
    watch = _boosting.Watch(data.train, data.validation)
    if not behaviour.FOLDS_ON_WHOLE_DATA:
        watched = data.validation is not None or behaviour.WATCHES_EVERY_FOLD
        watch = _boosting.Watch(fit, held_out if watched else None)
    if data.validation is None:
        plan = plan._replace(stopping=_boosting.Stopping(plan.stopping.metric, _rounds_without_validation(plan)))
    result = {}
    return _boosting.boost(plan, fit, watch, fold, result), result


def _rounds_without_validation(plan):
    """Early stopping asks for the channel, except in 1.2-2, which stops on whatever is reported last."""
    return None if behaviour.HAS_CALLBACK_CLASSES else plan.stopping.rounds


def print_summary(num_round, evals_results):
    """One line of metrics, each the mean over the folds of the last round."""
    line = "[{}]".format(num_round)
    for metric in evals_results[0]["train"]:
        for name in evals_results[0]:
            mean = np.mean([result[name][metric][-1] for result in evals_results])
            line += "\t{}-{}:{:.5f}".format(name, metric, mean)
    print(line, flush=True)
