"""Vega-Lite 6 specifications of every chart: one for the page, where it can be hovered, and for the picture.

The one module that imports vl-convert, Vega-Lite's own code, which draws pictures here and charts in the page.

Colours are those of Okabe and Ito (2008) and the scale viridis, which people tell apart who see fewer colours. Names of
features are data, never part of an expression, so that no name can be more than text.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ExtraMissingError

Numbers = NDArray[np.float64]
Spec = dict[str, Any]

RAISES, LOWERS, QUIET = "#d55e00", "#0072b2", "#767676"
PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#000000", "#b3a100"]
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"]
LONGEST = 150  # pixels of a name
SHOWN_STEPS = 10
FEW_VALUES = 8  # of a feature: its axis names them
WIDTH = 680  # of a picture, in CSS pixels
SCALE = 2  # pixels of a PNG file for each
SCALE_IN_PAGE = 1.3
MOST_OUTLINES = 250  # things drawn as outlines in the page
CONFIG = {
    "font": "DejaVu Sans, Verdana, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": LONGEST,
        "gridColor": "#e5e5e5",
        "domainColor": QUIET,
        "tickColor": QUIET,
        "titleLimit": 420,
    },
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "orient": "top",
        "labelLimit": LONGEST,
        "titleLimit": 300,
    },
    "axisY": {"labelPadding": 6},
}


def shap_title(unit: str, what: str = "SHAP value") -> str:
    """The title of an axis of SHAP values."""
    return f"{what} ({unit})" if unit else what


def importance(names: Sequence[str], values: Numbers, unit: str) -> Spec:
    """Bars of mean |SHAP value|, `values` (outputs, features), in the order that is given; classes are stacked."""
    many = len(values) > 1
    rows = [
        {"feature": name, "class": f"class {output}", "mean": short(values[output, place])}
        for place, name in enumerate(names)
        for output in range(len(values))
    ]
    x = {
        "field": "mean",
        "type": "quantitative",
        "title": shap_title(unit, "mean |SHAP value|"),
        "axis": {"tickCount": 6},
    }
    y = _features()
    tooltip = [_tip("feature", "feature"), *([_tip("class", "class")] if many else []), _tip("mean", "mean |SHAP|")]
    bar: Spec = {"mark": {"type": "bar", "color": LOWERS}, "encoding": {"x": x, "y": y, "tooltip": tooltip}}
    if many:
        bar["encoding"]["color"] = {"field": "class", "scale": {"range": PALETTE}, "title": None}
        return _chart(rows, bar, {"step": 26})
    text = {
        "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 11},
        "encoding": {
            "x": {**x, "scale": {"domain": [0, short(1.15 * (values.max() or 1))]}},
            "y": y,
            "text": {"field": "mean", "type": "quantitative", "format": ".3~g"},
        },
    }
    return _chart(rows, {"layer": [bar, text]}, {"step": 26})


def beeswarm(names: Sequence[str], values: Numbers, data: Numbers | None, rows: NDArray[np.int64], unit: str) -> Spec:
    """A point for each row and feature, `values` (n, features); its colour is the rank of the feature's value."""
    points = []
    for place, name in enumerate(names):
        spread = _spread(values[:, place])
        column = None if data is None else data[:, place]
        ranks = None if column is None else _ranks(column)
        for row in range(len(values)):
            point = {
                "feature": name,
                "shap": short(values[row, place]),
                "off": short(spread[row], 2),
                "row": int(rows[row]),
            }
            if column is not None and ranks is not None:
                point["value"] = short(column[row])
                point["rank"] = short(ranks[row], 2)
            points.append(point)
    tooltip = [_tip("feature", "feature"), _tip("row", "row", "nominal"), _tip("shap", "SHAP value")]
    encoding: Spec = {
        "x": {"field": "shap", "type": "quantitative", "title": shap_title(unit), "axis": {"tickCount": 6}},
        "y": {**_features(), "axis": {"title": None, "grid": True}},
        "yOffset": {"field": "off", "type": "quantitative", "scale": {"domain": [-1.15, 1.15]}},
        "tooltip": tooltip,
    }
    if data is not None:
        tooltip.insert(2, _tip("value", "its value"))
        legend = {
            "title": "value of the feature",
            "values": [0, 1],
            "gradientLength": 140,
            "labelExpr": "datum.value < 0.5 ? 'low' : 'high'",
        }
        encoding["color"] = {
            "condition": {"test": "!isValid(datum.rank)", "value": "#b0b0b0"},
            "field": "rank",
            "type": "quantitative",
            "legend": legend,
            "scale": {"scheme": "viridis", "domain": [0, 1]},
        }
    mark = {"type": "circle", "size": 16, "opacity": 0.75, "color": LOWERS}
    return _chart(points, _with_zero({"mark": mark, "encoding": encoding}), {"step": 38})


