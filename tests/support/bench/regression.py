"""The stage `bench` of scripts/test: how much faster kernels and requests are, held to what was recorded.

The figures were measured on a quiet machine (docs/performance.md) and on a loaded one: of each the lower. In the
slow phases of a host that others share, a kernel took twice the time for a row, xgboost only 1.6 times as much.
`--record` lowers what is there; to raise a figure, take its line out first.

A figure is a ratio of processor times, measured by turns in this run, so that a busy machine changes little. Lower
than the recorded one by more than a quarter, it is measured again, twice at most, and the best counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.bench import environments, kernels, requests

RECORDED = Path(__file__).with_name("recorded.json")
ALLOWED = 0.75
ATTEMPTS = 3
VERSION = "3.2-0"
KERNEL_CASES = (("A", 1), ("A", 100), ("B", 1))
REQUEST_CASES = (("A", 1), ("A", 100))
REQUESTS = ("shap, nothing asked", "shap", "native")


def measure(measured: Callable[[str, float], bool]) -> None:
    """Call `measured` with a figure's name and value; where that is False, the figure is measured again."""
    folders = environments.models(sorted({model for model, _ in (*KERNEL_CASES, *REQUEST_CASES)}))
    names = [kernels.REFERENCE, *kernels.VARIANTS]
    with kernels.engines(names) as (rivals, _):
        for model, rows in KERNEL_CASES:
            for _ in range(ATTEMPTS):
                cases = list(kernels.measure(rivals, model, folders[model], [rows], rounds=5))
                turns = cases[0].turns
                verdicts = [
                    measured(f"{name}, {model}, rows: {rows}", 1 / turns.ratio(name, kernels.REFERENCE))
                    for name in kernels.VARIANTS
                    if name in turns.seconds  # those that this machine's processor can run
                ]
                if all(verdicts):
                    break
    for model, rows in REQUEST_CASES:
        with requests.serving(VERSION, model, folders[model], REQUESTS) as rivals:
            for _ in range(ATTEMPTS):
                turns = requests.turns(rivals, rows)
                verdicts = [
                    measured(f"{name}, {model}, rows: {rows}", 1 / turns.ratio(name, requests.BASE))
                    for name in REQUESTS
                ]
                if all(verdicts):
                    break


def best_figures(recorded: dict[str, float], report: Callable[[str, float], None]) -> dict[str, float]:
    """Every figure of this run, the best of its attempts; `report` hears each as it comes."""
    figures: dict[str, float] = {}

    def measured(name: str, value: float) -> bool:
        figures[name] = max(value, figures.get(name, 0.0))
        report(name, value)
        return not fell(figures[name], recorded.get(name))

    measure(measured)
    return figures


def fell(value: float, recorded: float | None) -> bool:
    """Whether `value` is lower than the recorded one by more than a quarter."""
    return recorded is not None and value < ALLOWED * recorded


def read() -> dict[str, float]:
    """What was recorded, by name."""
    recorded: dict[str, float] = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    return recorded


def write(figures: dict[str, float]) -> None:
    """Record the figures of a run that are lower than before, or new."""
    before = read()
    lowest = {name: min(round(value, 2), before.get(name, value)) for name, value in figures.items()}
    figures_now = {**before, **lowest}
    RECORDED.write_text(json.dumps(figures_now, indent=2) + "\n")


def rows_of(figures: dict[str, float], recorded: dict[str, float]) -> list[tuple[str, ...]]:
    """A table: each figure beside the recorded one."""
    lines: list[tuple[str, ...]] = [("times faster than", "this run", "recorded", "")]
    for name, value in figures.items():
        before = recorded.get(name)
        verdict = "FELL" if fell(value, before) else "" if before else "not recorded"
        lines.append((name, f"{value:.2f}", f"{before:.2f}" if before else "–", verdict))
    return lines
