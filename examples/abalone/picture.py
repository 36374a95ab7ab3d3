"""Draws explained predictions as waterfalls: from the base value, feature by feature, to what is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RAISES, LOWERS, QUIET = "#c8323c", "#2f6db3", "#6b7280"
PANEL = (4.6, 4.4)  # inches
DOTS_PER_INCH = 100


@dataclass(frozen=True)
class Step:
    """One feature of a record: its name and value in words, and by how much it moves the prediction."""

    label: str
    value: float


@dataclass(frozen=True)
class Waterfall:
    """A record: the base value, its steps in any order, and a title. Base value and steps sum to the prediction."""

    title: str
    base: float
    steps: Sequence[Step]

    @property
    def prediction(self) -> float:
        return self.base + sum(step.value for step in self.steps)


def draw(waterfalls: Sequence[Waterfall], path: Path) -> None:
    """Write one panel a record, side by side, to `path`, a picture of the type that its ending names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL[0] * len(waterfalls), PANEL[1]), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(wspace=0.06)
    panels = figure.subplots(1, len(waterfalls), squeeze=False, sharex=True)[0]
    for axes, waterfall in zip(panels, waterfalls, strict=True):
        _panel(axes, waterfall)
    figure.suptitle("What moves each prediction, in rings: red raises it, blue lowers it", color=QUIET, fontsize=11)
    figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None} if path.suffix == ".png" else None)


def _panel(axes: Axes, waterfall: Waterfall) -> None:
    """The strongest step on top, the base value at the bottom; each bar begins where the one below it ends."""
    steps = sorted(waterfall.steps, key=lambda step: abs(step.value))
    starts = list(accumulate((step.value for step in steps), initial=waterfall.base))
    for row, (step, start) in enumerate(zip(steps, starts, strict=False)):
        colour = RAISES if step.value > 0 else LOWERS
        axes.barh(row, step.value, left=start, color=colour, height=0.72)
        axes.plot([start + step.value] * 2, [row - 0.36, row + 1.36], color=QUIET, linewidth=0.6)
        aside, side = (4, "left") if step.value > 0 else (-4, "right")
        axes.annotate(f"{step.value:+.2f}", (start + step.value, row), (aside, 0), textcoords="offset points",
                      fontsize=8, color=colour, ha=side, va="center")  # fmt: skip
    axes.set_yticks(range(len(steps)), [step.label for step in steps], fontsize=9)
    axes.set_ylim(-0.9, len(steps) - 0.1)
    _ends(axes, waterfall)


def _ends(axes: Axes, waterfall: Waterfall) -> None:
    """The title, and lines at the base value and at the prediction."""
    axes.axvline(waterfall.base, color=QUIET, linewidth=0.8, linestyle=":")
    axes.axvline(waterfall.prediction, color="black", linewidth=0.8, linestyle=":")
    axes.set_title(waterfall.title, fontsize=11, fontweight="bold", loc="left")
    axes.set_xlabel(f"base value {waterfall.base:.2f}   →   predicted {waterfall.prediction:.2f}", fontsize=9)
    axes.margins(x=0.18)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
