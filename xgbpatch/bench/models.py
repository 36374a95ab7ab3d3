"""The benchmark's models, made by the xgboost that runs this: models.py FOLDER NAME..., on Python 3.7 and newer.

Each lands in FOLDER/NAME/xgboost-model, in JSON. Seeds are fixed and one thread trains, so that a version of xgboost
makes the same model each time.
"""

import os
import sys
from typing import Any, List

MISSING = 0.02  # the share of cells that training leaves out
# name: features, classes (0: a regression, 1: logistic), rounds, depth, rows to train on
RECIPES = {
    "A": (8, 0, 50, 6, 4000),
    "B": (100, 1, 500, 6, 4000),
    "C": (100, 0, 1000, 8, 4000),
    "D": (20, 5, 50, 6, 4000),
    "E": (30, 0, 20, 16, 40000),
    "F": (20, 0, 100, 6, 4000),
    "tiny": (8, 0, 5, 3, 500),
    "25 trees": (20, 0, 25, 6, 4000),
    "400 trees": (20, 0, 400, 6, 4000),
    "1600 trees": (20, 0, 1600, 6, 4000),
    "depth 3": (20, 0, 100, 3, 4000),
    "depth 9": (20, 0, 100, 9, 8000),
    "depth 12": (20, 0, 100, 12, 16000),
    "5 features": (5, 0, 100, 6, 4000),
    "100 features": (100, 0, 100, 6, 4000),
    "1000 features": (1000, 0, 100, 6, 4000),
    "3 classes": (20, 3, 100, 6, 4000),
    "10 classes": (20, 10, 100, 6, 8000),
}
GROWTH = list(RECIPES)[list(RECIPES).index("tiny") + 1 :]  # F with one of its sizes less or more


def train(features: int, classes: int, rounds: int, depth: int, rows: int) -> Any:
    """A booster of invented rows, whose target needs many features and has noise enough for full trees."""
    import numpy as np
    import xgboost as xgb

    random = np.random.RandomState(features * 1000 + depth)
    data = random.rand(rows, features).astype(np.float32)
    weights = random.rand(features)
    target = data.dot(weights) + np.sin(6 * data[:, 0]) * data[:, 1] + 0.3 * random.randn(rows)
    data[random.rand(rows, features) < MISSING] = np.nan
    # Many trees learn slowly: a model that is sure early ends in stumps.
    options = {
        "max_depth": depth,
        "eta": 0.1 if rounds < 500 else 0.02,
        "tree_method": "hist",
        "max_bin": 64,
        "nthread": 1,
        "seed": 0,
    }
    if classes > 1:
        target = np.argsort(np.argsort(target)) * classes // rows
        options.update(objective="multi:softprob", num_class=classes)
    elif classes:
        target = (target > np.median(target)).astype(np.float32)
        options.update(objective="binary:logistic", min_child_weight=0)
    else:
        options.update(objective="reg:squarederror")
    return xgb.train(options, xgb.DMatrix(data, label=target), rounds)


def main(arguments: List[str]) -> None:
    """Make each model that is not there yet."""
    folder, names = arguments[0], arguments[1:]
    for name in names:
        target = os.path.join(folder, name)
        if not os.path.isdir(target):
            os.makedirs(target + ".part", exist_ok=True)
            path = os.path.join(target + ".part", "made.json")  # the suffix is the form to an old xgboost and a new one
            train(*RECIPES[name]).save_model(path)
            os.rename(path, os.path.join(target + ".part", "xgboost-model"))
            os.rename(target + ".part", target)


if __name__ == "__main__":
    main(sys.argv[1:])
