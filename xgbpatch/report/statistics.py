"""What a report says of all rows: sums that take one pass and the same memory for ten rows and ten million."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError
from xgbpatch.report.explanations import Rows

Numbers = NDArray[np.float64]
TOLERANCE = 1e-4  # of a prediction's size, at least of 1: float32 sums and their text
SAMPLE_CELLS = 4_000_000  # numbers that a sample keeps: 32 MB
SAMPLE_ROWS = 20_000
MOST_COHORTS = 8  # as many colours as anybody can tell apart


def _softmax(margins: Numbers) -> Numbers:
    raised = np.exp(margins - margins.max(axis=1, keepdims=True))
    result: Numbers = raised / raised.sum(axis=1, keepdims=True)
    return result


@dataclass(frozen=True)
class Link:
    """How a margin, base value plus SHAP values, becomes a prediction; `unit` is that of the values."""

    title: str
    unit: str
    apply: Callable[[Numbers], Numbers]


LINKS = {
    "identity": Link("the sum itself", "", lambda margins: margins),
    "logistic": Link("the logistic function of the sum", "log-odds", lambda margins: 1 / (1 + np.exp(-margins))),
    "exp": Link("the exponential of the sum", "log of the prediction", np.exp),
    "softmax": Link("the softmax of the classes' sums", "margin of the class", _softmax),
    "class": Link("the class with the largest sum", "margin of the class",
                  lambda margins: np.argmax(margins, axis=1)[:, None].astype(float)),
    "hinge": Link("1 where the sum is above 0, else 0", "margin", lambda margins: (margins > 0).astype(float)),
}  # fmt: skip
VOTES = ("class", "hinge")


@dataclass
class Additivity:
    """How well base value and SHAP values add up to the predictions, by link. State: counts over all rows."""

    misses: dict[str, int] = field(default_factory=dict)
    worst: dict[str, tuple[float, int]] = field(default_factory=dict)  # the difference, and the row's number

    def add(self, rows: Rows) -> None:
        """Hold every link that fits the shape of `rows` to their predictions."""
        margins = rows.base + rows.values.sum(axis=2)
        size = np.maximum(1.0, np.abs(rows.predictions))
        for name, link in LINKS.items():
            if (name in ("softmax", "class")) != (margins.shape[1] > 1) and name != "identity":
                continue
            with np.errstate(over="ignore", invalid="ignore"):
                answers = link.apply(margins)
                if answers.shape != rows.predictions.shape:
                    continue
                scale = np.maximum(size, np.abs(rows.values).max(axis=2)) if name == "identity" else size
                off = np.nan_to_num(np.abs(answers - rows.predictions) / scale, nan=np.inf).max(axis=1)
            place = int(off.argmax())
            difference = float(np.abs(answers[place] - rows.predictions[place]).max())
            self.misses[name] = self.misses.get(name, 0) + int((off > TOLERANCE).sum())
            if difference > self.worst.get(name, (-1.0, 0))[0]:
                self.worst[name] = difference, int(rows.numbers[place])

    @property
    def link(self) -> str:
        """The link with the fewest rows that miss it; of equal ones, that which comes nearest. A vote, which
        half of all numbers would fit by chance, must fit every row, or no other link has the shape of the rows."""
        fitting = [name for name, misses in self.misses.items() if not misses or name not in VOTES] or self.misses
        return min(fitting, key=lambda name: (self.misses[name], self.worst[name][0]), default="identity")


class Sample:
    """A uniform sample of the rows, without replacement, the same in every run: a hash of each row's number
    (splitmix64, Steele, Lea and Flood 2014) is its ticket, and the smallest tickets stay. A prefix of it is such
    a sample too."""

    def __init__(self, cells_of_a_row: int):
        self.limit = max(200, min(SAMPLE_ROWS, SAMPLE_CELLS // cells_of_a_row))
        self._rows: Rows | None = None
        self._waiting: list[Rows] = []  # of which too few came to sort all of them again
        self._highest = np.iinfo(np.uint64).max  # the largest ticket that still counts

    def add(self, rows: Rows) -> None:
        """Keep those of `rows` that may belong to the sample."""
        candidates = rows.take(_ticket(rows.numbers) <= self._highest)
        if len(candidates):
            self._waiting.append(candidates)
        if sum(map(len, self._waiting)) > self.limit // 4:
            self._settle()

    @property
    def rows(self) -> Rows | None:
        """The sample, None before the first row."""
        if self._waiting:
            self._settle()
        return self._rows

    def _settle(self) -> None:
        candidates = Rows.joined([*([] if self._rows is None else [self._rows]), *self._waiting])
        tickets = _ticket(candidates.numbers)
        order = np.argsort(tickets, kind="stable")[: self.limit]
        self._rows, self._waiting = candidates.take(order), []
        if len(order) == self.limit:
            self._highest = int(tickets[order[-1]])


def _ticket(numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        result: NDArray[np.uint64] = mixed ^ (mixed >> np.uint64(31))
    return result


@dataclass
class Cohort:
    """Sums over the rows with one value of the column."""

    rows: int = 0
    labelled: int = 0
    prediction: float = 0.0
    label: float = 0.0
    error: float = 0.0
    absolute: Numbers | float = 0.0  # (outputs, features)


class Totals:
    """Sums over all rows, of arrays (outputs, features), and the rows of the highest and the lowest prediction."""

    def __init__(self, rows: tuple[int, ...] = ()):
        self.count = 0
        self.additivity = Additivity()
        self.cohorts: dict[float, Cohort] | None = {}
        self.chosen: dict[int, Rows] = {}  # those that were named, by number
        self.extremes: dict[str, Rows] = {}
        self._numbers = np.array(rows, np.int64)

    def add(self, rows: Rows) -> None:
        """Add these rows to every sum."""
        if not self.count:
            shape = rows.values.shape[1:]
            self.sums, self.absolute, self.base = np.zeros(shape), np.zeros(shape), np.zeros(shape[0])
            self.lowest, self.highest = np.full(shape, np.inf), np.full(shape, -np.inf)
            self.prediction = np.zeros(rows.predictions.shape[1])
        self.count += len(rows)
        self.sums += rows.values.sum(axis=0)
        self.absolute += np.abs(rows.values).sum(axis=0)
        self.base += rows.base.sum(axis=0)
        self.prediction += rows.predictions.sum(axis=0)
        self.lowest = np.minimum(self.lowest, rows.values.min(axis=0))
        self.highest = np.maximum(self.highest, rows.values.max(axis=0))
        self.additivity.add(rows)
        self._keep(rows)
        self._add_cohorts(rows)

    @property
    def importance(self) -> Numbers:
        """The mean of |SHAP value|, (outputs, features)."""
        result: Numbers = self.absolute / self.count
        return result

    def _keep(self, rows: Rows) -> None:
        for place in np.flatnonzero(np.isin(rows.numbers, self._numbers)).tolist():
            self.chosen[int(rows.numbers[place])] = rows.take(slice(place, place + 1))
        first = rows.predictions[:, 0]
        for title, place, sign in (("highest", int(first.argmax()), 1), ("lowest", int(first.argmin()), -1)):
            known = self.extremes.get(title)
            if known is None or sign * first[place] > sign * known.predictions[0, 0]:
                self.extremes[title] = rows.take(slice(place, place + 1))

    def _add_cohorts(self, rows: Rows) -> None:
        if rows.cohort is None or self.cohorts is None:
            return
        for value, cohort in cohorts_of(rows, rows.cohort).items():
            total = self.cohorts.setdefault(value, Cohort())
            total.rows += cohort.rows
            total.labelled += cohort.labelled
            total.prediction += cohort.prediction
            total.label += cohort.label
            total.error += cohort.error
            total.absolute = total.absolute + cohort.absolute
        if len(self.cohorts) > MOST_COHORTS:  # by quarters of the sample, then
            self.cohorts = None


def cohorts_of(rows: Rows, keys: Numbers) -> dict[float, Cohort]:
    """Sums by `keys` (n,), one a row; a missing one is -inf, so that it equals itself."""
    keys = np.where(np.isnan(keys), -np.inf, keys)
    result = {}
    for key in np.unique(keys):
        inside = rows.take(keys == key)
        first = inside.predictions[:, 0]
        labels = np.full(len(inside), np.nan) if inside.labels is None else inside.labels
        labelled = int(np.isfinite(labels).sum())
        error = float(np.nansum(np.abs(first - labels)))
        absolute = np.abs(inside.values).sum(axis=0)
        total = float(np.nansum(labels))
        result[float(key)] = Cohort(len(inside), labelled, float(first.sum()), total, error, absolute)
    return result


class Quality:
    """How good the predictions are, where labels are there: sums over all rows."""

    BINS = 10_000  # of predictions from 0 to 1, for the area under the curve

    def __init__(self) -> None:
        self.count = 0
        self._error = self._absolute = self._square = self._label = self._label_square = 0.0
        self._by_label = np.zeros((2, self.BINS + 1))
        self._wrong = 0
        self._log_loss = 0.0
        self.binary = True
        self.classes = 1

    def add(self, rows: Rows) -> None:
        """Hold the predictions of those of `rows` that have labels to them.

        Raises `ConfigurationError` for a label that is none of the classes 0, 1, 2, …
        """
        assert rows.labels is not None
        rows = rows.take(np.isfinite(rows.labels))
        labels, predictions = rows.labels, rows.predictions
        if labels is None or not len(labels):
            return
        self.count += len(rows)
        self.classes = max(predictions.shape[1], rows.values.shape[1])
        if self.classes > 1:
            self._add_classes(labels, predictions)
            return
        first = predictions[:, 0]
        difference = first - labels
        self._error += float(difference.sum())
        self._absolute += float(np.abs(difference).sum())
        self._square += float((difference**2).sum())
        self._label += float(labels.sum())
        self._label_square += float((labels**2).sum())
        self.binary &= bool(np.isin(labels, (0, 1)).all() and ((first >= 0) & (first <= 1)).all())
        if self.binary:
            bins = np.round(first * self.BINS).astype(int)
            for label in (0, 1):
                self._by_label[label] += np.bincount(bins[labels == label], minlength=self.BINS + 1)
            likely = np.clip(np.where(labels == 1, first, 1 - first), 1e-15, 1)
            self._log_loss -= float(np.log(likely).sum())
            self._wrong += int(((first > 0.5) != (labels == 1)).sum())

    def _add_classes(self, labels: Numbers, predictions: Numbers) -> None:
        if len(odd := labels[~np.isin(labels, range(self.classes))]):
            raise ConfigurationError(f"the label {odd[0]:g} is none of the {self.classes} classes, which count from 0")
        chosen = predictions[:, 0] if predictions.shape[1] == 1 else predictions.argmax(axis=1)
        self._wrong += int((chosen != labels).sum())
        if predictions.shape[1] > 1:
            places = np.clip(labels.astype(int), 0, predictions.shape[1] - 1)
            likely = np.clip(predictions[np.arange(len(labels)), places], 1e-15, 1)
            self._log_loss -= float(np.log(likely).sum())

    def measures(self) -> list[tuple[str, float, str]]:
        """(name, value, what it means), those that fit predictions and labels."""
        count = self.count
        if self.classes > 1:
            loss = [("log loss", self._log_loss / count, "lower is better")] if self._log_loss else []
            return [("error", self._wrong / count, "share of rows whose class is wrong"), *loss]
        if self.binary:
            positive, negative = self._by_label[1], self._by_label[0]
            below = np.cumsum(negative) - negative
            pairs = positive.sum() * negative.sum()
            area = float((positive * (below + negative / 2)).sum() / pairs) if pairs else float("nan")
            return [
                ("AUC", area, "1 is perfect, 0.5 is chance; predictions rounded to 0.0001"),
                ("log loss", self._log_loss / count, "lower is better"),
                ("error", self._wrong / count, "share of rows on the wrong side of 0.5"),
                ("mean label", self._label / count, "share of positive rows"),
            ]
        spread = self._label_square - self._label**2 / count
        return [
            ("RMSE", (self._square / count) ** 0.5, "root of the mean squared error"),
            ("MAE", self._absolute / count, "mean absolute error"),
            ("R²", 1 - self._square / spread if spread > 0 else float("nan"), "1 is perfect, 0 is the mean label"),
            ("bias", self._error / count, "mean of prediction minus label"),
        ]


def strongest_interaction(values: Numbers, data: Numbers, feature: int) -> int:
    """The feature whose values go most with those SHAP values of `feature` that its own value does not explain.

    In short stretches of the rows, in the order of `feature`, the correlation of its SHAP values, `values` (n,), with
    every other feature, `data` (n, features), is taken; the largest mean of absolute correlations wins. This is
    the rule of `shap.utils.approximate_interactions` (Lundberg et al. 2020).
    """
    order = np.argsort(data[:, feature], kind="stable")
    shares, table = values[order], np.nan_to_num(data[order])
    size = max(min(len(order) // 10, 50), 2)
    strength = np.zeros(data.shape[1])
    for begin in range(0, len(order) - size + 1, size):
        part, column = table[begin : begin + size], shares[begin : begin + size]
        centred, own = part - part.mean(axis=0), column - column.mean()
        scale = np.sqrt((centred**2).sum(axis=0) * (own**2).sum())
        strength += np.abs(np.divide(own @ centred, scale, out=np.zeros_like(scale), where=scale > 1e-12))
    strength[feature] = -1
    return int(strength.argmax())


def distance(one: Numbers, two: Numbers) -> tuple[float, float]:
    """Wasserstein's distance (in the unit of the values) and that of Kolmogorov and Smirnov (0 to 1) of two samples."""
    both = np.sort(np.concatenate([one, two]))
    shares = [np.searchsorted(np.sort(each), both, side="right") / len(each) for each in (one, two)]
    apart = np.abs(shares[0] - shares[1])
    return float((apart[:-1] * np.diff(both)).sum()), float(apart.max())