def dependence(
    feature: tuple[str, Numbers], values: Numbers, other: tuple[str, Numbers], rows: NDArray[np.int64], unit: str
) -> Spec:
    """SHAP values (n,) of a feature over its value, coloured by that of another; rows that miss one are left out."""
    keep = np.isfinite(feature[1]) & np.isfinite(other[1])
    points = [
        {"x": short(x), "shap": short(y), "other": short(z), "row": int(row)}
        for x, y, z, row in zip(feature[1][keep], values[keep], other[1][keep], rows[keep], strict=True)
    ]
    few = _few(feature[1][keep])
    colours = _few(other[1][keep])
    low, high = np.quantile(other[1][keep], (0.05, 0.95)) if keep.any() else (0.0, 1.0)
    scale = {"scheme": "viridis", "domain": [short(low), short(high) if high > low else short(low + 1)], "clamp": True}
    encoding = {
        "x": {
            "field": "x",
            "type": "quantitative",
            "title": feature[0],
            "scale": {"zero": False, "padding": 12, "nice": False},
            "axis": {"values": few} if few else {"tickCount": 6},
        },
        "y": {"field": "shap", "type": "quantitative", "title": shap_title(unit)},
        "color": {
            "field": "other",
            "type": "quantitative",
            "scale": scale,
            "legend": {
                "title": f"colour: {other[0]}",
                "gradientLength": 140,
                **({"values": colours, "format": "~g"} if colours else {"tickCount": 3}),
            },
        },
        "tooltip": [
            _tip("row", "row", "nominal"),
            _tip("x", "value"),
            _tip("shap", "SHAP value"),
            _tip("other", "colour"),
        ],
    }
    return _chart(points, {"mark": {"type": "circle", "size": 22, "opacity": 0.75}, "encoding": encoding}, 260)


def waterfall(names: Sequence[str], values: Numbers, cells: Numbers | None, base: float, unit: str) -> Spec:
    """From the base value, feature by feature, to the sum: the ten strongest and the rest, `values` (features,).

    The chart sorts, adds up and names the rest itself, so that the page draws another row by other data alone.
    """
    rows = [
        {
            "label": name if cells is None else f"{_cell(cells[place])} = {name}",
            "shap": short(values[place], 6),
            "base": short(base, 6),
        }
        for place, name in enumerate(names)
    ]
    transform: list[Spec] = [
        {"calculate": "abs(datum.shap)", "as": "size"},
        {"window": [{"op": "row_number", "as": "place"}], "sort": [{"field": "size", "order": "descending"}]},
        {"calculate": f"datum.place <= {SHOWN_STEPS} ? datum.label : 'other features'", "as": "step"},
        {"calculate": f"min(datum.place, {SHOWN_STEPS + 1})", "as": "order"},
        {
            "aggregate": [{"op": "sum", "field": "shap", "as": "shap"}, {"op": "max", "field": "base", "as": "base"}],
            "groupby": ["step", "order"],
        },
        {
            "window": [{"op": "sum", "field": "shap", "as": "total"}],
            "sort": [{"field": "order", "order": "descending"}],
            "frame": [None, 0],
        },
        {"calculate": "datum.base + datum.total", "as": "end"},
        {"calculate": "datum.end - datum.shap", "as": "start"},
    ]
    y = {
        "field": "step",
        "type": "nominal",
        "title": None,
        "sort": {"field": "order"},
        "axis": {"labelLimit": LONGEST + 40},
    }
    title = shap_title(unit, "base value + SHAP values")
    x = {"type": "quantitative", "title": title, "scale": {"zero": False, "padding": 54}, "axis": {"tickCount": 5}}
    tooltip = [_tip("step", "feature"), _tip("shap", "SHAP value"), _tip("start", "from"), _tip("end", "to")]
    colour = {"condition": {"test": "datum.shap >= 0", "value": RAISES}, "value": LOWERS}
    bars = {
        "mark": {"type": "bar", "height": {"band": 0.75}},
        "encoding": {"x": {**x, "field": "start"}, "x2": {"field": "end"}, "y": y, "color": colour, "tooltip": tooltip},
    }
    texts = [
        {
            "transform": [{"filter": f"datum.shap {sign} 0"}],
            "mark": {"type": "text", "align": align, "dx": dx, "fontSize": 11},
            "encoding": {
                "x": {**x, "field": "end"},
                "y": y,
                "text": {"field": "shap", "type": "quantitative", "format": "+.3~g"},
            },
        }
        for sign, align, dx in ((">=", "left", 4), ("<", "right", -4))
    ]
    line = {
        "mark": {"type": "rule", "strokeDash": [3, 3], "color": QUIET},
        "encoding": {"x": {**x, "aggregate": "max", "field": "base"}},
    }
    return {**_chart(rows, {"layer": [line, bars, *texts]}, {"step": 26}), "transform": transform}


