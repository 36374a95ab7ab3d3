"""Models of every kind, trained by the xgboost at hand with fixed seeds.

`ZOO` are the small ones, for tests that train one or all of them; `SPECIMENS` adds the rare and the large, and
`ENSEMBLES` folders of several. `python zoo.py FOLDER [NAME ...]` writes them (scripts/zoo: for each version's xgboost).
"""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

import numpy as np
import xgboost

FEATURES = 6
ROWS = 160
XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
CATEGORIES = 5


@dataclass(frozen=True)
class Specimen:
    """How a model is trained, and what has to be true of it. `labels(random, x)` makes the targets.

    `form` is the suffix that tells xgboost how to write the file, empty for its default. `quick` ones make up `ZOO`.
    """

    parameters: dict[str, Any]
    labels: Callable[[Any, Any], Any]
    rounds: int = 8
    missing: bool = False
    early_stopping: bool = False
    pickled: bool = False
    form: str = ""
    features: int = FEATURES
    rows: int = ROWS
    categorical: bool = False
    named: bool = False
    since: tuple = (1, 2)
    until: tuple = (99, 0)
    quick: bool = True

    @property
    def classes(self):
        return self.parameters.get("num_class", 1)

    @property
    def here(self):
        """Whether the xgboost at hand can train it."""
        return self.since <= XGBOOST < self.until


def _score(random, x):
    second, third = x[:, 1 % x.shape[1]], x[:, 2 % x.shape[1]]
    return (2 * x[:, 0] - second * third + 0.3 * random.standard_normal(len(x))).astype(np.float32)


def _positive(random, x):
    return np.exp(_score(random, x) / 3).astype(np.float32)


def _binary(random, x):
    return (_score(random, x) > 0).astype(np.float32)


def _two(random, x):
    return np.stack([_score(random, x), _score(random, x[:, ::-1])], axis=1)


def _classes(count):
    def labels(random, x):
        return np.clip(np.digitize(_score(random, x), np.linspace(-2, 2, count - 1)), 0, count - 1).astype(np.float32)

    return labels


def _specimen(objective, labels, **more):
    parameters = dict(
        {"objective": objective, "max_depth": 4, "eta": 0.4, "seed": 7, "nthread": 1}, **more.pop("p", {})
    )
    return Specimen(parameters, labels, **more)


def _rare(objective, labels, **more):
    return _specimen(objective, labels, quick=False, **more)


