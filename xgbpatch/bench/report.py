"""Results as a table, as Markdown, as a JSON document and as one HTML page with bars that needs no network."""

from __future__ import annotations

import html
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from xgbpatch.bench.runner import Figures, Result

HEAD = ("case", "image", "req/s", "rows/s", "p50 ms", "p99 ms", "p99 open ms", "CPU ms", "req/s ratio", "CPU ratio",
        "peak MB", "wrong")  # fmt: skip


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """A line a case and image; ratios to the first image are medians of pairs of turns, with their spread."""
    return [HEAD, *(line for result in results for line in _lines(result))]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table."""
    head, *rest = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join((head, "|" + " --- |" * len(lines[0]), *rest))


def document(results: Sequence[Result]) -> dict[str, Any]:
    """Everything, turn by turn, for `--json`; seconds and bytes."""
    return {"machine": machine(), "cases": [_case(result) for result in results]}


def machine() -> str:
    """Where it ran, in a few words."""
    load = os.getloadavg()[0]
    return f"{len(os.sched_getaffinity(0))} cores {platform.machine()}, load {load:.1f} at the end"


def pairs(figures: Figures, first: Figures) -> tuple[list[float], list[float]]:
    """Requests a second and processor time a request, over the first image's, turn by turn."""
    rates = [one.rate / other.rate for one, other in zip(figures.loads, first.loads, strict=False) if other.rate]
    return rates, [one / other for one, other in zip(figures.cpu, first.cpu, strict=False) if other]


def _lines(result: Result) -> Iterator[tuple[str, ...]]:
    first = next(iter(result.figures.values()), None)
    for name, figures in result.figures.items():
        if figures.refused or not figures.loads:
            yield (str(result.case), name, f"not measured: {figures.refused}", *[""] * (len(HEAD) - 3))
            continue
        ratios = ("", "")
        if first is not None and figures is not first and first.loads:
            rates, times = pairs(figures, first)
            ratios = (spread(rates), spread(times))
        opened = _ms(median(each.p99 for each in figures.opened)) if figures.opened else ""
        yield (
            str(result.case), name, _number(figures.rate), _number(figures.rate * result.case.rows_each),
            _ms(median(each.p50 for each in figures.loads)), _ms(median(each.p99 for each in figures.loads)), opened,
            _ms(median(figures.cpu)), *ratios, f"{figures.peak / 1e6:.0f}" if figures.peak else "?",
            str(figures.wrong),
        )  # fmt: skip


def spread(ratios: Sequence[float]) -> str:
    """The median, and the least and the largest."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""


def _ms(seconds: float) -> str:
    return _number(1000 * seconds)


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _case(result: Result) -> dict[str, Any]:
    case = result.case
    images = {name: _figures(figures) for name, figures in result.figures.items()}
    return {"mode": case.mode, "model": case.model, "rows": case.rows, "shap": case.explained, "images": images}


def _figures(figures: Figures) -> dict[str, Any]:
    def turn(load: Any) -> dict[str, Any]:
        return {"client": load.client, "requests": load.requests, "wrong": load.wrong, "seconds": load.seconds,
                "p50": load.p50, "p99": load.p99}  # fmt: skip

    return {
        "refused": figures.refused, "closed": [turn(each) for each in figures.loads],
        "open": [turn(each) for each in figures.opened], "cpu_seconds": figures.cpu, "peak_bytes": figures.peak,
    }  # fmt: skip


_STYLE = """body{font:16px/1.4 sans-serif;margin:1em auto;padding:0 1em;max-width:75em}
h3{margin:1em 0 .2em;font-size:1em}code{overflow-wrap:anywhere}
.bar{display:grid;grid-template-columns:minmax(6em,16em) 1fr 16em;gap:0 .6em;align-items:center;margin:.15em 0}
.bar>*{overflow-wrap:anywhere}.track{position:relative;height:1.1em;background:#eee}
.fill{position:absolute;height:100%;background:#7aa6d0}.first .fill{background:#999}
.range{position:absolute;top:45%;height:10%;min-width:1px;background:#123}
.table{overflow-x:auto}table{border-collapse:collapse;white-space:nowrap;font-size:.9em}
td,th{padding:.2em .5em;text-align:right;border-bottom:1px solid #ccc}th:first-child,td:first-child{text-align:left}
@media(max-width:50em){.bar{grid-template-columns:1fr}.bar>:first-child{margin-top:.4em}}"""
_LEGEND = """Ratios are medians of pairs of turns, over the first image's; least and largest in brackets. An explained
answer (SHAP) is set beside the plain one of an image that cannot explain. CPU: processor time of the whole container,
per request. p99 open: requests come at half the slowest image's rate, whether or not the one before was answered. Peak:
the largest process. Wrong: answers that differed from the first one."""


def page(results: Sequence[Result], command: str) -> str:
    """One HTML page: bars, then the table. It needs no script and no network, and fits any width."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in HEAD[1:])
    cells = "".join(_group(result) for result in results)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>xgbpatch bench</title><style>{_STYLE}</style><h1>xgbpatch bench</h1>"
        f"<p><code>{html.escape(command)}</code><br>{html.escape(machine())}</p><p>{_LEGEND}</p>"
        f"{''.join(_plots(results))}<h2>All figures</h2>"
        f'<div class="table"><table><tr>{head}</tr>{cells}</table></div></html>\n'
    )


def _group(result: Result) -> str:
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for _, *line in _lines(result)
    )
    return f'<tr><th colspan="{len(HEAD) - 1}">{html.escape(str(result.case))}</th></tr>{lines}'


def _plots(results: Sequence[Result]) -> Iterator[str]:
    """Bars of each quantity, case by case: the median, and a line from the least turn to the largest."""
    quantities: tuple[tuple[str, str, Callable[[Figures], list[float]]], ...] = (
        ("Requests a second: more is better", "requests/s", lambda figures: [each.rate for each in figures.loads]),
        ("Processor time of a request: less is better", "ms", lambda figures: [1000 * each for each in figures.cpu]),
        ("Latency, 99th percentile: less is better", "ms", lambda figures: [1000 * load.p99 for load in figures.loads]),
    )
    for title, unit, values in quantities:
        yield f"<h2>{title}</h2>"
        for result in results:
            bars = {name: values(figures) for name, figures in result.figures.items()}
            yield f"<h3>{html.escape(str(result.case))}</h3>{_bars(bars, unit)}"


def _bars(bars: Mapping[str, Sequence[float]], unit: str) -> str:
    longest = max((max(turns) for turns in bars.values() if turns), default=0) or 1
    lines = []
    for number, (name, turns) in enumerate(bars.items()):
        drawn, label = "", "not measured"
        if turns:
            least, middle, largest = (100 * each / longest for each in (min(turns), median(turns), max(turns)))
            drawn = (
                f'<span class="fill" style="width:{middle:.1f}%"></span>'
                f'<span class="range" style="left:{least:.1f}%;width:{largest - least:.1f}%"></span>'
            )
            label = f"{_number(median(turns))} ({_number(min(turns))} to {_number(max(turns))}) {unit}"
        kind = "bar first" if number == 0 else "bar"
        lines.append(
            f'<div class="{kind}"><span>{html.escape(name)}</span><span class="track">{drawn}</span>'
            f"<span>{label}</span></div>"
        )
    return "".join(lines)
