"""SHAP values written behind the base's own text of each record.

`values` is float32 (n, features + 1), or (n, classes, features + 1), base value last. Numbers are printed as the base
prints its own: float32 widened, shortest text that gives it back.
"""

from __future__ import annotations

import json
from typing import Any, Sequence

import numpy as np

BASE_VALUE = "base_value"
SHAP_VALUES = "shap_values"


def append_to_lines(text: str, values: np.ndarray) -> str:
    """Each line of `text`, then `,base_value,phi_1,...,phi_F`, for every class after the other; the last newline stays.

    Raises ValueError where lines and records do not pair.
    """
    ending = "\n" if text.endswith("\n") else ""
    lines = text[: len(text) - len(ending)].split("\n")
    _pair(lines, values)
    return "\n".join(line + "," + _columns(record) for line, record in zip(lines, values)) + ending


def append_to_json(text: str, values: np.ndarray) -> str:
    """`{"predictions": [...]}` with `base_value` and `shap_values` in each record, one entry a class where there are
    classes; everything else as it was. Raises ValueError where records do not pair."""
    document = json.loads(text)
    _extend(document["predictions"], values)
    return json.dumps(document)


def append_to_json_lines(text: str, values: np.ndarray) -> str:
    """As `append_to_json`, for one JSON object a line."""
    records = [json.loads(line) for line in text.splitlines()]
    _extend(records, values)
    return "".join(json.dumps(record) + "\n" for record in records)


def _extend(records: Sequence[Any], values: np.ndarray):
    _pair(records, values)
    for record, vector in zip(records, values):
        record[BASE_VALUE] = vector[..., -1].tolist()
        record[SHAP_VALUES] = vector[..., :-1].tolist()


def _columns(record: np.ndarray):
    classes = record if record.ndim == 2 else record[None, :]
    return ",".join(str(number) for vector in classes for number in [vector[-1].item()] + vector[:-1].tolist())


def _pair(texts: Sequence[Any], values: np.ndarray):
    if len(texts) != len(values):
        raise ValueError("{} predictions, {} records explained".format(len(texts), len(values)))
