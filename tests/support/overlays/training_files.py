"""What the feature `training` writes beside a model, and data to train on."""

import importlib.util

import numpy as np
import xgboost
from xgbpatch_overlays.model import folder

XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
DRAWS = importlib.util.find_spec("matplotlib") is not None  # every official base; not the stand-ins
FILES = {"record.json", "feature_names.json", "background.npy", "importance.csv", "importance.json"}
FILES |= {"importance.png"} if DRAWS else set()
FEATURES = 4


def table(classes, count=240):
    """Label, then four features of falling weight, the last without any; one in ten of the third is missing."""
    random = np.random.RandomState(7)
    features = random.rand(count, FEATURES).round(5)
    score = 3 * features[:, 0] + features[:, 1] + 0.1 * random.rand(count)
    label = np.floor(classes * (score - score.min()) / (np.ptp(score) + 1e-6)) if classes else score
    return np.column_stack([label, features]).round(6)


def beside(model):
    """What was written beside the model, by name: a hidden file, or a folder where the base would load that."""
    hidden, visible = model / folder.FILE, model / folder.FOLDER
    assert not (hidden.exists() and visible.exists())
    contents = {path.name: path.read_bytes() for path in visible.glob("*")}
    return dict(folder.entries(str(hidden)), **contents)
