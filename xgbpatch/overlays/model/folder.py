"""Files that lie beside a model, and the names of its features."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, Optional, Tuple

import numpy as np

from . import booster as model_booster

FOLDER = "xgbpatch"
FEATURE_NAMES = "feature_names.json"
BACKGROUND = "background.npy"
RECORD = "record.json"


class ModelFolderError(ValueError):
    """A file beside the model that cannot be used; the message names it and says what it should hold."""


def feature_names(model_folder: str) -> Optional[Tuple[str, ...]]:
    """The names in `feature_names.json`, or None where there is no such file; raises ModelFolderError."""
    names = _json(model_folder, FEATURE_NAMES)
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ModelFolderError('"{}" is not a list of texts'.format(path(model_folder, FEATURE_NAMES)))
    return None if names is None else tuple(names)


def background(model_folder: str) -> Optional[np.ndarray]:
    """The float32 (n, features) of `background.npy`, or None where there is no such file; raises ModelFolderError."""
    file = path(model_folder, BACKGROUND)
    if not os.path.isfile(file):
        return None
    try:
        rows = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ModelFolderError('"{}" is not an array file of numpy: {}'.format(file, error)) from error
    if rows.ndim != 2 or rows.dtype.kind != "f" or not len(rows):
        raise ModelFolderError('"{}" holds {} {}, not floats (n, features)'.format(file, rows.dtype, rows.shape))
    return np.ascontiguousarray(rows, dtype=np.float32)


def record(model_folder: str) -> Mapping[str, Any]:
    """What `record.json` says, empty where there is no such file; raises ModelFolderError."""
    document = _json(model_folder, RECORD)
    if document is not None and not isinstance(document, dict):
        raise ModelFolderError('"{}" is not a JSON object'.format(path(model_folder, RECORD)))
    return document or {}


def path(model_folder: str, name: str) -> str:
    """Where the file of that name stands."""
    return os.path.join(model_folder, FOLDER, name)


def _json(model_folder: str, name: str) -> Any:
    file = path(model_folder, name)
    if not os.path.isfile(file):
        return None
    try:
        with open(file, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError) as error:
        raise ModelFolderError('"{}" is not JSON: {}'.format(file, error)) from error


def feature_names_of(booster: Any, folder: Optional[str]) -> Tuple[str, ...]:
    """The model's own names, else those beside it in `folder` (None: not known), else f0, f1, ...

    Raises ModelFolderError where the file beside it names another number of features.
    """
    width = model_booster.width(booster)
    numbered = tuple("f{}".format(number) for number in range(width))
    own = tuple(getattr(booster, "feature_names", None) or ())
    if len(own) == width and own != numbered:
        return own
    beside = feature_names(folder) if folder else None
    if folder and beside is not None and len(beside) != width:
        raise ModelFolderError(
            '"{}" names {} features, the model has {}'.format(path(folder, FEATURE_NAMES), len(beside), width)
        )
    return beside or numbered
