"""One check for each fix of training that an image carries: the base's bug is gone."""

from __future__ import annotations

import csv
import math

from xgbpatch.contract.finding import Violation, require
from xgbpatch.contract.jobs import FOLDS, FOLDS_AGAIN, INTERRUPTED, K_FOLD, LOGISTIC, RESUMED, UNSTATED
from xgbpatch.contract.session import Session
from xgbpatch.contract.train import completed, metric
from xgbpatch.contract.training import Trained

_PRINTED = 2e-5  # two metrics of five decimals


def custom_metrics(session: Session) -> str:
    """custom-metrics: accuracy is 1 - error in each round, on train and validation."""
    outcome = session.trained(LOGISTIC)
    for dataset in ("train", "validation"):
        pairs = zip(metric(outcome, dataset, "accuracy"), metric(outcome, dataset, "error"), strict=True)
        for number, (accuracy, error) in enumerate(pairs):
            right = abs(accuracy + error - 1) <= _PRINTED
            require(right, f"[{number}] {dataset}-accuracy is {accuracy}, and {dataset}-error {error}")
    return f"validation-accuracy {metric(outcome, 'validation', 'accuracy')[-1]:g}"


def kfold_eval(session: Session) -> str:
    """kfold-eval: a k-fold job reports the error on the rows that each fold left out, as predictions.csv has it."""
    outcome = session.trained(K_FOLD)
    require(len(outcome.models) == 3, f"{len(outcome.models)} models lie in the model folder of 3 folds")
    printed = metric(outcome, "validation", "error")[-1]  # the summary of all folds
    written, rows = _predicted_error(outcome)
    # Folds differ by a row or two, so the mean over folds is not quite the mean over rows.
    require(abs(printed - written) <= 0.002, f"stdout says validation-error {printed}, predictions.csv {written:.5f}")
    return f"validation-error {printed:g}, on {rows} rows that were left out in turn"


def checkpoint_resume(session: Session) -> str:
    """checkpoint-resume: a job of 10 rounds that finds checkpoints of 4 trains the other 6, from where they end."""
    before, after = session.trained(INTERRUPTED), session.trained(RESUMED)
    completed(before)
    completed(after)
    first, second = (metric(outcome, "validation", "rmse") for outcome in (before, after))
    left = RESUMED.rounds - INTERRUPTED.rounds
    require(len(second) == left, f"the resumed job trained {len(second)} rounds, not the {left} that were left")
    require(second[0] < first[-1], f"validation-rmse was {first[-1]} at the end, and {second[0]} after the resumption")
    return f"{left} rounds more, validation-rmse {first[-1]:g} to {second[-1]:g}"


def kfold_checkpoint(session: Session) -> str:
    """kfold-checkpoint: a k-fold job with a checkpoint configuration ends well, and so does its restart."""
    for job in (FOLDS, FOLDS_AGAIN):
        outcome = session.trained(job)
        require(outcome.exit_code == 0, outcome.failure.strip()[-300:] or outcome.ending)
        require(len(outcome.models) == 2, f'{len(outcome.models)} models lie in the model folder of job "{job.name}"')
    return "2 models, twice"


def eval_metric_without_objective(session: Session) -> str:
    """eval-metric-without-objective: a job that leaves the objective to xgboost may still name its metric."""
    outcome = session.trained(UNSTATED)
    said = completed(outcome)
    return f"{said}, validation-mae {metric(outcome, 'validation', 'mae')[-1]:g}"


def _predicted_error(outcome: Trained) -> tuple[float, int]:
    """The share of wrong labels in predictions.csv (label, probability and predicted label), and its rows."""
    path = outcome.root / "output" / "data" / "predictions.csv"
    if not path.is_file():
        raise Violation("the k-fold job wrote no output/data/predictions.csv")
    rows = [[float(cell) for cell in row] for row in csv.reader(path.read_text(encoding="ascii").splitlines())]
    require(
        bool(rows) and not any(math.isnan(cell) for row in rows for cell in row), "predictions.csv holds no numbers"
    )
    return sum(row[0] != row[-1] for row in rows) / len(rows), len(rows)
