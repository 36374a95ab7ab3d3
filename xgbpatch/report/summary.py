"""One pass over explained rows: totals over all of them, and a sample to draw."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError
from xgbpatch.progress import Progress
from xgbpatch.report import features
from xgbpatch.report.explanations import ColumnLayout, Explanations, Hints, Rows
from xgbpatch.report.features import Beside
from xgbpatch.report.statistics import LINKS, Cohort, Link, Quality, Sample, Totals, cohorts_of

RESERVED = ("other features",)  # what a chart calls something else
ANNOUNCED = 250_000  # rows between two lines of progress


@dataclass(frozen=True)
class Shown:
    """The rows to draw, by their numbers from 1, and the class, of a model with several, that charts of rows show."""

    rows: tuple[int, ...] = ()
    output: int = 0


@dataclass(frozen=True)
class Summary:
    """What is known of the rows of some files. `names` are unique, one a feature; `output` is the class on show."""

    files: tuple[Path, ...]
    layout: ColumnLayout
    names: tuple[str, ...]
    totals: Totals
    sample: Rows
    quality: Quality | None
    unexplained: int
    output: int = 0
    cohort: str = ""  # the column that makes cohorts

    @property
    def link(self) -> Link:
        """What makes predictions of the sums."""
        return LINKS[self.totals.additivity.link]

    @property
    def importance(self) -> NDArray[np.float64]:
        """The mean of |SHAP value| over all rows, (features,); of several classes their sum."""
        result: NDArray[np.float64] = self.totals.importance.sum(axis=0)
        return result

    @property
    def order(self) -> list[int]:
        """The features, strongest first."""
        return [int(place) for place in np.argsort(-self.importance, kind="stable")]

    def cohorts(self) -> tuple[list[tuple[str, Cohort]], bool]:
        """(title, sums) of each cohort, and whether they are of all rows: a column with more values than there are
        colours is cut in quarters of the sample."""
        if self.sample.cohort is None:
            return [], True
        if self.totals.cohorts is not None:
            return [(_value(key), cohort) for key, cohort in sorted(self.totals.cohorts.items())], True
        column = self.sample.cohort
        cuts = np.unique(np.nanquantile(column, (0.25, 0.5, 0.75)))
        keys = np.where(np.isnan(column), np.nan, np.searchsorted(cuts, column, side="left"))
        edges = [f"up to {cuts[0]:.4g}", *(f"{a:.4g} to {b:.4g}" for a, b in pairwise(cuts))]
        edges.append(f"above {cuts[-1]:.4g}")
        cohorts = cohorts_of(self.sample, keys)
        return [("missing" if key < 0 else edges[int(key)], cohort) for key, cohort in sorted(cohorts.items())], False


def summarise(paths: Sequence[Path], hints: Hints, beside: Beside, shown: Shown, progress: Progress) -> Summary:
    """Read every row once.

    Raises `ConfigurationError` for files that hold no explanations, with file and line, and where the names, features
    or labels beside them do not fit.
    """
    own = features.names_of(beside)
    headings = beside.names
    if hints.features is None and (headings or (hints.joined and own)):
        hints = replace(hints, features=len(headings or own))
    explanations = Explanations(paths, hints)
    totals, quality = Totals(shown.rows), Quality()
    sample: Sample | None = None
    names: tuple[str, ...] = ()
    blocks = iter(explanations)
    first = next(blocks)
    layout = explanations.layout
    assert layout is not None
    if not 0 <= shown.output < layout.outputs:
        raise ConfigurationError(f"--class {shown.output}: the explanations have {layout.outputs} classes, from 0")
    names = headings or layout.names or (own if len(own) == layout.features else ())
    if headings and layout.names and headings != layout.names and set(headings) == set(layout.names):
        raise ConfigurationError(
            f'the names given are those of "{explanations.files[0]}" in another order', "Leave --names out."
        )
    if names and len(names) != layout.features:
        raise ConfigurationError(f"{len(names)} names, and the explanations have {layout.features} features")
    for rows in features.joined(_chain(first, blocks), replace(beside, names=names)):
        if sample is None:
            sample = Sample(rows.values[0].size + layout.features + layout.predictions)
        totals.add(rows)
        sample.add(rows)
        if rows.labels is not None:
            quality.add(rows)
        if totals.count // ANNOUNCED > (totals.count - len(rows)) // ANNOUNCED:
            progress.line(f"{totals.count:,} rows read")
    assert sample is not None
    assert sample.rows is not None
    if missing := [number for number in shown.rows if number not in totals.chosen]:
        raise ConfigurationError(f"--row {missing[0]}: there are {totals.count} rows, from 1")
    sample_rows = sample.rows if quality.count else replace(sample.rows, labels=None)
    if sample_rows.data is not None and np.isnan(sample_rows.data).all():
        sample_rows = replace(sample_rows, data=None)
    return Summary(
        tuple(explanations.files), layout, unique(names or [f"f{place}" for place in range(layout.features)]), totals,
        sample_rows, quality if quality.count else None, explanations.unexplained, shown.output,
        beside.cohort,
    )  # fmt: skip


def unique(names: Sequence[str]) -> tuple[str, ...]:
    """`names` as a chart can tell them apart: control characters are spaces, a repeated name is numbered."""
    result: list[str] = []
    known = set(RESERVED)
    for name in names:
        plain = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", " ", name).strip() or "(no name)"
        one, number = plain, 2
        while one in known:
            one, number = f"{plain} ({number})", number + 1
        known.add(one)
        result.append(one)
    return tuple(result)


def _chain(first: Rows, rest: Iterator[Rows]) -> Iterator[Rows]:
    yield first
    yield from rest


def _value(key: float) -> str:
    return "missing" if key == -np.inf else f"{key:.6g}"
