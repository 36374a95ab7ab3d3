"""Results as a table, as Markdown, as a JSON document and as one HTML page with plots that needs no network."""

from __future__ import annotations

import html
import io
import os
import platform
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from xgbpatch.bench.runner import Figures, Result

HEAD = ("case", "image", "req/s", "rows/s", "p50 ms", "p99 ms", "open p99 ms", "CPU ms", "req/s ratio", "CPU ratio",
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
            str(result.case), name, f"{figures.rate:.4g}", f"{figures.rate * result.case.rows:.4g}",
            _ms(median(each.p50 for each in figures.loads)), _ms(median(each.p99 for each in figures.loads)), opened,
            _ms(median(figures.cpu)), *ratios, f"{figures.peak / 1e6:.0f}" if figures.peak else "?",
            str(figures.wrong),
        )  # fmt: skip


def spread(ratios: Sequence[float]) -> str:
    """The median, and the least and the largest."""
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g}"


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


def page(results: Sequence[Result], command: str) -> str:
    """One HTML page: the plots as SVG, then the table."""
    head, *lines = rows(results)
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    style = (
        "body{font-family:sans-serif;margin:2em}td,th{padding:.2em .6em;text-align:left;border-bottom:1px solid #ccc}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>xgbpatch bench</title><style>{style}</style>'
        f"<h1>xgbpatch bench</h1><p><code>{html.escape(command)}</code><br>{html.escape(machine())}</p>"
        f"{''.join(_plots(results))}<table><tr>{names}</tr>{cells}</table></html>\n"
    )


def _plots(results: Sequence[Result]) -> Iterator[str]:
    for title, value in (
        ("requests a second", lambda figures: figures.rate),
        ("processor ms a request", lambda figures: 1000 * median(figures.cpu)),
        ("p99 ms", lambda figures: 1000 * median(each.p99 for each in figures.loads)),
    ):
        yield f"<h2>{title}</h2>{_plot(results, title, value)}"


def _plot(results: Sequence[Result], title: str, value: Any) -> str:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(name for result in results for name in result.figures))
    figure, axes = pyplot.subplots(figsize=(10, 1.5 + 0.25 * len(results) * len(names)))
    height = 0.8 / max(1, len(names))
    for number, name in enumerate(names):
        measured = [(at, result.figures[name]) for at, result in enumerate(results) if name in result.figures]
        measured = [(at, figures) for at, figures in measured if figures.loads]
        axes.barh(
            [at + number * height for at, _ in measured], [value(each) for _, each in measured], height, label=name
        )
    axes.set_yticks([at + 0.4 - height / 2 for at in range(len(results))], [str(result.case) for result in results])
    axes.set_xscale("log")
    axes.set_xlabel(title)
    axes.invert_yaxis()
    axes.legend()
    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    return text.getvalue()[text.getvalue().index("<svg") :]
