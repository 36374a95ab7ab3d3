"""What the image's own xgboost says: predictions and contributions to compare answers with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xgbpatch.contract.http import Answer
from xgbpatch.contract.model import Violation, require
from xgbpatch.contract.payloads import Row, csv, vector
from xgbpatch.engine.client import Container

SAMPLE = 25  # rows, where their number does not matter; and as many are explained
_MARK = "XGBPATCH-TRUTH:"
_SHELL = 'for p in python python3; do command -v $p >/dev/null && exec $p -c "$@"; done; echo no python on PATH; exit 1'
_SCRIPT = """
import json, os, pickle, random, sys, warnings
warnings.simplefilter("ignore")
absent = dict.fromkeys(name for name in ("pandas", "sklearn") if name not in sys.modules)
sys.modules.update(absent)  # xgboost does without them, and they take two thirds of the start
import numpy as np
import xgboost as xgb
for name in absent:
    del sys.modules[name]

def load(path):
    try:
        with open(path, "rb") as file:
            return pickle.load(file)
    except Exception:
        booster = xgb.Booster()
        booster.load_model(path)
        return booster

def predict(booster, matrix, **options):
    limit = getattr(booster, "best_ntree_limit", 0) or 0
    try:
        return booster.predict(matrix, ntree_limit=limit, validate_features=False, **options)
    except TypeError:
        return booster.predict(matrix, iteration_range=(0, limit), validate_features=False, **options)

def mean(members):
    return np.mean(members, axis=0) if len(members) > 1 else members[0]

def mode(members):
    return np.array([np.bincount(votes).argmax() for votes in np.array(members, dtype=int).T])

def table(values):
    return values.reshape(len(values), -1).tolist()

def contributions(matrix, **options):
    try:
        return table(mean([predict(booster, matrix, pred_contribs=True, **options) for booster in boosters]))
    except xgb.core.XGBoostError:
        return []