def groups(names: Sequence[str], groups: Sequence[tuple[str, Numbers]], unit: str, title: str) -> Spec:
    """Mean |SHAP value| (features,) of each of some groups of rows: a mark of its own colour and shape for each."""
    rows = [
        {"feature": name, "group": group, "mean": short(mean[place])}
        for group, mean in groups
        for place, name in enumerate(names)
    ]
    order = [group for group, _ in groups]
    x = {
        "field": "mean",
        "type": "quantitative",
        "title": shap_title(unit, "mean |SHAP value|"),
        "axis": {"tickCount": 6},
    }
    ranges = {
        "mark": {"type": "rule", "color": "#b0b0b0"},
        "encoding": {"x": {**x, "aggregate": "min"}, "x2": {"field": "mean", "aggregate": "max"}, "y": _features()},
    }
    domain = {"field": "group", "type": "nominal", "title": title, "legend": {"columns": 4}}
    points = {
        "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
        "encoding": {
            "x": x,
            "y": _features(),
            "color": {**domain, "scale": {"domain": order, "range": PALETTE}},
            "shape": {**domain, "scale": {"domain": order, "range": SHAPES}},
            "tooltip": [_tip("feature", "feature"), _tip("group", "group"), _tip("mean", "mean |SHAP|")],
        },
    }
    return _chart(rows, {"layer": [ranges, points]}, {"step": 26})


def agreement(predictions: Numbers, labels: Numbers, titles: tuple[str, str]) -> Spec:
    """Predictions (n,) over labels (n,) with the line where both are equal; `titles` are those of the axes x and y."""
    points = [{"label": short(y), "prediction": short(x)} for x, y in zip(predictions, labels, strict=True)]
    ends = [short(min(predictions.min(), labels.min())), short(max(predictions.max(), labels.max()))]
    scale, ticks = {"zero": False, "nice": True}, {"tickCount": 6}
    line = {
        "data": {"values": [{"a": end} for end in ends]},
        "mark": {"type": "line", "color": QUIET, "strokeDash": [4, 4]},
        "encoding": {"x": {"field": "a", "type": "quantitative"}, "y": {"field": "a", "type": "quantitative"}},
    }
    dots = {
        "mark": {"type": "circle", "size": 22 if len(points) > 50 else 90, "opacity": 0.6, "color": LOWERS},
        "encoding": {
            "x": {"field": "label", "type": "quantitative", "title": titles[0], "scale": scale, "axis": ticks},
            "y": {"field": "prediction", "type": "quantitative", "title": titles[1], "scale": scale, "axis": ticks},
            "tooltip": [_tip("label", titles[0]), _tip("prediction", titles[1])],
        },
    }
    return _chart(points, {"layer": [dots, line]}, 300)


