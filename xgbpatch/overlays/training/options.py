"""The hyperparameters of the training overlay: one table, taken out before the base looks at the others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..settings import decoded, did_you_mean, items, quoted

PREFIX = "xgbpatch_"
MOST_BACKGROUND_ROWS = 1000
MOST_IMPORTANCE_ROWS = 100000


class OptionError(ValueError):
    """A hyperparameter that cannot be accepted; the message names it, its value and what would be accepted."""


@dataclass(frozen=True)
class UserMetric:
    """A metric of the user's: `function(y_true, y_pred) -> float` by its dotted path, printed by its last name."""

    path: str
    maximize: bool = False

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class TrainingOptions:
    """What a training job asks of the overlay; `feature_names` is None where it names none."""

    feature_names: Optional[Tuple[str, ...]] = None
    importance_rows: int = 1000
    background_rows: int = 100
    metrics: Tuple[UserMetric, ...] = ()
    constraints: Optional[Mapping[str, Any]] = None


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter: the field of TrainingOptions that it sets, how its text or list is read, and what it does."""

    field: str
    read: Callable[[str, Any], Any]
    allowed: str
    meaning: str

    @property
    def name(self) -> str:
        return PREFIX + self.field


def take(hyperparameters: Mapping[str, Any]) -> Tuple[TrainingOptions, Dict[str, Any]]:
    """Our options, and the hyperparameters that are the base's; the mapping is left as it is. Raises OptionError."""
    own = {name: str(value) for name, value in hyperparameters.items() if name.startswith(PREFIX)}
    rest = {name: value for name, value in hyperparameters.items() if name not in own}
    known = {row.name: row for row in TABLE}
    for name in own:
        if name not in known:
            names = ", ".join(sorted(known)) + did_you_mean(name, sorted(known))
            raise OptionError('The hyperparameter "{}" is not known; of xgbpatch there are: {}'.format(name, names))
    return TrainingOptions(
        **{known[name].field: known[name].read(name, _value(name, text)) for name, text in own.items()}
    ), rest


def _value(name: str, text: str) -> Any:
    """A text or a list, as SDKs send them: JSON, or Python's `str` of a list."""
    try:
        return decoded(text)
    except ValueError as error:
        raise OptionError("{}={} cannot be read: {}".format(name, quoted(text), error)) from error


def _items(name: str, value: Any) -> List[Any]:
    try:
        return items(value)
    except ValueError as error:
        raise OptionError('{}="{}" cannot be read: {}'.format(name, value, error)) from error


def _number(most: int) -> Callable[[str, Any], int]:
    def read(name: str, value: Any) -> int:
        if not (isinstance(value, str) and value.isdecimal() and len(value) <= 18 and int(value) <= most):
            raise OptionError('{}="{}" is not a whole number from 0 to {}'.format(name, value, most))
        return int(value)

    return read


def _names(name: str, value: Any) -> Tuple[str, ...]:
    """A list, or the path of a JSON list: a value of a hyperparameter has at most 2,500 characters."""
    names: Any = _items(name, value)
    if isinstance(value, str) and value.startswith("/"):
        try:
            with open(value, encoding="utf-8") as file:
                names = json.load(file)
        except (OSError, ValueError) as error:
            raise OptionError('{}="{}" is not a file with a JSON list: {}'.format(name, value, error)) from error
    if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
        raise OptionError('{}="{}" is not a list of names'.format(name, value))
    repeated = sorted({each for each in names if names.count(each) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise OptionError('{} names "{}" more than once'.format(name, repeated[0]))
    return tuple(names)


def _constraints(name: str, value: Any) -> Mapping[str, Any]:
    try:
        return read_constraints(str(value))
    except (OSError, ValueError) as error:
        raise OptionError('{}="{}" is not a file of constraints: {}'.format(name, value, error)) from error


def _metrics(name: str, value: Any) -> Tuple[UserMetric, ...]:
    metrics = tuple(_metric(name, each) for each in map(str, _items(name, value)) if each)
    names = [metric.name for metric in metrics]
    if len(set(names)) < len(names):
        raise OptionError('{}="{}" names two metrics alike'.format(name, value))
    return metrics


def _metric(name: str, text: str) -> UserMetric:
    path, colon, direction = text.partition(":")
    dotted = path.split(".")
    if len(dotted) < 2 or not all(part.isidentifier() for part in dotted):
        raise OptionError('{}: "{}" is not a dotted path, such as my_module.my_metric'.format(name, path))
    if colon and direction not in ("minimize", "maximize"):
        raise OptionError('{}: "{}" ends in "{}", which is not minimize or maximize'.format(name, text, direction))
    return UserMetric(path, direction == "maximize")


TABLE = (
    Hyperparameter(
        "feature_names",
        _names,
        "a list (commas or JSON), or the absolute path of a file with a JSON list",
        "The names of the features, in the order of the columns; without them those of Parquet columns or of a CSV "
        "header, else f0, f1 and so on.",
    ),
    Hyperparameter(
        "importance_rows",
        _number(MOST_IMPORTANCE_ROWS),
        "0 to {}".format(MOST_IMPORTANCE_ROWS),
        "How many rows the global SHAP importance is computed on at the most; 0 switches it off.",
    ),
    Hyperparameter(
        "background_rows",
        _number(MOST_BACKGROUND_ROWS),
        "0 to {}".format(MOST_BACKGROUND_ROWS),
        "How many training rows are stored with the model, for SHAP values in probability space; 0 stores none.",
    ),
    Hyperparameter(
        "metrics",
        _metrics,
        "dotted paths with commas, each with :minimize (the default) or :maximize behind it",
        "Metrics of yours, function(y_true, y_pred) -> float, printed in each round beside the base's.",
    ),
    Hyperparameter(
        "constraints",
        _constraints,
        "the absolute path of a JSON file",
        "Constraints that are longer than a hyperparameter may be: an object of monotone_constraints (a list, or an "
        "object by names of features) and interaction_constraints (lists of column numbers from 0, or of names).",
    ),
)


# Constraints of features from a JSON file: a value of a hyperparameter has at most 2,500 characters.
#
# They go to xgboost as text. The base hands it Python's values, which no xgboost takes for `interaction_constraints`
# from 1.4 on, and 1.5 not for `monotone_constraints` either.


MONOTONE, INTERACTION = "monotone_constraints", "interaction_constraints"
TREE_METHODS = {MONOTONE: ("exact", "hist"), INTERACTION: ("exact", "hist", "approx")}  # by the base's own rule


def read_constraints(path: str) -> Dict[str, Any]:
    """The JSON object of a file, its keys those of TREE_METHODS; raises OSError and ValueError."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    if not (isinstance(document, dict) and document and set(document) <= set(TREE_METHODS)):
        raise ValueError("it is not a JSON object of {}".format(" and ".join(TREE_METHODS)))
    return document


def constraint_texts(document: Mapping[str, Any], names: Optional[Sequence[str]], columns: int) -> Dict[str, str]:
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
