"""Which charts a report has, of which rows, and what is said below each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xgbpatch.report import charts
from xgbpatch.report.charts import Spec
from xgbpatch.report.explanations import Rows
from xgbpatch.report.statistics import strongest_interaction
from xgbpatch.report.summary import Summary

BARS, SWARMS, DEPENDENCE, GROUPED = 20, 12, 4, 10  # features on show
DRAWN_ROWS, DRAWN_CELLS = 800, 30_000


@dataclass(frozen=True)
class Figure:
    """A chart. `key` names its picture; `section` is where it stands in the page."""

    section: str
    key: str
    title: str
    caption: str
    spec: Spec


@dataclass(frozen=True)
class Words:
    """The title of the page, and what the user calls the prediction and its unit, such as `rings`."""

    prediction: str = "prediction"
    unit: str = ""
    title: str = "What moves the predictions"


def drawn(summary: Summary) -> Rows:
    """The rows that points are drawn of and a reader may choose among: the first of the sample, in order of tickets."""
    return summary.sample.take(slice(0, max(5, min(DRAWN_ROWS, DRAWN_CELLS // summary.layout.features))))


def unit_of(summary: Summary, words: Words) -> str:
    """The unit of the SHAP values."""
    return summary.link.unit or words.unit or f"unit of {words.prediction}"


def figures(summary: Summary, words: Words, other: Summary | None = None) -> list[Figure]:
    """Every chart of the report, in the order of the page; `other` is what `--compare` read."""
    cohorts, _ = summary.cohorts()
    return [
        *_overall(summary, words),
        *_dependences(summary, words),
        *_rows(summary, words),
        *_quality(summary, words),
        *([_cohorts(summary, words)] if len(cohorts) > 1 else []),
        *([_drift(summary, other, words)] if other else []),
    ]


def _overall(summary: Summary, words: Words) -> list[Figure]:
    unit, order, rows = unit_of(summary, words), summary.order, drawn(summary)
    top, swarm = order[:BARS], order[:SWARMS]
    data = None if rows.data is None else rows.data[:, swarm]
    more = f" The first {BARS} of {len(order)} features." if len(order) > BARS else ""
    coloured = (
        "Colour: low to high values of that feature."
        if data is not None
        else "With --data, colour shows the feature's value."
    )
    return [
        Figure(
            "features",
            "importance",
            "What moves predictions: mean |SHAP value|",
            f"By how much a feature moves a prediction, up or down: mean of all {summary.totals.count:,} rows.{more}",
            charts.importance(_names(summary, top), summary.totals.importance[:, top], unit),
        ),
        Figure(
            "features",
            "beeswarm",
            "In which direction: SHAP values of single rows",
            f"A point is a row of the sample ({len(rows):,} rows): right of 0 the feature raised it, left of 0 it "
            f"lowered it. {coloured} Grey: the value is missing.{_of_class(summary)}",
            charts.beeswarm(_names(summary, swarm), rows.values[:, summary.output][:, swarm], data, rows.numbers, unit),
        ),
    ]


def _dependences(summary: Summary, words: Words) -> list[Figure]:
    rows = drawn(summary)
    if rows.data is None or summary.sample.data is None:
        return []
    result = []
    for number, feature in enumerate(summary.order[:DEPENDENCE], 1):
        values = summary.sample.values[:, summary.output, feature]
        other = strongest_interaction(values, summary.sample.data, feature)
        name, partner = summary.names[feature], summary.names[other]
        spec = charts.dependence(
            (name, rows.data[:, feature]),
            rows.values[:, summary.output, feature],
            (partner, rows.data[:, other]),
            rows.numbers,
            unit_of(summary, words),
        )
        caption = (
            f"Each point is a row. Colour: {partner}, whose values go most with what {name} alone does not explain."
        )
        result.append(
            Figure(
                "dependence",
                f"dependence-{number}",
                f"{name}: SHAP value over value",
                caption + _of_class(summary),
                spec,
            )
        )
    return result


def _rows(summary: Summary, words: Words) -> list[Figure]:
    chosen = [("row", row) for row in summary.totals.chosen.values()]
    if not chosen:
        extremes = summary.totals.extremes
        chosen = [("highest prediction: row", extremes["highest"]), ("lowest prediction: row", extremes["lowest"])]
    return [
        Figure(
            "rows",
            f"row-{row.numbers[0]}",
            f"{title[0].upper()}{title[1:]} {row.numbers[0]:,}",
            row_words(summary, row, words),
            row_spec(summary, row, words),
        )
        for title, row in chosen
    ]


def row_spec(summary: Summary, row: Rows, words: Words) -> Spec:
    """The waterfall of one row."""
    cells = None if row.data is None or np.isnan(row.data).all() else row.data[0]
    return charts.waterfall(
        summary.names, row.values[0, summary.output], cells, float(row.base[0, summary.output]), unit_of(summary, words)
    )


def row_words(summary: Summary, row: Rows, words: Words) -> str:
    """Its prediction, base value and sum."""
    predictions = ", ".join(f"{value:.4g}" for value in row.predictions[0])
    margin = row.base[0, summary.output] + row.values[0, summary.output].sum()
    label = "" if row.labels is None or np.isnan(row.labels[0]) else f"; label {row.labels[0]:.4g}"
    unit = f" {words.unit}" if words.unit else ""
    return (
        f"Predicted {predictions}{unit}{label}. Base value {row.base[0, summary.output]:.4g}, sum {margin:.4g}."
        f"{_of_class(summary)}"
    )


def _quality(summary: Summary, words: Words) -> list[Figure]:
    unit = f" ({words.unit})" if words.unit else ""
    title = f"{words.prediction}{unit}"
    rows = drawn(summary)
    output = min(summary.output, rows.predictions.shape[1] - 1)
    result = [
        Figure(
            "quality",
            "predictions",
            "Predictions",
            f"{len(summary.sample):,} sampled rows.{_of_class(summary)}",
            charts.histogram(summary.sample.predictions[:, output], title),
        )
    ]
    if summary.sample.labels is None or summary.quality is None or summary.layout.outputs > 1:
        return result
    labelled = summary.sample.take(np.isfinite(summary.sample.labels))
    assert labelled.labels is not None
    assert rows.labels is not None
    rows = rows.take(np.isfinite(rows.labels))
    if not len(rows):
        return result
    if summary.quality.binary:
        x, y = _calibration(labelled.predictions[:, 0], labelled.labels)
        spec = charts.agreement(y, x, ("mean prediction of a tenth of the rows", "share of label 1"))
        caption = "A point is a tenth of the sampled rows, by prediction. On the dashed line, probabilities come true."
        return [*result, Figure("quality", "calibration", "Are the probabilities right?", caption, spec)]
    assert rows.labels is not None
    spec = charts.agreement(rows.predictions[:, output], rows.labels, (f"label{unit}", title))
    caption = f"{len(rows):,} sampled rows. On the dashed line a prediction equals its label."
    return [*result, Figure("quality", "labels", "Predictions and labels", caption, spec)]


def _calibration(
    predictions: NDArray[np.float64], labels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    parts = [part for part in np.array_split(np.argsort(predictions, kind="stable"), 10) if len(part)]
    return np.array([predictions[part].mean() for part in parts]), np.array([labels[part].mean() for part in parts])


def _cohorts(summary: Summary, words: Words) -> Figure:
    cohorts, whole = summary.cohorts()
    top = summary.order[:GROUPED]
    means = [(title, np.asarray(each.absolute)[:, top].sum(axis=0) / each.rows) for title, each in cohorts]
    over = "all rows" if whole else f"the sample of {len(summary.sample):,} rows"
    return Figure(
        "cohorts",
        "cohorts",
        "What moves predictions in each cohort",
        f"Means over {over}.",
        charts.groups(_names(summary, top), means, unit_of(summary, words), summary.cohort),
    )


def _drift(summary: Summary, other: Summary, words: Words) -> Figure:
    top = summary.order[:BARS]
    groups = [("these rows", summary.importance[top]), ("compared with", other.importance[top])]
    caption = f"Means over all {summary.totals.count:,} and {other.totals.count:,} rows."
    return Figure(
        "drift",
        "drift",
        "What has moved: mean |SHAP value| of both files",
        caption,
        charts.groups(_names(summary, top), groups, unit_of(summary, words), "rows"),
    )


def _names(summary: Summary, places: Sequence[int]) -> list[str]:
    return [summary.names[place] for place in places]


def _of_class(summary: Summary) -> str:
    return f" Of class {summary.output}." if summary.layout.outputs > 1 else ""
