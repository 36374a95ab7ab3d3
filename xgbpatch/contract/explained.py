"""Explanations as values: read from an answer, and held to what the image's own xgboost says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xgbpatch.contract.exchange import Answer
from xgbpatch.contract.finding import Violation, require
from xgbpatch.contract.payload import Row
from xgbpatch.contract.truth import Truth

TOLERANCE = 1e-4  # of max(1, |margin|), for each value and for their sum


@dataclass(frozen=True)
class Explained:
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


def of_record(record: Mapping[str, object]) -> Explained:
    """From `base_value` and `shap_values` of a JSON record; raises what `read` turns into a `Violation`."""
    bases, values = vector(record["base_value"]), record["shap_values"]
    if not isinstance(values, list):
        raise TypeError("shap_values is no list")
    classes = values if isinstance(record["base_value"], list) else [values]
    found = Explained(bases, tuple(map(vector, classes)))
    require(len(found.bases) == len(found.values), f"{len(found.bases)} base values and {len(found.values)} classes")
    return found


def of_cells(cells: Row, features: int) -> Explained:
    """From the cells that the layout append puts behind a prediction: base value and values, class after class."""
    step = features + 1
    require(len(cells) % step == 0 and len(cells) > 0, f"{len(cells)} cells follow the prediction, not {step} a class")
    starts = range(0, len(cells), step)
    return Explained(tuple(cells[at] for at in starts), tuple(cells[at + 1 : at + step] for at in starts))


def vector(value: object) -> Row:
    """A number, or a list of numbers, as a row."""
    return tuple(map(float, value)) if isinstance(value, list) else (float(value),)  # type: ignore[arg-type]


def read(answer: Answer, records: Callable[[], Sequence[Explained]]) -> Sequence[Explained]:
    """What `records` reads from `answer`; raises `Violation` where it is not there, or of another shape."""
    try:
        return records()
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Violation(f"answered {answer}: an explanation is missing or misshapen ({error!r})") from error


def agree(found: Sequence[Explained], truth: Truth, approximate: bool = False) -> str:
    """Hold explanations to the margins of `truth` and to xgboost's own contributions; returns the reason for a pass."""
    rows = truth.approximations if approximate else truth.contributions
    require(len(found) == len(truth.margins), f"{len(found)} explanations came back for {len(truth.margins)} rows")
    for number, (record, margins) in enumerate(zip(found, truth.margins, strict=True), 1):
        _near(record.sums, margins, (f"row {number}: base value and SHAP values sum to", margins))
        if rows:
            _near(record.row, rows[number - 1], (f"row {number}: SHAP values, base value last, are", margins))
    own = ", equal to xgboost's own" if rows else ""
    return f"{len(found)} rows of {truth.description.features} values, summing to the margin{own}"


def _near(found: Row, expected: Row, told: tuple[str, Row]) -> None:
    what, margins = told
    limit = TOLERANCE * max(1.0, *map(abs, margins))
    pairs = enumerate(zip(found, expected, strict=False))
    wrong = next((at for at, (one, other) in pairs if not abs(one - other) <= limit), None)
    require(len(found) == len(expected), f"{what} {len(found)} numbers, and the booster says {len(expected)}")
    if wrong is not None:
        raise Violation(f"{what} {found[wrong]:.9g} at {wrong + 1}, and the booster says {expected[wrong]:.9g}")
