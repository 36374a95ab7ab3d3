"""Training jobs: files, exit codes and metrics of the base, of the feature `training`, and of the fixes of training."""

from __future__ import annotations

import csv
import json
import math
import re
from typing import Any

from xgbpatch import provenance
from xgbpatch.contract import jobs, payloads
from xgbpatch.contract.jobs import Trained
from xgbpatch.contract.model import Violation, require
from xgbpatch.contract.server import NEWER
from xgbpatch.contract.session import Session
from xgbpatch.errors import ConfigurationError

# The published regex, with the dataset left open; CloudWatch shows a tab as #011.
METRIC = r".*\[[0-9]+\].*#011{dataset}-{metric}:(\S+)"


def model(session: Session) -> str:
    """A libsvm job ends with exit code 0 and leaves `/opt/ml/model/xgboost-model`."""
    return completed(session.trained(jobs.ABALONE))


def csv_job(session: Session) -> str:
    """The same data as a CSV channel."""
    return completed(session.trained(jobs.ABALONE_CSV))


def printed_metrics(session: Session) -> str:
    """stdout carries one line a round that the published metric regexes read."""
    _, values = (printed_metric(session.trained(jobs.ABALONE), name, "rmse") for name in payloads.ABALONE_CHANNELS)
    require(len(values) == jobs.ROUNDS, f"stdout has the metrics of {len(values)} rounds, not of {jobs.ROUNDS}")
    require(values[-1] < values[0], f"validation-rmse does not fall: {values[0]} to {values[-1]}")
    return f"{jobs.ROUNDS} rounds, validation-rmse {values[0]:g} to {values[-1]:g}"


def user_error(session: Session) -> str:
    """A hyperparameter out of range: exit code not 0, `/opt/ml/output/failure` names it, no model."""
    outcome = session.trained(jobs.BAD)
    require(outcome.exit_code is not None, outcome.ending)
    require(
        outcome.exit_code != 0,
        f'exit code 0, although the hyperparameter "eta" was "{jobs.BAD.hyperparameters["eta"]}"',
    )
    require(bool(outcome.failure), "/opt/ml/output/failure was not written")
    require("eta" in outcome.failure, f'/opt/ml/output/failure does not name "eta": {outcome.failure[-200:]!r}')
    require(not outcome.model.exists(), "a model was written although the job failed")
    return f"{outcome.ending}, failure written"


def printed_metric(outcome: Trained, dataset: str, name: str) -> list[float]:
    """The values of a metric that the published regex finds in stdout, one a line, in order."""
    lines = outcome.stdout.replace("\t", "#011").splitlines()
    pattern = METRIC.format(dataset=dataset, metric=name)
    printed = [match[1].partition("#011")[0] for line in lines if (match := re.match(pattern, line))]
    values = []
    for text in printed:
        try:
            values.append(float(text))
        except ValueError as error:
            raise Violation(f'the metric value "{text}" is no number') from error
        require(math.isfinite(values[-1]), f'the metric value "{text}" is not finite')
    require(bool(values), f'0 lines of stdout match "{pattern}": {outcome.failure.strip()[-300:] or outcome.ending}')
    return values


def completed(outcome: Trained) -> str:
    """Exit code 0, a model and no `/opt/ml/output/failure`; returns the reason for a pass."""
    require(outcome.exit_code == 0, outcome.failure.strip()[-300:] or outcome.ending)
    written = outcome.model.stat().st_size if outcome.model.is_file() else 0
    require(written > 0, "exit code 0, but no /opt/ml/model/xgboost-model was written")
    require(not outcome.failure, f"exit code 0, but /opt/ml/output/failure says {outcome.failure[-200:]!r}")
    return f"model of {written / 1000:.0f} kB"


# Checks of the feature `training`: what a job leaves beside its model, and the hyperparameters that tune it.


_BACKGROUND_ROWS = 100
_PRINTED_METRIC = 2e-5  # two metrics of five decimals


def written_files(session: Session) -> str:
    """Beside the model: feature names, background rows and a record, of the width that the model has."""
    outcome = session.trained(jobs.ABALONE)
    names = _json(outcome, "feature_names.json")
    require(
        len(names) == payloads.ABALONE_FEATURES,
        f"feature_names.json has {len(names)} names, not {payloads.ABALONE_FEATURES}",
    )
    _background(outcome, (_BACKGROUND_ROWS, payloads.ABALONE_FEATURES))
    record = _json(outcome, "record.json")
    expected = {"objective": "reg:squarederror", "features": payloads.ABALONE_FEATURES, "rounds": [jobs.ABALONE.rounds]}
    wrong = [f"{name} is {record.get(name)!r}, not {value!r}" for name, value in expected.items()
             if record.get(name) != value]  # fmt: skip
    require(not wrong, f"record.json: {', '.join(wrong)}")
    require(bool(record.get("xgboost")), "record.json names no xgboost")
    origin = provenance.read(session.image.labels)
    if origin is not None:
        base, digest = record.get("base"), origin.base_digest
        require(digest in str(base), f'record.json names the base "{base}", and the label "{digest}"')
    return f"{len(names)} names, {_BACKGROUND_ROWS} background rows, xgboost {record['xgboost']}"


