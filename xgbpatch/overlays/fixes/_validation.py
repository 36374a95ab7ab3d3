"""Fixes change the base's check of hyperparameters: where it refuses a value, the image's own xgboost is asked."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import warnings
from dataclasses import dataclass
from types import MappingProxyType
from typing import AbstractSet, Any, Callable, Dict, FrozenSet, Iterable, Iterator, Mapping, Optional, Tuple

import numpy as np
import xgboost
from sagemaker_algorithm_toolkit import exceptions
from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation, metrics

Check = Callable[[Any, Dict[str, Any], Callable[[Mapping[str, Any]], Dict[str, Any]]], Dict[str, Any]]


def adapt(check: Check) -> None:
    """Have `check(hyperparameters, given, validate)` stand for the base's `validate(given)`.

    What `check` changes of the base's `hyperparameters` is gone after it, so that the next job is asked anew.
    """
    base = hyperparameter_validation.initialize

    @functools.wraps(base)
    def initialize(*positional: Any, **named: Any) -> Any:
        hyperparameters = base(*positional, **named)
        validate = hyperparameters.validate

        def validate_once(values: Dict[str, Any]) -> Dict[str, Any]:
            with _restored(hyperparameters.hyperparameters):
                return check(hyperparameters, values, validate)

        hyperparameters.validate = validate_once
        return hyperparameters

    hyperparameter_validation.initialize = initialize


@contextlib.contextmanager
def _restored(known: Dict[str, Any]) -> Iterator[None]:
    """Puts every hyperparameter of `known` back as it was."""
    copies = {name: (hyperparameter, dict(vars(hyperparameter))) for name, hyperparameter in known.items()}
    try:
        yield
    finally:
        known.clear()
        for name, (hyperparameter, attributes) in copies.items():
            vars(hyperparameter).clear()
            vars(hyperparameter).update(attributes)
            known[name] = hyperparameter


def appeal(hyperparameter: Any, method: str, ask: Callable[..., None]) -> Callable[..., None]:
    """Have `ask(refusal, *arguments)` decide where the base's `method` refuses a value of `hyperparameter`.

    It returns where the value is to pass, and raises what is to be said. Returns the base's method.
    """
    base: Callable[..., None] = getattr(hyperparameter, method)

    def decide(*arguments: Any) -> None:
        try:
            base(*arguments)
        except exceptions.UserError as refusal:
            ask(refusal, *arguments)

    setattr(hyperparameter, method, decide)
    return base


def left_to(base_refuses: Mapping[str, str]) -> str:
    """Why a fix is not needed, or an empty string: whether the base refuses a job with these hyperparameters."""
    try:
        hyperparameter_validation.initialize(metrics.initialize()).validate(dict(base_refuses))
    except exceptions.UserError:
        return ""
    except Exception as error:
        return "this base has its own answer ({}: {})".format(type(error).__name__, error)
    return "this base leaves it to its xgboost"


# What the xgboost of this image knows: asked of itself, on a few rows, so that no list of ours ages.
#
# A trial configures a booster and evaluates it; no round is trained. It leaves nothing in the log of the job.


NAME = "xgboost {}".format(xgboost.__version__)
_NO_PART = frozenset(["eval_metric", "disable_default_eval_metric", "process_type", "verbosity", "nthread", "n_jobs"])
_OF_WIDTH = frozenset(["monotone_constraints", "interaction_constraints"])
_OF_MACHINE = frozenset(["tree_method", "updater", "predictor", "device", "gpu_id"])
_UNUSED = re.compile(r"Parameters: \{(.*?)\}", re.DOTALL)
_XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
_WIDE_MARGINS = _XGBOOST >= (1, 6)
_ALONE = {"nthread": 1} if _XGBOOST >= (1, 6) else {}  # for a few rows; before, the whole process would keep it
_ROWS, _COLUMNS, _MOST_ROWS = 8, 2, 1e4
_FAR = 1e6 + 0.5  # a label that no class and no probability has


class RefusedByXgboost(Exception):
    """What xgboost says against it, without the place in its source and the stack."""


@dataclass(frozen=True)
class PrintedMetric:
    """A metric by the name that xgboost prints; `maximize` is None where good and bad predictions are alike to it."""

    name: str
    maximize: Optional[bool]


def unused(job: Mapping[str, Any], constraints: Iterable[str]) -> FrozenSet[str]:
    """The names among the hyperparameters `job` that xgboost does not use, and those that have no part in a trial.

    Those are what a trial sets itself, and threads, which xgboost 1.2 keeps for good. Constraints belong to the width
    of the data; they take part where `constraints` names them. Raises RefusedByXgboost.
    """
    left_out = _NO_PART | (_OF_WIDTH - set(constraints))
    with _listening() as messages:
        _evaluation(dict(_without(job, left_out), disable_default_eval_metric=1), _matrix(np.zeros(_ROWS)))
    match = _UNUSED.search(messages())
    names = match.group(1).split(",") if match else []
    return left_out | {name.strip(' "\n') for name in names}


def outputs(job: Mapping[str, Any]) -> int:
    """How many numbers a model trained with `job` predicts for a row; raises RefusedByXgboost."""
    with _listening():
        matrix = _matrix(np.zeros(_ROWS))
        booster = xgboost.Booster(dict(_plain(job), **_ALONE), [matrix])
        margins = booster.predict(matrix, output_margin=True)
    return 1 if margins.ndim == 1 else int(margins.shape[1])


def confines_labels(job: Mapping[str, Any]) -> bool:
    """Whether the objective of `job` takes classes or probabilities only, and no other number for a label."""
    try:
        with _listening():
            matrix = _matrix(np.resize([1.0, _FAR], _ROWS), job)
            xgboost.train(dict(_plain(job), **_ALONE), matrix, num_boost_round=1)
    except Exception:
        return True
    return False


def metric(job: Mapping[str, Any], name: str) -> PrintedMetric:
    """The metric `name` as xgboost computes it for the objective of `job`; raises RefusedByXgboost."""
    parameters = dict(_plain(job), eval_metric=name)
    count = outputs(job)
    classes = count if _has_classes(job) else 0
    rows = 4 * int(_cut_off(name)) + 2 * max(classes, 4)
    printed, maximize, refusals = "", None, []
    for levels in ((0.0, 1.0), (1.0, 2.0)):  # some metrics take 0 and 1 only, others no 0
        labels = np.resize(np.arange(float(classes)) if classes else np.array(levels), rows)
        good = (
            6.0 * (labels[:, None] == np.arange(classes)) - 3 if classes else np.repeat(labels[:, None], count, axis=1)
        )
        bad = np.roll(good, 1, axis=0)
        if job.get("objective") == "survival:cox":  # a high margin is a short life
            good, bad = bad, good
        try:
            printed, best = _evaluated(parameters, labels, good)
            _, worst = _evaluated(parameters, labels, bad)
        except RefusedByXgboost as error:
            refusals.append(error)
            continue
        if np.isfinite([best, worst]).all() and best != worst:
            maximize = bool(best > worst)
            break
    if not printed:
        raise refusals[0]
    if "@" in name and printed == name.partition("@")[0] and not _has_parameter(parameters, name):
        raise RefusedByXgboost("it computes {} without what stands behind the @".format(printed))
    if maximize is None and "@" not in name and _has_parameter(parameters, name):
        maximize = metric(job, name + "@2").maximize  # of all rows it says nothing
    return PrintedMetric(printed, maximize)


def _cut_off(name: str) -> float:
    """How many rows a metric looks at, such as 5 of ndcg@5-, where that is what its parameter says."""
    try:
        return min(max(1.0, float(name.partition("@")[2].rstrip("-"))), _MOST_ROWS)
    except ValueError:
        return 1.0


def _has_parameter(parameters: Mapping[str, Any], name: str) -> bool:
    """Whether the metric has one; error@0.5 is printed as error, because that is its own."""
    try:
        with _listening():
            labels = np.resize([0.0, 1.0], _ROWS)
            numbered = dict(parameters, eval_metric=name.partition("@")[0] + "@2")
            other = _evaluation(numbered, _matrix(labels, parameters))
    except RefusedByXgboost:
        return False
    return "@" in other


def _has_classes(job: Mapping[str, Any]) -> bool:
    return str(job.get("objective", "")).startswith("multi:")


def _evaluated(parameters: Mapping[str, Any], labels: np.ndarray, margins: np.ndarray) -> Tuple[str, float]:
    """The metric's printed name, and its value for predictions of `margins`, (rows, outputs)."""
    matrix = _matrix(labels, parameters)
    matrix.set_base_margin(margins if _WIDE_MARGINS and margins.shape[1] > 1 else margins.ravel())
    with _listening():
        text = _evaluation(parameters, matrix)
    printed, _, value = text.split("\teval-")[-1].rpartition(":")
    return printed, float(value)