def histogram(predictions: Numbers, title: str) -> Spec:
    """How many of `predictions` (n,) lie where."""
    counts, edges = np.histogram(predictions, bins=min(40, max(8, int(len(predictions) ** 0.5))))
    rows = [
        {"from": short(a), "to": short(b), "rows": int(count)}
        for a, b, count in zip(edges, edges[1:], counts, strict=False)
    ]
    encoding = {
        "x": {
            "field": "from",
            "type": "quantitative",
            "bin": "binned",
            "title": title,
            "scale": {"zero": False},
            "axis": {"tickCount": 8},
        },
        "x2": {"field": "to"},
        "y": {"field": "rows", "type": "quantitative", "title": "rows of the sample"},
        "tooltip": [_tip("from", "from"), _tip("to", "to"), _tip("rows", "rows")],
    }
    mark = {"type": "bar", "color": LOWERS, "stroke": "white", "strokeWidth": 0.5}
    return _chart(rows, {"mark": mark, "encoding": encoding}, 220)


def _few(values: Numbers) -> list[float | None]:
    """The values that an axis names, one by one, where they are few; else none."""
    unique = np.unique(values)
    return [short(value) for value in unique] if len(unique) <= FEW_VALUES else []


def short(value: float, digits: int = 4) -> float | None:
    """`value` with so many significant digits, as a page writes it; None where it is missing."""
    return float(f"{value:.{digits}g}") if np.isfinite(value) else None


def _cell(value: float) -> str:
    return "missing" if np.isnan(value) else f"{value:.4g}"


def _chart(rows: list[Spec], body: Spec, height: Spec | int) -> Spec:
    schema = "https://vega.github.io/schema/vega-lite/v6.json"
    return {
        "$schema": schema,
        "config": CONFIG,
        "data": {"values": rows},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        **body,
    }


def _features() -> Spec:
    return {"field": "feature", "type": "nominal", "sort": None, "title": None}


def _tip(field: str, title: str, kind: str = "") -> Spec:
    numeric = field in (
        "mean",
        "shap",
        "value",
        "x",
        "other",
        "start",
        "end",
        "label",
        "prediction",
        "from",
        "to",
        "rows",
    )
    kind = kind or ("quantitative" if numeric else "nominal")
    return {"field": field, "type": kind, "title": title, **({"format": ".4~g"} if kind == "quantitative" else {})}


def _with_zero(unit: Spec) -> Spec:
    zero = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "color": QUIET},
        "encoding": {"x": {"field": "zero", "type": "quantitative"}},
    }
    return {"layer": [unit, zero]}


def _spread(values: Numbers) -> Numbers:
    """By how much each point moves off its line, -1 to 1: to both sides in turn, as far as its neighbours are many."""
    edges = np.linspace(values.min(), values.max() + 1e-12, 80)
    bins = np.digitize(values, edges)
    places = np.zeros(len(values))
    for number in np.unique(bins):
        inside = np.flatnonzero(bins == number)
        turn = np.arange(len(inside))
        places[inside] = (turn + 1) // 2 * np.where(turn % 2, 1, -1)
    spread: Numbers = places / max(np.abs(places).max(), 6)
    return spread


def _ranks(column: Numbers) -> Numbers:
    """Ranks from 0 to 1, equal values alike; NaN where the value is missing."""
    distinct, inverse = np.unique(column[np.isfinite(column)], return_inverse=True)
    ranks = np.full(len(column), np.nan)
    counts = np.bincount(inverse, minlength=len(distinct))
    middle = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1)
    ranks[np.isfinite(column)] = middle[inverse]
    return ranks


# Drawing them.


def png(spec: Spec) -> bytes:
    """A picture of the chart, 680 CSS pixels wide, at twice that resolution."""
    whole = {**spec, "width": WIDTH, "background": "white", "padding": 8}
    picture: bytes = _library().vegalite_to_png(whole, scale=SCALE)
    return picture


def still(spec: Spec) -> tuple[str, bytes]:
    """(media type, picture) for the page: lines stay lines, many points are pixels, as fewer bytes."""
    whole = {**spec, "width": WIDTH, "background": "white", "padding": 8}
    if len(spec["data"]["values"]) <= MOST_OUTLINES:
        return "image/svg+xml", _library().vegalite_to_svg(whole).encode()
    return "image/png", _library().vegalite_to_png(whole, scale=SCALE_IN_PAGE)


def javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script that defines `vegaEmbed`; about 900 kB."""
    script: str = _library().javascript_bundle()
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def require() -> None:
    """Raise `ExtraMissingError` where the library is missing: before files are read for an hour."""
    _library()


def _library() -> ModuleType:
    try:
        import vl_convert
    except ImportError as error:
        raise ExtraMissingError("a report", "report") from error
    library: ModuleType = vl_convert
    return library