def invented(width):
    count, numbers = max(1, min(100, 60000 // (6 * width))), random.Random(0)
    return [[round(numbers.uniform(0, 4), 2) for _ in range(width)] for _ in range(count)]

folder, text, few = sys.argv[1:4]
names = sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
boosters = [load(os.path.join(folder, name)) for name in names if not name.startswith(".")]
learner = json.loads(boosters[0].save_config())["learner"]
answer = {
    "features": int(learner["learner_model_param"]["num_feature"]),
    "objective": learner["objective"]["name"],
    "booster": learner["gradient_booster"]["name"],
    "names": boosters[0].feature_names or [],
}
lines = [line.split(",") for line in text.split("\\n") if text]
rows = [[float(cell or "nan") for cell in line] for line in lines] or invented(answer["features"])
answer["rows"] = rows
matrix = xgb.DMatrix(np.array(rows, dtype=np.float64))
members = [predict(booster, matrix) for booster in boosters]
margins = [predict(booster, matrix, output_margin=True) for booster in boosters]
votes = answer["objective"] in ("multi:softmax", "binary:hinge")
answer["members"] = [table(member) for member in members]
answer["served"] = table((mode if votes else mean)(members))
answer["margins"] = table(mean(margins))
matrix = xgb.DMatrix(np.array(rows[: int(few)], dtype=np.float64))
answer["contributions"] = contributions(matrix)
answer["approximations"] = contributions(matrix, approx_contribs=True)
print("%s")
print(json.dumps(answer))
""".replace("%s", _MARK)


@dataclass(frozen=True)
class Description:
    """Width, objective (`reg:squarederror`), booster (`gbtree`) and names of features, where there are some, of the
    first model of a directory."""

    features: int
    objective: str
    booster: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Truth:
    """float32 values widened to float, by row: each model's own, what an endpoint serves of them (the mean, or the
    vote of class labels), and the mean of their margins; `rows` are what was predicted.
    """

    description: Description
    members: tuple[tuple[Row, ...], ...]
    served: tuple[Row, ...]
    margins: tuple[Row, ...]
    contributions: tuple[Row, ...] = ()
    approximations: tuple[Row, ...] = ()
    rows: tuple[Row, ...] = ()

    def head(self, count: int | None) -> Truth:
        """The same for all or the first `count` rows."""
        members = tuple(member[:count] for member in self.members)
        by_row = (self.served, self.margins, self.contributions, self.approximations, self.rows)
        return Truth(self.description, members, *(rows[:count] for rows in by_row))

    @property
    def mean(self) -> list[Row]:
        """The mean over members, in double precision and by hand."""
        groups = zip(*self.members, strict=True)
        return [tuple(sum(cells) / len(cells) for cells in zip(*group, strict=True)) for group in groups]


def predict(container: Container, folder: str, rows: Sequence[Row]) -> Truth:
    """Predict `rows` with every model in `folder` of the container.

    `rows` may take 100 kB as CSV, the limit of one argument; where there are none, rows of the width of the first model
    are invented: the same ones each time, at most 60 kB. Raises `Violation` where the image's xgboost cannot.
    """
    answer = _ask(container, folder, csv(rows).decode())
    members = tuple(_rows(member) for member in answer["members"])
    by_row = ("served", "margins", "contributions", "approximations", "rows")
    description = Description(answer["features"], answer["objective"], answer["booster"], tuple(answer["names"]))
    return Truth(description, members, *(_rows(answer[name]) for name in by_row))


def _rows(values: list[list[float]]) -> tuple[Row, ...]:
    return tuple(map(tuple, values))


def _ask(container: Container, folder: str, text: str) -> dict[str, Any]:
    code, output = container.execute(["/bin/sh", "-c", _SHELL, "sh", _SCRIPT, folder, text, str(SAMPLE)])
    printed = output.decode("utf-8", "replace")
    _, mark, after = printed.partition(f"{_MARK}\n")
    if code or not mark:
        last = (printed.strip().splitlines() or ["no output"])[-1]
        raise Violation(f'the image\'s own xgboost could not load or score the model in "{folder}": {last}')
    answer: dict[str, Any] = json.loads(after.splitlines()[0])
    return answer


# Explanations as values: read from an answer, and held to what the image's own xgboost says.


TOLERANCE = 1e-4  # of max(1, |margin|), for each value and for their sum


@dataclass(frozen=True)
class ExplainedRecord:
    """A record's explanation: for each output of the model (one, or one a class) base value and one value a feature."""

    bases: Row
    values: tuple[Row, ...]

    @property
    def sums(self) -> Row:
        return tuple(base + sum(values) for base, values in zip(self.bases, self.values, strict=True))

    @property
    def row(self) -> Row:
        """As xgboost orders contributions: one class after the other, base value last."""
        return tuple(cell for base, values in zip(self.bases, self.values, strict=True) for cell in (*values, base))


def of_record(record: Mapping[str, object]) -> ExplainedRecord:
    """From `base_value` and `shap_values` of a JSON record; raises what `read` turns into a `Violation`."""
    bases, values = vector(record["base_value"]), record["shap_values"]
    if not isinstance(values, list):
        raise TypeError("shap_values is no list")
    classes = tuple(map(vector, values if isinstance(record["base_value"], list) else [values]))
    require(len(bases) == len(classes), f"{len(bases)} base values and {len(classes)} classes")
    return ExplainedRecord(bases, classes)


def of_cells(cells: Row, features: int) -> ExplainedRecord:
    """From the cells that the layout append puts behind a prediction: base value and values, class after class."""
    step = features + 1
    require(len(cells) % step == 0 and len(cells) > 0, f"{len(cells)} cells follow the prediction, not {step} a class")
    starts = range(0, len(cells), step)
    return ExplainedRecord(tuple(cells[at] for at in starts), tuple(cells[at + 1 : at + step] for at in starts))


def read_explained(answer: Answer, records: Callable[[], Sequence[ExplainedRecord]]) -> Sequence[ExplainedRecord]:
    """What `records` reads from `answer`; raises `Violation` where it is not there, or of another shape."""
    try:
        return records()
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Violation(f"answered {answer}: an explanation is missing or misshapen ({error!r})") from error


def agree(answers: Sequence[ExplainedRecord], truth: Truth, approximate: bool = False) -> str:
    """Hold explanations to the margins of `truth` and to xgboost's own contributions; returns the reason for a pass."""
    rows = truth.approximations if approximate else truth.contributions
    require(len(answers) == len(truth.margins), f"{len(answers)} explanations came back for {len(truth.margins)} rows")
    for number, (record, margins) in enumerate(zip(answers, truth.margins, strict=True), 1):
        limit = TOLERANCE * max(1.0, *map(abs, margins))
        _near(record.sums, margins, limit, f"row {number}: base value and SHAP values sum to")
        if rows:
            _near(record.row, rows[number - 1], limit, f"row {number}: SHAP values, base value last, are")
    own = ", equal to xgboost's own" if rows else ""
    return f"{len(answers)} rows of {truth.description.features} values, summing to the margin{own}"


def _near(values: Row, expected: Row, limit: float, what: str) -> None:
    pairs = enumerate(zip(values, expected, strict=False))
    wrong = next((at for at, (one, other) in pairs if not abs(one - other) <= limit), None)
    require(len(values) == len(expected), f"{what} {len(values)} numbers, and the booster says {len(expected)}")
    if wrong is not None:
        raise Violation(f"{what} {values[wrong]:.9g} at {wrong + 1}, and the booster says {expected[wrong]:.9g}")
