"""A booster as JSON: its configuration and its trees, read without changing it."""

import inspect
import json
import os
import tempfile


def configuration(booster):
    """The booster's internal configuration, as the base reads it too."""
    return json.loads(booster.save_config())


def width(booster):
    """The number of features `booster` was trained on; `num_features` does not exist before xgboost 1.5."""
    if hasattr(booster, "num_features"):
        return int(booster.num_features())
    return int(configuration(booster)["learner"]["learner_model_param"]["num_feature"])


def document(booster):
    """The whole model. Format: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html"""
    if "raw_format" in inspect.signature(booster.save_raw).parameters:
        return json.loads(bytes(booster.save_raw(raw_format="json")))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.json")
        booster.save_model(path)
        with open(path, encoding="utf-8") as file:
            return json.load(file)


def write(model, path):
    """Write a document where xgboost can load it from; `path` ends in .json."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(model, file)