def _plain(job: Mapping[str, Any]) -> Dict[str, Any]:
    """The hyperparameters that a prediction depends on."""
    return _without(job, _NO_PART | _OF_WIDTH | _OF_MACHINE | {"booster", "base_score"})


def _without(job: Mapping[str, Any], names: AbstractSet[str]) -> Dict[str, Any]:
    return {name: value for name, value in job.items() if name not in names}


def _matrix(labels: np.ndarray, job: Mapping[str, Any] = MappingProxyType({})) -> xgboost.DMatrix:
    """Rows with `labels`, which are logarithms of lifetimes where the objective of `job` asks for these."""
    values = np.column_stack([labels] * _COLUMNS).astype(np.float32)
    matrix = xgboost.DMatrix(values, label=labels.astype(np.float32))
    if job.get("objective") == "survival:aft":
        lifetimes = np.exp(np.minimum(labels, 10.0))
        matrix.set_float_info("label_lower_bound", 0.9 * lifetimes)
        matrix.set_float_info("label_upper_bound", 1.1 * lifetimes)
    return matrix


def _evaluation(parameters: Mapping[str, Any], matrix: xgboost.DMatrix) -> str:
    """The line of a booster without rounds; before it is evaluated, xgboost looks at its parameters."""
    booster = xgboost.Booster(dict(parameters, verbosity=1, validate_parameters=1, **_ALONE), [matrix])
    line: str = booster.eval(matrix)
    return line


@contextlib.contextmanager
def _listening() -> Iterator[Any]:
    """What xgboost says is heard, and not printed (old versions) or warned of; its errors become RefusedByXgboost."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            yield lambda: "".join([stream.getvalue()] + [str(each.message) for each in warned])
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise RefusedByXgboost(message(error)) from error


def message(error: BaseException) -> str:
    """The first line of an error of xgboost that says something."""
    text = re.sub(r"^\[[0-9:]+\] \S+?:\d+: ", "", str(error).partition("Stack trace")[0].strip())
    line = text.split("\n")[0].strip()
    return re.sub(r"^Check failed: ", "", line).rstrip(": ")
