"""Small models of every kind, trained by the xgboost at hand with fixed seeds."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np
import xgboost

FEATURES = 6
ROWS = 160
XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])


@dataclass(frozen=True)
class Specimen:
    """How a model is trained, and what has to be true of it. `labels(random, x)` makes the targets."""

    parameters: dict[str, Any]
    labels: Callable[[Any, Any], Any]
    rounds: int = 8
    missing: bool = False
    early_stopping: bool = False
    pickled: bool = False

    @property
    def classes(self):
        return self.parameters.get("num_class", 1)


def _score(random, x):
    return (2 * x[:, 0] - x[:, 1] * x[:, 2] + 0.3 * random.standard_normal(len(x))).astype(np.float32)


def _positive(random, x):
    return np.exp(_score(random, x) / 3).astype(np.float32)


def _binary(random, x):
    return (_score(random, x) > 0).astype(np.float32)


def _classes(count):
    def labels(random, x):
        return np.clip(np.digitize(_score(random, x), np.linspace(-2, 2, count - 1)), 0, count - 1).astype(np.float32)

    return labels


def _specimen(objective, labels, **more):
    parameters = dict(
        {"objective": objective, "max_depth": 4, "eta": 0.4, "seed": 7, "nthread": 1}, **more.pop("p", {})
    )
    return Specimen(parameters, labels, **more)


ZOO = {
    "regression": _specimen("reg:squarederror", _score),
    "regression-base-score": _specimen("reg:squarederror", _score, p={"base_score": 3.7}),
    "binary": _specimen("binary:logistic", _binary),
    "binary-base-score": _specimen("binary:logistic", _binary, p={"base_score": 0.2}),
    "reg-logistic": _specimen("reg:logistic", _binary, p={"base_score": 0.3}),
    "logitraw": _specimen("binary:logitraw", _binary, p={"base_score": 0.3}),
    "hinge": _specimen("binary:hinge", _binary),
    "poisson": _specimen("count:poisson", _positive),
    "gamma": _specimen("reg:gamma", _positive),
    "tweedie": _specimen("reg:tweedie", _positive),
    "cox": _specimen("survival:cox", _positive),
    "rank": _specimen("rank:pairwise", _binary),
    "softprob": _specimen("multi:softprob", _classes(3), p={"num_class": 3}),
    "softmax": _specimen("multi:softmax", _classes(4), p={"num_class": 4}),
    "softprob-two-classes": _specimen("multi:softprob", _binary, p={"num_class": 2}),
    "missing": _specimen("reg:squarederror", _score, missing=True),
    "dart": _specimen("reg:squarederror", _score, rounds=12, p={"booster": "dart", "rate_drop": 0.5, "one_drop": 1}),
    "dart-binary": _specimen("binary:logistic", _binary, rounds=12, p={"booster": "dart", "rate_drop": 0.5}),
    "gblinear": _specimen("reg:squarederror", _score, p={"booster": "gblinear"}),
    "forest": _specimen("reg:squarederror", _score, p={"num_parallel_tree": 3, "subsample": 0.7}),
    "forest-softprob": _specimen(
        "multi:softprob", _classes(3), p={"num_class": 3, "num_parallel_tree": 2, "subsample": 0.7}
    ),
    "early-stopping": _specimen("binary:logistic", _binary, rounds=60, early_stopping=True),
    "early-stopping-forest": _specimen(
        "binary:logistic", _binary, rounds=60, early_stopping=True, p={"num_parallel_tree": 2, "subsample": 0.7}
    ),
    "pickled": _specimen("reg:squarederror", _score, pickled=True),
    "pickled-early-stopping": _specimen(
        "multi:softprob", _classes(3), rounds=60, early_stopping=True, pickled=True, p={"num_class": 3}
    ),
    "one-stump": _specimen("reg:squarederror", _score, rounds=1, p={"max_depth": 1}),
    "root-only": _specimen("reg:squarederror", _score, rounds=3, p={"gamma": 1e9}),
    "deep": _specimen("reg:squarederror", _score, rounds=3, p={"max_depth": 12, "min_child_weight": 0}),
}


def inputs(missing=False, rows=ROWS, seed=3):
    """float64 (rows, FEATURES) with few decimals, as a request carries them."""
    random = np.random.RandomState(seed)
    x = np.round(random.standard_normal((rows, FEATURES)), 3)
    if missing:
        x[random.rand(*x.shape) < 0.2] = np.nan
    return x


def train(specimen):
    """The booster of a specimen."""
    x = inputs(specimen.missing)
    y = specimen.labels(np.random.RandomState(5), np.nan_to_num(x))
    noise = np.random.RandomState(11).permutation(y)
    matrix = xgboost.DMatrix(x, label=y)
    stopping = {}
    if specimen.early_stopping:
        stopping = {"evals": [(xgboost.DMatrix(x, label=noise), "noise")], "early_stopping_rounds": 3}
        matrix = xgboost.DMatrix(x, label=np.where(np.arange(len(y)) % 3 == 0, y, noise))
    return xgboost.train(specimen.parameters, matrix, specimen.rounds, verbose_eval=False, **stopping)


def save(specimen, folder, name="xgboost-model"):
    """Train and write a model file as SageMaker's training of that version would, or as a pickle; returns its path."""
    booster, path = train(specimen), Path(str(folder)) / name
    if specimen.pickled:
        path.write_bytes(pickle.dumps(booster))
    else:
        booster.save_model(str(path))
    return path


def csv(x):
    """`x` as a CSV request; a missing value is an empty cell."""
    return "\n".join(",".join("" if np.isnan(cell) else repr(float(cell)) for cell in row) for row in x)


def libsvm(x):
    """`x` as a libsvm request with 0-based indices; a missing value is absent."""
    lines = (" ".join(f"{i}:{float(v)!r}" for i, v in enumerate(row) if not np.isnan(v)) for row in x)
    return "\n".join("0 " + line for line in lines)
