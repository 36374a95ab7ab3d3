"""Constraints of features from a JSON file: a value of a hyperparameter has at most 2,500 characters.

They go to xgboost as text. The base hands it Python's values, which no xgboost takes for `interaction_constraints` from
1.4 on, and 1.5 not for `monotone_constraints` either.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence

MONOTONE, INTERACTION = "monotone_constraints", "interaction_constraints"
TREE_METHODS = {MONOTONE: ("exact", "hist"), INTERACTION: ("exact", "hist", "approx")}  # by the base's own rule


def read(path: str) -> Dict[str, Any]:
    """The JSON object of a file, its keys those of TREE_METHODS; raises OSError and ValueError."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    if not (isinstance(document, dict) and document and set(document) <= set(TREE_METHODS)):
        raise ValueError("it is not a JSON object of {}".format(" and ".join(TREE_METHODS)))
    return document


def texts(document: Mapping[str, Any], names: Optional[Sequence[str]], columns: int) -> Dict[str, str]:
    """What xgboost is told of `document`, for `columns` features of these names (None: unknown); raises ValueError."""
    written = {}
    if MONOTONE in document:
        directions = _directions(document[MONOTONE], names, columns)
        written[MONOTONE] = "({})".format(",".join(map(str, directions)))
    if INTERACTION in document:
        groups = document[INTERACTION]
        if not (isinstance(groups, list) and groups and all(isinstance(group, list) and group for group in groups)):
            raise ValueError("{} is not a list of lists".format(INTERACTION))
        written[INTERACTION] = json.dumps([[_index(each, names, columns) for each in group] for group in groups])
    return written


def _directions(value: Any, names: Optional[Sequence[str]], columns: int) -> List[int]:
    """One of -1, 0 and 1 for each column; of an object by names, 0 for those that it leaves out."""
    directions = value
    if isinstance(value, dict):
        directions = [0] * columns
        for name, direction in value.items():
            directions[_index(name, names, columns)] = direction
    if not isinstance(directions, list) or len(directions) != columns:
        count = "{} values".format(len(directions)) if isinstance(directions, list) else "no list"
        raise ValueError("{} has {}, the train channel {} columns".format(MONOTONE, count, columns))
    wrong = [each for each in directions if isinstance(each, bool) or each not in (-1, 0, 1)]
    if wrong:
        raise ValueError("{} holds {}, and not -1, 0 or 1".format(MONOTONE, json.dumps(wrong[0])))
    return [int(each) for each in directions]


def _index(feature: Any, names: Optional[Sequence[str]], columns: int) -> int:
    """The number of a feature that is told by number, from 0, or by name."""
    if isinstance(feature, str) and names is not None and feature in names:
        return list(names).index(feature)
    if isinstance(feature, int) and not isinstance(feature, bool) and 0 <= feature < columns:
        return feature
    known = "names are unknown" if names is None else "no feature has that name"
    reason = known if isinstance(feature, str) else "the train channel has columns 0 to {}".format(columns - 1)
    raise ValueError("{} is no feature: {}".format(json.dumps(feature), reason))
