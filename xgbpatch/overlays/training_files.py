"""Files beside the model, each written whole or not at all: a job may be stopped at any moment."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from typing import Any, Callable, Dict, Mapping, Sequence

import numpy as np

from . import model_folder

IMPORTANCE_CSV = "importance.csv"
IMPORTANCE_JSON = "importance.json"
IMPORTANCE_PNG = "importance.png"
BARS = 20


def write_json(folder: str, name: str, document: Any) -> None:
    """Write `document` below the model's folder `folder`."""
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    _write(folder, name, lambda file: file.write(text.encode("utf-8")))


def write_array(folder: str, name: str, values: np.ndarray) -> None:
    """Write `values` as numpy's own file."""
    _write(folder, name, lambda file: np.save(file, values, allow_pickle=False))


def write_importance(folder: str, about: Mapping[str, Any], names: Sequence[str], values: np.ndarray) -> None:
    """CSV, JSON and, where the base has matplotlib, a bar plot of `values` (features, classes), strongest first.

    A feature's importance is the sum over the classes.
    """
    totals = values.sum(axis=1)
    order = np.argsort(-totals, kind="stable")
    rows = [_row(names[i], totals[i], values[i]) for i in order]
    write_json(folder, IMPORTANCE_JSON, dict(about, features=rows))
    text = _csv(rows)
    _write(folder, IMPORTANCE_CSV, lambda file: file.write(text.encode("utf-8")))
    with contextlib.suppress(ImportError):
        _plot(folder, rows)


def _row(name: str, total: float, classes: np.ndarray) -> Dict[str, Any]:
    row = {"name": name, "importance": float(total)}
    if len(classes) > 1:
        row["classes"] = [float(value) for value in classes]
    return row


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    classes = len(rows[0].get("classes", ())) if rows else 0
    writer.writerow(["feature", "importance"] + ["class_{}".format(number) for number in range(classes)])
    for row in rows:
        writer.writerow([row["name"], row["importance"]] + row.get("classes", []))
    return text.getvalue()


def _plot(folder: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Without pyplot, which would keep state in the base's process; raises ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = list(reversed(rows[:BARS]))
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(shown)))
    axes = figure.add_subplot(111)
    _bars(axes, shown)
    axes.set_xlabel("mean |SHAP value|")
    figure.tight_layout()
    canvas = FigureCanvasAgg(figure)
    _write(folder, IMPORTANCE_PNG, canvas.print_png)


def _bars(axes: Any, shown: Sequence[Mapping[str, Any]]) -> None:
    """One bar a feature, of one part a class."""
    parts = [row.get("classes") or [row["importance"]] for row in shown]
    left = np.zeros(len(shown))
    for number, widths in enumerate(np.transpose(parts)):
        axes.barh(range(len(shown)), widths, left=left, label="class {}".format(number))
        left = left + widths
    axes.set_yticks(range(len(shown)))
    axes.set_yticklabels([_plain(row["name"]) for row in shown])
    if 1 < len(parts[0]) <= BARS:
        axes.legend()


def _plain(name: str) -> str:
    """matplotlib reads what stands between two dollar signs as a formula."""
    return name[:40].replace("$", r"\$")


def _write(folder: str, name: str, fill: Callable[[Any], Any]) -> None:
    path = model_folder.path(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = "{}.{}.partial".format(path, os.getpid())
    try:
        with open(partial, "wb") as file:
            fill(file)
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(partial)
