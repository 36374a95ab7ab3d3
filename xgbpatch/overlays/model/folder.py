"""Files that lie beside a model, and the names of its features.

Training packs them into one hidden file: every entry of a model folder is then a file that `os.remove` takes, and the
base's loaders pass over names that begin with a dot (from 1.3-1 on; see training/files.py). The folder of the same
files is what a person puts there, and what training left before: what stands in it counts first.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np

from . import booster as model_booster

FILE = ".xgbpatch.zip"
FOLDER = "xgbpatch"
FEATURE_NAMES = "feature_names.json"
BACKGROUND = "background.npy"
RECORD = "record.json"
_MOST_BYTES = 2**28  # that a hidden file may hold: training writes 80 MB of rows at the most


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
    content = _content(model_folder, BACKGROUND)
    if content is None:
        return None
    file = path(model_folder, BACKGROUND)
    try:
        rows = np.load(io.BytesIO(content), allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
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
    """Where the file of that name stands, for a message: in the folder, or as an entry of the hidden file."""
    file, hidden = os.path.join(model_folder, FOLDER, name), os.path.join(model_folder, FILE)
    return os.path.join(hidden, name) if os.path.isfile(hidden) and not os.path.isfile(file) else file


def entries(hidden: str, only: str = "") -> Dict[str, bytes]:
    """What the hidden file of that path holds, or its entry `only`; nothing where there is no such file.

    Raises ValueError where it announces too much, and whatever `zipfile` raises of a file that is no archive.
    """
    if not os.path.isfile(hidden):
        return {}
    with zipfile.ZipFile(hidden) as archive:
        members = [member for member in archive.infolist() if only in ("", member.filename)]
        if sum(member.file_size for member in members) > _MOST_BYTES:
            raise ValueError("it holds more than {} bytes".format(_MOST_BYTES))
        return {member.filename: archive.read(member) for member in members}


def _content(model_folder: str, name: str) -> Optional[bytes]:
    file = os.path.join(model_folder, FOLDER, name)
    try:
        if os.path.isfile(file):
            with open(file, "rb") as stream:
                return stream.read()
        return entries(os.path.join(model_folder, FILE), name).get(name)
    except Exception as error:  # a broken archive raises any of a dozen
        raise ModelFolderError('"{}" cannot be read: {}'.format(path(model_folder, name), error)) from error


def _json(model_folder: str, name: str) -> Any:
    content = _content(model_folder, name)
    if content is None:
        return None
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelFolderError('"{}" is not JSON: {}'.format(path(model_folder, name), error)) from error


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
