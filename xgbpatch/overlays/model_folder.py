"""What stands beside a model: the sub-directory `xgbpatch` of its folder, where the base's serving never looks.

Training writes it (feature `training`), and users may: `feature_names.json` (a list of texts), `background.npy`
(float32 (n, features), missing NaN) and `record.json` (what the model was trained with). Files are checked before they
are trusted.
"""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, Optional, Tuple

import numpy as np

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
    found = _json(model_folder, RECORD)
    if found is not None and not isinstance(found, dict):
        raise ModelFolderError('"{}" is not a JSON object'.format(path(model_folder, RECORD)))
    return found or {}


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
