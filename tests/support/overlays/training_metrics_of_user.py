"""A module of a user's, as `xgbpatch build --file` makes it importable in the image."""

import json
import os

import numpy as np


def spread(y_true, y_pred):
    """Larger each time, so that minimising it stops early."""
    spread.value = getattr(spread, "value", 0) + 1
    return spread.value


def seen(y_true, y_pred):
    """The mean absolute error; what it was called with is appended to a file."""
    with open(os.environ["SM_OUTPUT_DATA_DIR"] + "/seen", "a") as file:
        file.write(json.dumps([np.asarray(y_true).tolist(), np.asarray(y_pred).tolist()]) + "\n")
    return np.abs(np.ravel(y_true)[:, None] - np.asarray(y_pred).reshape(len(y_true), -1)).mean()


def broken(y_true, y_pred):
    raise ZeroDivisionError("by me")


def later(y_true, y_pred):
    later.calls = getattr(later, "calls", 0) + 1
    return 1 / (later.calls < 5)


def one(y_true):
    return 0.0


def rmse(y_true, y_pred):
    return 0.0
