"""A page about explained predictions: what moves them, in which direction, for whom, and whether the numbers add up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from xgbpatch.errors import ConfigurationError, ExtraMissingError
from xgbpatch.progress import Progress, Silent

if TYPE_CHECKING:
    from xgbpatch.report.explanations import Hints
    from xgbpatch.report.features import Beside
    from xgbpatch.report.figures import Figure, Words
    from xgbpatch.report.summary import Shown, Summary

LONGEST_LIST = 20  # files that a page names


@dataclass(frozen=True)
class HtmlReport:
    """`html` is the whole page, `figures` are its charts, and `summary` has the numbers."""

    html: str
    figures: tuple[Figure, ...]
    summary: Summary

    def pictures(self) -> Iterator[tuple[str, bytes]]:
        """(name, PNG file) of each chart, 1360 pixels wide and more."""
        from xgbpatch.report import charts

        for figure in self.figures:
            yield f"{figure.key}.png", charts.png(figure.spec)


def make(
    explanations: Sequence[Path], *, hints: Hints | None = None, beside: Beside | None = None,
    compare: Sequence[Path] = (), shown: Shown | None = None, words: Words | None = None,
    facts: Sequence[tuple[str, str]] = (), progress: Progress | None = None,
) -> HtmlReport:  # fmt: skip
    """Read `explanations` once, a block at a time, and `compare` likewise, and draw their report.

    `beside` are files of features and labels, row for row those of the explanations; `facts` are (name, text) that the
    page lists beside its own, such as the model's.

    Raises `ConfigurationError` for files that hold no explanations or do not fit together, with file and line, and
    where base value and SHAP values add up to the prediction in fewer than half of the rows, unless `hints.unequal`;
    `ExtraMissingError` without the extra `report` (and `parquet`, for such files); `OSError` as the system does.
    """
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise ExtraMissingError("a report", "report") from error
    from xgbpatch.report import charts, page
    from xgbpatch.report.explanations import Hints
    from xgbpatch.report.features import Beside
    from xgbpatch.report.figures import Words
    from xgbpatch.report.figures import figures as figures_of
    from xgbpatch.report.summary import Shown, summarise

    hints, beside, words, shown = hints or Hints(), beside or Beside(), words or Words(), shown or Shown()
    progress = progress or Silent()
    charts.require()
    summary = summarise(explanations, hints, beside, shown, progress)
    _require_explanations(summary, hints.unequal)
    other = None
    if compare:
        other = summarise(compare, hints, Beside(names=beside.names), replace(shown, rows=()), progress)
    if other and (other.layout.features, other.layout.outputs) != (summary.layout.features, summary.layout.outputs):
        raise ConfigurationError(
            f'"{compare[0]}" explains {other.layout.features} features and {other.layout.outputs} outputs, '
            f'"{explanations[0]}" {summary.layout.features} and {summary.layout.outputs}: not the same model'
        )
    if other and other.layout.names and summary.layout.names not in (None, other.layout.names):
        raise ConfigurationError(
            f'"{compare[0]}" has other names of features than "{explanations[0]}", or another order: not the same model'
        )
    if other:
        _require_explanations(other, hints.unequal)
    figures = figures_of(summary, words, other)
    stills = {figure.key: charts.still(figure.spec) for figure in figures}
    html = page.render(summary, figures, stills, words, [*_facts(summary, other), *facts], other)
    return HtmlReport(html, tuple(figures), summary)


def _require_explanations(summary: Summary, unequal: bool) -> None:
    additivity = summary.totals.additivity
    misses = additivity.misses.get(additivity.link, 0)
    if misses * 2 > summary.totals.count and not unequal:
        raise ConfigurationError(
            f'"{summary.files[0]}" holds no explanations that add up: in {misses} of {summary.totals.count} rows the '
            f"base value and the SHAP values of {summary.layout.features} features miss the prediction, the worst by "
            f"{additivity.worst[additivity.link][0]:.4g} in row {additivity.worst[additivity.link][1]}",
            "Is its first column the prediction, its second the base value? Of several classes, --classes says how "
            "many. --even-so makes the page nevertheless.",
        )


def _facts(summary: Summary, other: Summary | None) -> list[tuple[str, str]]:
    sample, layout = summary.sample, summary.layout
    facts = [
        ("made", f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, by xgbpatch {version('xgbpatch')}"),
        *_files("explanations", summary.files),
        ("rows", f"{summary.totals.count:,}, each read once; {layout.features} features, {layout.outputs} output(s)"),
        (
            "sample",
            f"{len(sample):,} rows: those with the smallest splitmix64 hash of their number, the same in every run; "
            "totals, means, extremes and the check of sums are over all rows",
        ),
        ("unit of SHAP values", summary.link.unit or "that of the prediction"),
    ]
    if summary.quality and summary.quality.count < summary.totals.count:
        known = (
            f"{summary.quality.count:,} of {summary.totals.count:,} rows have one: what is said of labels is of these"
        )
        facts.append(("labels", known))
    if summary.unexplained:
        facts.append(("left out", f"{summary.unexplained:,} captured answers without SHAP values"))
    if other:
        facts += [*_files("compared with", other.files), ("its rows", f"{other.totals.count:,}")]
    return facts


def _files(title: str, files: Sequence[Path]) -> list[tuple[str, str]]:
    facts = []
    for path in files[:LONGEST_LIST]:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while part := stream.read(1 << 20):
                digest.update(part)
        facts.append((title, f"{path.name}, {path.stat().st_size:,} bytes, sha256:{digest.hexdigest()}"))
    more = len(files) - LONGEST_LIST
    return [*facts, (title, f"and {more} more files")] if more > 0 else facts
