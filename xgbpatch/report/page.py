"""The page: one HTML file that needs no other, that can be read without JavaScript, and printed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

from xgbpatch.report import charts
from xgbpatch.report.charts import shap_title, short
from xgbpatch.report.figures import Figure, Words, drawn, row_spec, unit_of
from xgbpatch.report.statistics import TOLERANCE, distance
from xgbpatch.report.summary import Summary

LISTED = 200  # features in a table
SECTIONS = (
    ("features", "Features"),
    ("dependence", "Dependence"),
    ("rows", "Single rows"),
    ("quality", "Predictions"),
    ("cohorts", "Cohorts"),
    ("drift", "Drift"),
    ("additivity", "Do they add up?"),
    ("facts", "Facts of this report"),
)


@dataclass(frozen=True)
class Table:
    """Rows of text or numbers below `head`; numbers are sorted as numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]


def render(
    summary: Summary,
    figures: Sequence[Figure],
    stills: Mapping[str, tuple[str, bytes]],
    words: Words,
    facts: Sequence[tuple[str, str]],
    other: Summary | None = None,
) -> str:
    """The whole page. `stills` are (media type, picture) by the figures' keys; `facts` are (name, text) of the run."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("xgbpatch"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    tables = {
        "features": _features(summary, unit_of(summary, words)),
        "cohorts": _cohorts(summary),
        "drift": None if other is None else _drift(summary, other, unit_of(summary, words)),
        "facts": Table(("", ""), facts),
    }
    shown = {figure.section for figure in figures} | {name for name, table in tables.items() if table} | {"additivity"}
    return environment.get_template("report.html.j2").render(
        summary=summary,
        figures=figures,
        tables=tables,
        words=words,
        sections=[(key, name) for key, name in SECTIONS if key in shown],
        stills={
            key: f"data:{kind};base64,{base64.b64encode(picture).decode()}" for key, (kind, picture) in stills.items()
        },
        additivity=_additivity(summary),
        measures=summary.quality.measures() if summary.quality else [],
        document=_script_text({figure.key: _packed(figure.spec) for figure in figures}),
        rows=_script_text(_choice(summary, words)),
        javascript=charts.javascript(),
        drawn=len(drawn(summary)),
    )


def _features(summary: Summary, unit: str) -> Table:
    totals, output = summary.totals, summary.output
    one = summary.layout.outputs == 1
    head = ("feature", shap_title(unit, "mean |SHAP|"), "share", "mean SHAP", "lowest", "highest")
    whole = float(summary.importance.sum()) or 1.0
    rows = [
        (
            summary.names[place],
            short(summary.importance[place]),
            f"{summary.importance[place] / whole:.1%}",
            short(totals.sums[output, place] / totals.count),
            short(totals.lowest[output, place]),
            short(totals.highest[output, place]),
        )
        for place in summary.order[:LISTED]
    ]
    return Table(head if one else (*head[:3], *(f"{name}, class {output}" for name in head[3:])), rows)


def _cohorts(summary: Summary) -> Table | None:
    cohorts, whole = summary.cohorts()
    if not cohorts:
        return None
    labelled = summary.sample.labels is not None
    head = (
        summary.cohort,
        "rows" if whole else "rows of the sample",
        "mean prediction",
        *(("mean label", "mean |error|") if labelled else ()),
        "strongest features",
    )
    rows = []
    for title, each in cohorts:
        means = np.asarray(each.absolute).sum(axis=0) / each.rows
        strongest = ", ".join(
            f"{summary.names[place]} {means[place]:.3g}" for place in np.argsort(-means, kind="stable")[:3]
        )
        known = each.labelled or np.nan
        rates = (each.prediction / each.rows, *((each.label / known, each.error / known) if labelled else ()))
        rows.append((title, float(each.rows), *map(short, rates), strongest))
    return Table(head, rows)


def _drift(summary: Summary, other: Summary, unit: str) -> Table:
    head = (
        "feature",
        shap_title(unit, "mean |SHAP|"),
        "compared with",
        "change",
        "mean SHAP",
        "compared with",
        shap_title(unit, "distance"),
        "largest gap of shares",
    )
    output, rows = summary.output, []
    for place in summary.order[:LISTED]:
        now, before = float(summary.importance[place]), float(other.importance[place])
        moved, gap = distance(summary.sample.values[:, output, place], other.sample.values[:, output, place])
        change = f"{now / before - 1:+.0%}" if before else "new" if now else "none"
        means = (each.totals.sums[output, place] / each.totals.count for each in (summary, other))
        rows.append(
            (
                summary.names[place],
                short(now),
                short(before),
                change,
                *(short(mean) for mean in means),
                short(moved, 3),
                short(gap, 3),
            )
        )
    return Table(head, rows)


def _additivity(summary: Summary) -> dict[str, Any]:
    """The verdict over all rows, for the page."""
    additivity = summary.totals.additivity
    if additivity.link not in additivity.misses:
        return {"known": False}
    difference, row = additivity.worst[additivity.link]
    return {
        "known": True,
        "misses": additivity.misses[additivity.link],
        "link": summary.link.title,
        "worst": difference,
        "row": row,
        "tolerance": TOLERANCE,
    }


def _choice(summary: Summary, words: Words) -> dict[str, Any]:
    """What the page needs to draw any sampled row: numbers alone, a list a row."""
    rows = drawn(summary)
    output = summary.output
    data = rows.data
    first = rows.take(slice(0, 1))
    spec = row_spec(summary, first, words)
    return {
        "spec": {**spec, "data": {"values": []}},
        "names": summary.names,
        "rows": [int(number) for number in rows.numbers],
        "predictions": [", ".join(f"{value:.4g}" for value in row) for row in rows.predictions],
        "labels": None if rows.labels is None else [short(label) for label in rows.labels],
        "base": [short(value, 6) for value in rows.base[:, output]],
        "values": [[short(value) for value in row] for row in rows.values[:, output]],
        "data": None if data is None else [[short(value) for value in row] for row in data],
    }


def _packed(spec: dict[str, Any]) -> dict[str, Any]:
    """The specification with its rows as columns, which take half the bytes."""
    rows = spec["data"]["values"]
    columns = {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    for name in [name for name, column in columns.items() if column and isinstance(column[0], str)]:
        texts = list(dict.fromkeys(columns[name]))
        places = {text: place for place, text in enumerate(texts)}
        columns[name] = [texts, [places[text] for text in columns[name]]]
    return {**spec, "data": {"columns": columns}}


def _script_text(document: Any) -> str:
    """JSON that no text in it can lead out of a script element."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _number(value: str | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1000 else f"{value:.4g}"
