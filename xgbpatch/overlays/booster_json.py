"""A booster as JSON: its configuration and its trees, read without changing it."""

from __future__ import annotations

import inspect
import json
import os
import tempfile
from typing import Any, Dict

import xgboost


def configuration(booster: xgboost.Booster) -> Dict[str, Any]:
    """The booster's internal configuration, as the base reads it too."""
    found: Dict[str, Any] = json.loads(booster.save_config())
    return found


def width(booster: xgboost.Booster) -> int:
    """The number of features `booster` was trained on; `num_features` does not exist before xgboost 1.5."""
    if hasattr(booster, "num_features"):
        return int(booster.num_features())
    return int(configuration(booster)["learner"]["learner_model_param"]["num_feature"])


def kind(booster: xgboost.Booster) -> str:
    """What boosts: "gbtree", "dart" or "gblinear"."""
    name: str = configuration(booster)["learner"]["gradient_booster"]["name"]
    return name


def document(booster: xgboost.Booster) -> Dict[str, Any]:
    """The whole model. Format: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html"""
    if "raw_format" in inspect.signature(booster.save_raw).parameters:
        found: Dict[str, Any] = json.loads(bytes(booster.save_raw(raw_format="json")))
        return found
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.json")
        booster.save_model(path)
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
            return found


def write(model: Any, path: str) -> None:
    """Write a document where xgboost can load it from; `path` ends in .json."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(model, file)