def importance(session: Session) -> str:
    """Global SHAP importance of each feature on validation, strongest first, the same in CSV and JSON."""
    outcome = session.trained(jobs.ABALONE)
    importance = _json(outcome, "importance.json")
    try:
        pairs = [(str(row["name"]), float(row["importance"])) for row in importance["features"]]
        table = list(csv.reader(_content(outcome, "importance.csv").decode().splitlines()))[1:]
        same = [(name, float(value)) for name, value, *_ in table] == pairs
    except (KeyError, TypeError, ValueError) as error:
        raise Violation(f"importance.json or importance.csv is misshapen: {error!r}") from error
    require(same, "importance.csv and importance.json differ")
    require(
        len(pairs) == payloads.ABALONE_FEATURES, f"{len(pairs)} features are ranked, not {payloads.ABALONE_FEATURES}"
    )
    values = [value for _, value in pairs]
    require(values == sorted(values, reverse=True) and values[0] > 0, f"the importances {values} do not fall")
    require(importance.get("split") == "validation", f'measured on "{importance.get("split")}", not on validation')
    return f"{pairs[0][0]} {values[0]:.3g}, {pairs[1][0]} {values[1]:.3g}, …"


def hyperparameters(session: Session) -> str:
    """Hyperparameters `xgbpatch_…` are taken and obeyed: names, rows of the background, importance switched off."""
    outcome = session.trained(jobs.OBSERVED)
    summary = completed(outcome)
    names = tuple(_json(outcome, "feature_names.json"))
    require(names == jobs.NAMES, f"feature_names.json says {names}, and the hyperparameter {jobs.NAMES}")
    _background(outcome, (jobs.OBSERVED_BACKGROUND, payloads.ABALONE_FEATURES))
    require("importance.json" not in outcome.beside, "importance.json was written for 0 rows")
    return summary


def own_metrics(session: Session) -> str:
    """A metric by its dotted path is printed in each round: scikit-learn's mean absolute error is the base's mae."""
    outcome = session.trained(jobs.OBSERVED)
    ours, base = (printed_metric(outcome, "validation", name) for name in ("mean_absolute_error", "mae"))
    require(len(ours) == len(base), f"{len(ours)} rounds print it, of {len(base)}")
    far = [(one, other) for one, other in zip(ours, base, strict=True) if abs(one - other) > _PRINTED_METRIC]
    require(not far, f"validation-mean_absolute_error and validation-mae differ: {far[:3]}")
    return f"{len(ours)} rounds, {ours[0]:g} to {ours[-1]:g}"


def newer(session: Session) -> str:
    """A model that says that a newer xgboost made it is refused: loaded, it could predict wrongly in silence."""
    completed = session.ended(NEWER)
    log = completed.stdout + completed.stderr
    require("99.0" in log, "`serve` did not load the model, and its log does not name the xgboost that made it")
    return "refused, and the log says why"


def _background(outcome: Trained, expected: tuple[int, int]) -> None:
    try:
        shape = payloads.npy_shape(_content(outcome, "background.npy"))
    except ValueError as error:
        raise Violation(f"background.npy: {error}") from error
    require(shape == expected, f"background.npy holds {shape}, not {expected}")


def _json(outcome: Trained, name: str) -> Any:
    try:
        return json.loads(_content(outcome, name))
    except ValueError as error:
        raise Violation(f"{name} is no JSON: {error}") from error


def _content(outcome: Trained, name: str) -> bytes:
    try:
        content = outcome.beside.get(name)
    except ConfigurationError as error:
        raise Violation(error.message) from error
    if content is None:
        raise Violation(f'the job wrote no "{name}" beside its model: {outcome.ending}')
    return content


# One check for each fix of training that an image carries: the base's bug is gone.


def custom_metrics(session: Session) -> str:
    """custom-metrics: accuracy is 1 - error in each round, on train and validation."""
    outcome = session.trained(jobs.LOGISTIC)
    for dataset in ("train", "validation"):
        pairs = zip(
            printed_metric(outcome, dataset, "accuracy"), printed_metric(outcome, dataset, "error"), strict=True
        )
        for number, (accuracy, error) in enumerate(pairs):
            right = abs(accuracy + error - 1) <= _PRINTED_METRIC
            require(right, f"[{number}] {dataset}-accuracy is {accuracy}, and {dataset}-error {error}")
    return f"validation-accuracy {printed_metric(outcome, 'validation', 'accuracy')[-1]:g}"


