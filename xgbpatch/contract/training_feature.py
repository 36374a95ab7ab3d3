"""Checks of the feature `training`: what a job leaves beside its model, and the hyperparameters that tune it."""

from __future__ import annotations

import csv
import json
from typing import Any

from xgbpatch import provenance
from xgbpatch.contract import abalone, npy
from xgbpatch.contract.finding import Violation, require
from xgbpatch.contract.jobs import ABALONE, NAMES, OBSERVED, OBSERVED_BACKGROUND
from xgbpatch.contract.models import BESIDE
from xgbpatch.contract.server import NEWER
from xgbpatch.contract.session import Session
from xgbpatch.contract.train import completed, metric
from xgbpatch.contract.training import Trained

_BACKGROUND_ROWS = 100
_PRINTED = 2e-5  # two metrics of five decimals


def files(session: Session) -> str:
    """Beside the model: feature names, background rows and a record, of the width that the model has."""
    outcome = session.trained(ABALONE)
    names = _json(outcome, "feature_names.json")
    require(len(names) == abalone.FEATURES, f"feature_names.json has {len(names)} names, not {abalone.FEATURES}")
    _background(outcome, (_BACKGROUND_ROWS, abalone.FEATURES))
    record = _json(outcome, "record.json")
    wanted = {"objective": "reg:squarederror", "features": abalone.FEATURES, "rounds": [ABALONE.rounds]}
    wrong = [f"{name} is {record.get(name)!r}, not {value!r}" for name, value in wanted.items()
             if record.get(name) != value]  # fmt: skip
    require(not wrong, f"record.json: {', '.join(wrong)}")
    _traceable(session, record)
    return f"{len(names)} names, {_BACKGROUND_ROWS} background rows, xgboost {record['xgboost']}"


def importance(session: Session) -> str:
    """Global SHAP importance of each feature on validation, strongest first, the same in CSV and JSON."""
    outcome = session.trained(ABALONE)
    found = _json(outcome, "importance.json")
    try:
        pairs = [(str(row["name"]), float(row["importance"])) for row in found["features"]]
        table = list(csv.reader(_text(outcome, "importance.csv").splitlines()))[1:]
        same = [(name, float(value)) for name, value, *_ in table] == pairs
    except (KeyError, TypeError, ValueError) as error:
        raise Violation(f"importance.json or importance.csv is misshapen: {error!r}") from error
    require(same, "importance.csv and importance.json differ")
    require(len(pairs) == abalone.FEATURES, f"{len(pairs)} features are ranked, not {abalone.FEATURES}")
    values = [value for _, value in pairs]
    require(values == sorted(values, reverse=True) and values[0] > 0, f"the importances {values} do not fall")
    require(found.get("split") == "validation", f'measured on "{found.get("split")}", not on validation')
    return f"{pairs[0][0]} {values[0]:.3g}, {pairs[1][0]} {values[1]:.3g}, …"


def hyperparameters(session: Session) -> str:
    """Hyperparameters `xgbpatch_…` are taken and obeyed: names, rows of the background, importance switched off."""
    outcome = session.trained(OBSERVED)
    said = completed(outcome)
    names = tuple(_json(outcome, "feature_names.json"))
    require(names == NAMES, f"feature_names.json says {names}, and the hyperparameter {NAMES}")
    _background(outcome, (OBSERVED_BACKGROUND, abalone.FEATURES))
    require(not (outcome.beside / "importance.json").exists(), "importance.json was written for 0 rows")
    return said


def metrics(session: Session) -> str:
    """A metric by its dotted path is printed in each round: scikit-learn's mean absolute error is the base's mae."""
    outcome = session.trained(OBSERVED)
    ours, base = (metric(outcome, "validation", name) for name in ("mean_absolute_error", "mae"))
    require(len(ours) == len(base), f"{len(ours)} rounds print it, of {len(base)}")
    far = [(one, other) for one, other in zip(ours, base, strict=True) if abs(one - other) > _PRINTED]
    require(not far, f"validation-mean_absolute_error and validation-mae differ: {far[:3]}")
    return f"{len(ours)} rounds, {ours[0]:g} to {ours[-1]:g}"


def newer(session: Session) -> str:
    """A model that says that a newer xgboost made it is refused: loaded, it could predict wrongly in silence."""
    ended = session.ended(NEWER)
    log = ended.stdout + ended.stderr
    require("99.0" in log, "`serve` did not load the model, and its log does not name the xgboost that made it")
    return "refused, and the log says why"


def _traceable(session: Session, record: dict[str, Any]) -> None:
    require(bool(record.get("xgboost")), "record.json names no xgboost")
    made = provenance.read(session.image.labels)
    if made is not None:
        said = record.get("base")
        require(
            made.base_digest in str(said), f'record.json names the base "{said}", and the label "{made.base_digest}"'
        )


def _background(outcome: Trained, expected: tuple[int, int]) -> None:
    path = outcome.beside / "background.npy"
    require(path.is_file(), f"the job wrote no {BESIDE}/background.npy")
    try:
        shape = npy.shape(path.read_bytes())
    except ValueError as error:
        raise Violation(f"background.npy: {error}") from error
    require(shape == expected, f"background.npy holds {shape}, not {expected}")


def _json(outcome: Trained, name: str) -> Any:
    try:
        return json.loads(_text(outcome, name))
    except ValueError as error:
        raise Violation(f"{name} is no JSON: {error}") from error


def _text(outcome: Trained, name: str) -> str:
    path = outcome.beside / name
    require(path.is_file(), f"the job wrote no {BESIDE}/{name}: {outcome.ending}")
    return path.read_text(encoding="utf-8")
