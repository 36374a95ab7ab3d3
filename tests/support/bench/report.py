"""The figures of a run as a table, and what the project aims at, met or missed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from support.bench.grounds import Base
from support.bench.ways import Step

_MB = 1_000_000
_ENGINE_FREE, _WITH_ENGINE = "registry builder", "docker builder"


@dataclass(frozen=True)
class Aim:
    """Something aimed at, what was measured, and whether that is it."""

    text: str
    measured: str
    met: bool


def document(base: Base, steps: Sequence[Step]) -> dict[str, Any]:
    """Everything, as JSON takes it."""
    return {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[0]},
        "base": asdict(base),
        "steps": [asdict(step) for step in steps],
        "aims": [asdict(aim) for aim in aims(steps)],
    }


def table(base: Base, steps: Sequence[Step]) -> str:
    """A Markdown table, and a list of aims."""
    head = ("way", "step", "s", "sent MB", "received MB", "memory MB", "written MB", "engine's memory", "and writes")
    rows = [head, tuple("---" for _ in head), *map(_row, steps)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    title = (
        f"base: {base.layers} layers, {base.size / _MB:.0f} MB in the registry "
        f"({base.filler / _MB:.0f} MB of it random bytes added here); {_machine()}"
    )
    verdicts = [f"- {'met' if aim.met else 'MISSED'}: {aim.text}: {aim.measured}" for aim in aims(steps)]
    return "\n".join([title, "", *lines, "", *verdicts])


def aims(steps: Sequence[Step]) -> Iterator[Aim]:
    """Those that the steps measured can tell of."""
    by_name = {(step.way, step.name): step for step in steps}
    for way in (_ENGINE_FREE, _WITH_ENGINE):
        if step := by_name.get((way, "nothing to do")):
            seconds = step.figures.seconds
            yield Aim(f"nothing to do under 1 s, {way}", f"{seconds:.2f} s", seconds < 1)
    for name in ("second patch", "rebase"):
        ours, theirs = by_name.get((_ENGINE_FREE, name)), by_name.get((_WITH_ENGINE, name))
        if ours and theirs:
            times = theirs.figures.seconds / ours.figures.seconds
            yield Aim(f"{name} at least 10 times faster than the docker builder", f"{times:.1f} times", times >= 10)
    for name in ("second patch", "rebase"):
        if ours := by_name.get((_ENGINE_FREE, name)):
            excess = ours.sent_to_target / ours.own - 1
            text = f"bytes sent at most 5 % above overlay, configuration and manifest, {name}"
            yield Aim(text, f"{ours.sent_to_target} of {ours.own}: {excess:+.1%}", excess <= 0.05)
    peaks = [step.figures.memory for step in steps if step.way == _ENGINE_FREE]
    if peaks:
        yield Aim("registry builder under 200 MB of memory", f"{max(peaks) / _MB:.0f} MB", max(peaks) < 200 * _MB)


def _machine() -> str:
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the end"


def _row(step: Step) -> tuple[str, ...]:
    figures = step.figures
    sizes = (figures.sent, figures.received, figures.memory, figures.written)
    engine = (figures.engine_memory, figures.engine_written) if figures.engine_memory else ()
    cells = [_megabytes(size) for size in (*sizes, *engine)]
    return (step.way, step.name, f"{figures.seconds:.2f}", *cells, *(() if engine else ("–", "–")))


def _megabytes(size: int) -> str:
    return f"{size / _MB:.3f}" if size < 10 * _MB else f"{size / _MB:.0f}"