def kfold_eval(session: Session) -> str:
    """kfold-eval: a k-fold job reports the error on the rows that each fold left out, as predictions.csv has it."""
    outcome = session.trained(jobs.K_FOLD)
    require(len(outcome.models) == 3, f"{len(outcome.models)} models lie in the model folder of 3 folds")
    printed = printed_metric(outcome, "validation", "error")[-1]  # the summary of all folds
    path = outcome.root / "output" / "data" / "predictions.csv"
    require(path.is_file(), "the k-fold job wrote no output/data/predictions.csv")
    rows = [[float(cell) for cell in row] for row in csv.reader(path.read_text(encoding="ascii").splitlines())]
    numbers = bool(rows) and not any(math.isnan(cell) for row in rows for cell in row)
    require(numbers, "predictions.csv holds no numbers")
    written = sum(row[0] != row[-1] for row in rows) / len(rows)
    # Folds differ by a row or two, so the mean over folds is not quite the mean over rows.
    require(abs(printed - written) <= 0.002, f"stdout says validation-error {printed}, predictions.csv {written:.5f}")
    return f"validation-error {printed:g}, on {len(rows)} rows that were left out in turn"


def checkpoint_resume(session: Session) -> str:
    """checkpoint-resume: a job of 10 rounds that finds checkpoints of 4 trains the other 6, from where they end."""
    before, after = session.trained(jobs.INTERRUPTED), session.trained(jobs.RESUMED)
    completed(before)
    completed(after)
    first, second = (printed_metric(outcome, "validation", "rmse") for outcome in (before, after))
    left = jobs.RESUMED.rounds - jobs.INTERRUPTED.rounds
    require(len(second) == left, f"the resumed job trained {len(second)} rounds, not the {left} that were left")
    require(second[0] < first[-1], f"validation-rmse was {first[-1]} at the end, and {second[0]} after the resumption")
    return f"{left} rounds more, validation-rmse {first[-1]:g} to {second[-1]:g}"


def kfold_checkpoint(session: Session) -> str:
    """kfold-checkpoint: a k-fold job with a checkpoint configuration ends well, and so does its restart."""
    for job in (jobs.FOLDS, jobs.FOLDS_AGAIN):
        outcome = session.trained(job)
        require(outcome.exit_code == 0, outcome.failure.strip()[-300:] or outcome.ending)
        require(len(outcome.models) == 2, f'{len(outcome.models)} models lie in the model folder of job "{job.name}"')
    return "2 models, twice"


def eval_metric_without_objective(session: Session) -> str:
    """eval-metric-without-objective: a job that leaves the objective to xgboost may still name its metric."""
    outcome = session.trained(jobs.UNSTATED)
    summary = completed(outcome)
    return f"{summary}, validation-mae {printed_metric(outcome, 'validation', 'mae')[-1]:g}"


def hyperparameter_encoding(session: Session) -> str:
    """hyperparameter-encoding: JSON text and the `str` of a list are read as what they write."""
    outcome = session.trained(jobs.ENCODED)
    summary = completed(outcome)
    for name in ("rmse", "mae"):
        rounds = len(printed_metric(outcome, "validation", name))
        require(rounds == jobs.ROUNDS, f"stdout has validation-{name} of {rounds} rounds, not of {jobs.ROUNDS}")
    return summary


def metrics(session: Session) -> str:
    """metrics: auc of reg:logistic and a cut-off that the base refuses are printed, and a threshold may be tuned on."""
    outcome = session.trained(jobs.PROBABILITIES)
    completed(outcome)
    names = ("auc", "pre@9", "error@0.7")
    auc, precision, error = (printed_metric(outcome, "validation", name)[-1] for name in names)
    require(0.5 < auc <= 1, f"validation-auc is {auc}, no better than chance")
    require(0 < precision <= 1 and 0 <= error < 1, f"validation-pre@9 is {precision}, validation-error@0.7 {error}")
    return f"validation-auc {auc:g}, validation-error@0.7 {error:g}"


def objectives(session: Session) -> str:
    """objectives: hyperparameters that the base refuses reach xgboost: a seed by its other name, a score below 0."""
    outcome = session.trained(jobs.SEEDED)
    summary = completed(outcome)
    first, plain = (printed_metric(session.trained(job), "train", "rmse")[0] for job in (jobs.SEEDED, jobs.ABALONE))
    require(first > plain, f"train-rmse begins at {first}, with a base_score of -1 no further away than {plain}")
    return f"{summary}, train-rmse begins at {first:g} and not at {plain:g}"


def early_stopping(session: Session) -> str:
    """early-stopping: a linear model of a job that may stop early is saved."""
    outcome = session.trained(jobs.LINEAR)
    summary = completed(outcome)
    return f"{summary}, validation-rmse {min(printed_metric(outcome, 'validation', 'rmse')):g}"