_QUICK = {
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

_RARE = {
    "squared-log": _rare("reg:squaredlogerror", _positive),
    "pseudo-huber": _rare("reg:pseudohubererror", _score),
    "absolute": _rare("reg:absoluteerror", _score, since=(1, 7)),
    "quantile": _rare("reg:quantileerror", _score, p={"quantile_alpha": 0.8}, since=(2, 0)),
    "quantiles": _rare("reg:quantileerror", _score, p={"quantile_alpha": [0.2, 0.8]}, since=(2, 0)),
    "aft": _rare("survival:aft", _positive, p={"aft_loss_distribution": "normal", "aft_loss_distribution_scale": 1.2}),
    "rank-ndcg": _rare("rank:ndcg", _binary),
    "rank-map": _rare("rank:map", _binary),
    "poisson-base-score": _rare("count:poisson", _positive, p={"base_score": 2.5}),
    "softprob-base-score": _rare("multi:softprob", _classes(3), p={"num_class": 3, "base_score": 0.9}),
    "two-targets": _rare("reg:squarederror", _two, since=(1, 7)),
    "vector-leaves": _rare(
        "reg:squarederror", _two, p={"multi_strategy": "multi_output_tree", "tree_method": "hist"}, since=(2, 0)
    ),
    "categorical": _rare(
        "reg:squarederror", _score, p={"tree_method": "approx"}, categorical=True, form=".json", since=(1, 7)
    ),
    "categorical-binary": _rare(
        "binary:logistic",
        _binary,
        p={"tree_method": "hist"},
        categorical=True,
        missing=True,
        form=".json",
        since=(1, 7),
    ),
    "missing-binary": _rare("binary:logistic", _binary, missing=True),
    "missing-softprob": _rare("multi:softprob", _classes(3), missing=True, p={"num_class": 3}),
    "gblinear-binary": _rare("binary:logistic", _binary, p={"booster": "gblinear"}),
    "gblinear-softprob": _rare("multi:softprob", _classes(3), p={"booster": "gblinear", "num_class": 3}),
    "dart-softprob": _rare(
        "multi:softprob", _classes(3), rounds=12, p={"booster": "dart", "rate_drop": 0.5, "num_class": 3}
    ),
    "dart-early-stopping": _rare(
        "binary:logistic", _binary, rounds=30, early_stopping=True, p={"booster": "dart", "rate_drop": 0.2}
    ),
    "lossguide": _rare(
        "binary:logistic",
        _binary,
        p={"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0, "tree_method": "hist"},
    ),
    "named": _rare("reg:squarederror", _score, named=True),
    "named-pickled": _rare("binary:logistic", _binary, named=True, pickled=True),
    "pickled-softmax": _rare("multi:softmax", _classes(4), pickled=True, p={"num_class": 4}),
    "json": _rare("binary:logistic", _binary, form=".json"),
    "ubj": _rare("binary:logistic", _binary, form=".ubj", since=(1, 6)),
    "deprecated-binary": _rare("binary:logistic", _binary, form=".deprecated", since=(1, 6), until=(3, 1)),
    "one-feature": _rare("reg:squarederror", _score, features=1),
    "one-feature-pickled": _rare("binary:logistic", _binary, features=1, pickled=True),
    "forty-features": _rare("binary:logistic", _binary, features=40, rounds=30),
    "thousand-features": _rare(
        "reg:squarederror", _score, features=1000, rows=400, rounds=20, p={"colsample_bytree": 0.3}
    ),
    "hundred-trees": _rare("binary:logistic", _binary, rounds=100, rows=1000, p={"eta": 0.1}),
    "thousand-trees": _rare("reg:squarederror", _score, rounds=1000, rows=500, p={"eta": 0.02, "max_depth": 6}),
    "thousand-trees-softprob": _rare("multi:softprob", _classes(5), rounds=200, p={"num_class": 5, "eta": 0.05}),
    "twenty-classes": _rare("multi:softprob", _classes(20), rows=1000, p={"num_class": 20, "max_depth": 3}),
    "deep-large": _rare(
        "binary:logistic", _binary, rounds=40, rows=4000, features=20, p={"max_depth": 12, "min_child_weight": 0}
    ),
}

SPECIMENS = {name: specimen for name, specimen in {**_QUICK, **_RARE}.items() if specimen.here}
ZOO = {name: specimen for name, specimen in SPECIMENS.items() if specimen.quick}

_MODEL_FILES: dict[str, bytes] = {}  # by the repr of the specimen

ENSEMBLES = {
    "ensemble": ("regression", "regression-base-score", "dart"),
    "ensemble-binary": ("binary", "binary-base-score", "early-stopping"),
    "ensemble-softprob": ("softprob", "forest-softprob"),
    "ensemble-votes": ("softmax", "pickled-softmax", "softmax"),
    "ensemble-hinge": ("hinge", "hinge", "hinge"),
    "ensemble-forms": ("regression", "pickled"),
}  # a specimen that stands twice is trained a second time with another step, see `members`


def members(name):
    """The specimens of an ensemble; each one differs from the others."""
    return [
        replace(SPECIMENS[member], parameters=dict(SPECIMENS[member].parameters, eta=0.4 - 0.1 * number))
        for number, member in enumerate(ENSEMBLES[name])
    ]


def inputs(missing=False, rows=ROWS, seed=3, features=FEATURES):
    """float64 (rows, features) with few decimals, as a request carries them."""
    random = np.random.RandomState(seed)
    x = np.round(random.standard_normal((rows, features)), 3)
    if missing:
        x[random.rand(*x.shape) < 0.2] = np.nan
    return x


def inputs_of(specimen, rows=None, seed=3):
    """Rows that suit a specimen: its width, its missing values, and its categories in the first column."""
    x = inputs(specimen.missing, rows or specimen.rows, seed, specimen.features)
    if specimen.categorical:
        x[:, 0] = np.random.RandomState(seed).randint(0, CATEGORIES, len(x))
    return x


def train(specimen):
    """The booster of a specimen."""
    x = inputs_of(specimen)
    y = specimen.labels(np.random.RandomState(5), np.nan_to_num(x))
    noise = np.random.RandomState(11).permutation(y)
    matrix = _matrix(specimen, x, y)
    stopping = {}
    if specimen.early_stopping:
        stopping = {"evals": [(_matrix(specimen, x, noise), "noise")], "early_stopping_rounds": 3}
        matrix = _matrix(specimen, x, np.where(np.arange(len(y)) % 3 == 0, y, noise))
    return xgboost.train(specimen.parameters, matrix, specimen.rounds, verbose_eval=False, **stopping)


def _matrix(specimen, x, y):
    more = {}
    if specimen.named:
        more["feature_names"] = [f"feature {letter}" for letter in "abcdef"]
    if specimen.categorical:
        more.update(feature_types=["c"] + ["q"] * (x.shape[1] - 1), enable_categorical=True)
    matrix = xgboost.DMatrix(x, label=y, **more)
    if specimen.parameters["objective"] == "survival:aft":
        matrix.set_float_info("label_lower_bound", y)
        matrix.set_float_info("label_upper_bound", y * 1.5)
    return matrix


def save(specimen, folder, name="xgboost-model"):
    """Write a model file as SageMaker's training of that version would, or as a pickle; returns its path.

    A process trains a specimen once, and writes the same bytes from then on.
    """
    path = Path(str(folder)) / name
    if repr(specimen) in _MODEL_FILES:
        path.write_bytes(_MODEL_FILES[repr(specimen)])
        return path
    booster = train(specimen)
    if specimen.pickled:
        path.write_bytes(pickle.dumps(booster))
    else:
        written = path.with_name(name + specimen.form)
        booster.save_model(str(written))
        written.rename(path)
    _MODEL_FILES[repr(specimen)] = path.read_bytes()
    return path


def csv(x):
    """`x` as a CSV request; a missing value is an empty cell."""
    return "\n".join(",".join("" if np.isnan(cell) else repr(float(cell)) for cell in row) for row in x)


def libsvm(x):
    """`x` as a libsvm request with 0-based indices; a missing value is absent."""
    lines = (" ".join(f"{i}:{float(v)!r}" for i, v in enumerate(row) if not np.isnan(v)) for row in x)
    return "\n".join("0 " + line for line in lines)


def write(folder, names):
    """One directory a name under `folder`; returns what `zoo.json` says of them."""
    return {name: _write(folder / name, name) for name in names}


def _write(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    specimens = members(name) if name in ENSEMBLES else [SPECIMENS[name]]
    files = [f"xgboost-model-{number}" for number in range(len(specimens))]
    if len(files) == 1:
        files = ["xgboost-model"]
    paths = [save(specimen, folder, file) for specimen, file in zip(specimens, files)]
    first = specimens[0]
    return {
        "objective": first.parameters["objective"],
        "booster": first.parameters.get("booster", "gbtree"),
        "features": first.features,
        "classes": first.classes,
        "missing": first.missing,
        "categorical": first.categorical,
        "sha256": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths},
    }


def main(arguments):
    """Write the models named, or all, and `zoo.json` beside them."""
    folder, names = Path(arguments[0]), arguments[1:] or [*SPECIMENS, *ENSEMBLES]
    unknown = [name for name in names if name not in SPECIMENS and name not in ENSEMBLES]
    if unknown:
        known = ", ".join([*SPECIMENS, *ENSEMBLES])
        return f'zoo: xgboost {xgboost.__version__} has no model "{unknown[0]}"; known: {known}'
    described = {"xgboost": xgboost.__version__, "numpy": np.__version__, "models": write(folder, names)}
    (folder / "zoo.json").write_text(json.dumps(described, indent=1) + "\n")
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
