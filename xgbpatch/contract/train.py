"""Checks of `train` under SageMaker's file contract."""

from __future__ import annotations

import math
import re

from xgbpatch.contract import abalone
from xgbpatch.contract.finding import Violation, require
from xgbpatch.contract.jobs import ABALONE, ABALONE_CSV, BAD
from xgbpatch.contract.session import Session
from xgbpatch.contract.training import ROUNDS, Trained

# The published regex (facts 4.4), with the dataset left open; CloudWatch shows a tab as #011.
METRIC = r".*\[[0-9]+\].*#011{dataset}-{metric}:(\S+)"


def model(session: Session) -> str:
    """A libsvm job ends with exit code 0 and leaves `/opt/ml/model/xgboost-model`."""
    return completed(session.trained(ABALONE))


def csv(session: Session) -> str:
    """The same data as a CSV channel."""
    return completed(session.trained(ABALONE_CSV))


def metrics(session: Session) -> str:
    """stdout carries one line a round that the published metric regexes read."""
    _, values = (metric(session.trained(ABALONE), name, "rmse") for name in abalone.CHANNELS)
    require(len(values) == ROUNDS, f"stdout has the metrics of {len(values)} rounds, not of {ROUNDS}")
    require(values[-1] < values[0], f"validation-rmse does not fall: {values[0]} to {values[-1]}")
    return f"{ROUNDS} rounds, validation-rmse {values[0]:g} to {values[-1]:g}"


def user_error(session: Session) -> str:
    """A hyperparameter out of range: exit code not 0, `/opt/ml/output/failure` names it, no model."""
    outcome = session.trained(BAD)
    require(outcome.exit_code is not None, outcome.ending)
    require(
        outcome.exit_code != 0, f'exit code 0, although the hyperparameter "eta" was "{BAD.hyperparameters["eta"]}"'
    )
    require(bool(outcome.failure), "/opt/ml/output/failure was not written")
    require("eta" in outcome.failure, f'/opt/ml/output/failure does not name "eta": {outcome.failure[-200:]!r}')
    require(not outcome.model.exists(), "a model was written although the job failed")
    return f"{outcome.ending}, failure written"


def metric(outcome: Trained, dataset: str, name: str) -> list[float]:
    """The values of a metric that the published regex finds in stdout, one a line, in order."""
    lines = outcome.stdout.replace("\t", "#011").splitlines()
    pattern = METRIC.format(dataset=dataset, metric=name)
    found = [_number(match[1].partition("#011")[0]) for line in lines if (match := re.match(pattern, line))]
    require(bool(found), f'0 lines of stdout match "{pattern}": {outcome.failure.strip()[-300:] or outcome.ending}')
    return found


def completed(outcome: Trained) -> str:
    """Exit code 0, a model and no `/opt/ml/output/failure`; returns the reason for a pass."""
    require(outcome.exit_code == 0, outcome.failure.strip()[-300:] or outcome.ending)
    written = outcome.model.stat().st_size if outcome.model.is_file() else 0
    require(written > 0, "exit code 0, but no /opt/ml/model/xgboost-model was written")
    require(not outcome.failure, f"exit code 0, but /opt/ml/output/failure says {outcome.failure[-200:]!r}")
    return f"model of {written / 1000:.0f} kB"


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise Violation(f'the metric value "{text}" is no number') from error
    require(math.isfinite(value), f'the metric value "{text}" is not finite')
    return value
