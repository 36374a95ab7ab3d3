"""What the image's own xgboost predicts, asked in the container and not through its server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xgbpatch.contract.finding import Violation
from xgbpatch.contract.payload import Row, csv
from xgbpatch.engine.container import Container

SAMPLE = 25  # rows, where their number does not matter; and as many are explained
_MARK = "XGBPATCH-TRUTH:"
_SHELL = 'for p in python python3; do command -v $p >/dev/null && exec $p -c "$@"; done; echo no python on PATH; exit 1'
_SCRIPT = """
import json, os, pickle, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import xgboost as xgb

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

folder, text, few = sys.argv[1:4]
names = sorted(name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name)))
boosters = [load(os.path.join(folder, name)) for name in names if not name.startswith(".")]
learner = json.loads(boosters[0].save_config())["learner"]
answer = {
    "features": int(learner["learner_model_param"]["num_feature"]),
    "objective": learner["objective"]["name"],
    "booster": learner["gradient_booster"]["name"],
}
if text:
    rows = [[float(cell or "nan") for cell in line.split(",")] for line in text.split("\\n")]
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
    """Width, objective (`reg:squarederror`) and booster (`gbtree`) of the first model of a directory."""

    features: int
    objective: str
    booster: str


@dataclass(frozen=True)
class Truth:
    """float32 values widened to float, by row: each model's own, what an endpoint serves of them (the mean, or the
    vote of class labels), and the mean of their margins.
    """

    description: Description
    members: tuple[tuple[Row, ...], ...]
    served: tuple[Row, ...]
    margins: tuple[Row, ...]
    contributions: tuple[Row, ...] = ()
    approximations: tuple[Row, ...] = ()

    def head(self, count: int) -> Truth:
        """The same for the first `count` rows."""
        members = tuple(member[:count] for member in self.members)
        by_row = (self.served, self.margins, self.contributions, self.approximations)
        return Truth(self.description, members, *(rows[:count] for rows in by_row))

    @property
    def mean(self) -> list[Row]:
        """The mean over members, in double precision and by hand."""
        groups = zip(*self.members, strict=True)
        return [tuple(sum(cells) / len(cells) for cells in zip(*group, strict=True)) for group in groups]


def describe(container: Container, folder: str) -> Description:
    """Read the model in `folder` of the container; raises `Violation` where the image's xgboost cannot."""
    return _description(_ask(container, folder, ""))


def predict(container: Container, folder: str, rows: Sequence[Row]) -> Truth:
    """Predict `rows` (under 100 kB as CSV, the limit of one argument) with every model in `folder`."""
    answer = _ask(container, folder, csv(rows).decode())
    members = tuple(_rows(member) for member in answer["members"])
    by_row = ("served", "margins", "contributions", "approximations")
    return Truth(_description(answer), members, *(_rows(answer[name]) for name in by_row))


def _description(answer: dict[str, Any]) -> Description:
    return Description(answer["features"], answer["objective"], answer["booster"])


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
