"""Runs inside a base, on its Python: trains the models that the serving tests serve, and what they must answer.

Writes `<zoo>/<name>/` for every model directory and `<zoo>/expected.json`: model → matrix → predictions of the booster
itself, float32 widened to Python numbers.
"""

import json
import os
import pickle
import sys

import numpy as np
import xgboost

MISSING = float("nan")
MATRICES = {
    "rows": [[0.1, 0.2, 0.3, 0.4], [0.9, 0.8, 0.7, 0.6], [0.5, 0.1, 0.9, 0.2]],
    "whole": [[11, 22, 33, 44], [5, 6, 7, 8]],
    "holes": [[0.1, MISSING, 0.3, 0.4], [MISSING] * 4, [MISSING] * 3 + [0.4]],
    "narrow": [[0.1, 0.2, 0.3]],
    "even": [[0.9, MISSING, 0.8]],  # columns 0 and 2
    "odd": [[MISSING, 0.9, MISSING, 0.8]],  # columns 1 and 3
}
RNG = np.random.RandomState(7)
X = RNG.rand(300, 4).astype("float32")
SCORE = X @ np.array([3.0, 1.0, 2.0, 0.5], dtype="float32")
LABELS = {
    "binary:logistic": SCORE > 3.2,
    "multi:softprob": np.digitize(SCORE, [2.6, 3.8]),
    "multi:softmax": np.digitize(SCORE, [2.6, 3.8]),
    "count:poisson": SCORE.astype(int),
}


def train(objective, seed=0):
    """A small booster that uses all four columns."""
    parameters = {"objective": objective, "max_depth": 3, "seed": seed, "subsample": 0.6, "nthread": 1}
    if objective.startswith("multi:"):
        parameters["num_class"] = 3
    return xgboost.train(parameters, xgboost.DMatrix(X, label=LABELS[objective]), 6)


def predictions(booster):
    """Matrix → predictions."""
    return {
        name: booster.predict(xgboost.DMatrix(np.array(rows)), validate_features=False).tolist()
        for name, rows in MATRICES.items()
    }


def write(zoo):
    """All model directories under `zoo`; returns what they must answer."""
    boosters = {
        "logistic": [train("binary:logistic")],
        "softprob": [train("multi:softprob")],
        "ensemble": [train("binary:logistic", seed) for seed in range(2)],
        "votes": [train("multi:softmax", seed) for seed in range(3)],
        "script": [train("binary:logistic")],
    }
    for name, members in boosters.items():
        os.makedirs(os.path.join(zoo, name))
        for number, booster in enumerate(members):
            booster.save_model(os.path.join(zoo, name, f"model-{number}"))
    write_others(zoo)
    return {name: [predictions(booster) for booster in members] for name, members in boosters.items()}


def write_others(zoo):
    """A pickled Poisson model, a file that is no model, and what lies beside models without harm."""
    os.makedirs(os.path.join(zoo, "pickled-poisson"))
    with open(os.path.join(zoo, "pickled-poisson", "xgboost-model"), "wb") as file:
        pickle.dump(train("count:poisson"), file)
    os.makedirs(os.path.join(zoo, "junk"))
    with open(os.path.join(zoo, "junk", "README"), "w") as file:
        file.write("no model")
    os.makedirs(os.path.join(zoo, "ensemble", "folder"))
    beside = [("ensemble", "folder", "README")]
    if not xgboost.__version__.startswith("1.2."):  # 1.2-2 takes a dotfile for a model
        beside.append(("ensemble", ".hidden"))
    for path in beside:
        with open(os.path.join(zoo, *path), "w") as file:
            file.write("no model")


if __name__ == "__main__":
    os.umask(0)  # the container is root, and the tests that read and add to the zoo need not be
    expected = write(sys.argv[1])
    with open(os.path.join(sys.argv[1], "expected.json"), "w") as file:
        json.dump(expected, file)
