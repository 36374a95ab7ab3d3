"""`xgbpatch explain` over a large file: time, processor time and memory, then killed at random moments and resumed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xgbpatch.bench.models import RECIPES, train
from xgbpatch.cache import sha256_of
from xgbpatch.explanation.files import PART_ROWS
from xgbpatch.overlays import native

CHUNK = 10_000
MISSING = 0.02  # the share of empty cells


@dataclass(frozen=True)
class Run:
    """A run of the command: seconds on the clock and of the processor, and the most memory in bytes."""

    name: str
    rows: int
    seconds: float
    cpu: float
    peak: int
    written: int


def make(folder: Path, model: str, rows: int) -> tuple[Path, Path]:
    """The model by this machine's xgboost, and invented rows of its width in CSV, four decimals each, made once."""
    trained, data = folder / f"{model}.json", folder / f"{model}-{rows}.csv"
    folder.mkdir(parents=True, exist_ok=True)
    if not trained.exists():
        train(*RECIPES[model]).save_model(trained)
    if not data.exists():
        part = data.with_suffix(".part")
        numbers = np.random.default_rng(0)
        with part.open("w") as file:
            for begin in range(0, rows, CHUNK):
                count = min(CHUNK, rows - begin)
                cells = numbers.random((count, RECIPES[model][0])).round(4).astype(np.float32)
                cells[numbers.random(cells.shape) < MISSING] = np.nan
                file.write("".join(f"{line}\n" for line in native.shortest(cells, ",")).replace("nan", ""))
        part.rename(data)
    return trained, data


def measure(folder: Path, model: str, rows: int, kills: int) -> Iterator[Run]:
    """An undisturbed run; one that is killed `kills` times and goes on; a report of the first. Raises `AssertionError`
    where the second has not the bytes of the first."""
    trained, data = make(folder, model, rows)
    whole, killed, page = folder / "whole", folder / "killed", folder / "report.html"
    for output in (whole, killed):
        for path in output.glob("*"):
            path.unlink()
    words = ["explain", str(trained), str(data), "--quiet", "--output"]
    undisturbed = _run("explain", rows, [*words, str(whole)], whole)
    yield undisturbed
    for number, moment in enumerate(_moments(kills, undisturbed.seconds)):
        started = subprocess.Popen(_program([*words, str(killed)]))
        time.sleep(moment)
        started.send_signal(signal.SIGKILL)
        started.wait()
        parts = len(list(killed.glob("part-*")))
        print(f"killed {number + 1} of {kills} times: {parts} parts are there", file=sys.stderr)
    left = max(0, rows - PART_ROWS * len(list(killed.glob("part-*"))))
    yield _run(f"the rest, after {kills} kills", left, [*words, str(killed)], killed)
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in killed.iterdir())
    assert all(sha256_of(whole / name) == sha256_of(killed / name) for name in names), "a resumed run has other bytes"
    yield _run("report", rows, ["report", str(whole), "--data", str(data), "--quiet", "--output", str(page)], page)


def rows_of(runs: list[Run]) -> list[list[str]]:
    """The table: its head, then a line a run."""
    head = ["run", "rows", "seconds", "CPU seconds", "rows a second", "rows a CPU second", "peak MB", "written MB"]
    return [
        head,
        *(
            [run.name, f"{run.rows:,}", f"{run.seconds:.0f}", f"{run.cpu:.0f}", f"{run.rows / run.seconds:,.0f}",
             f"{run.rows / run.cpu:,.0f}", f"{run.peak / 1e6:.0f}", f"{run.written / 1e6:,.1f}"]
            for run in runs
        ),
    ]  # fmt: skip


def _moments(kills: int, seconds: float) -> list[float]:
    """When to kill: from nothing to twice a part of the run as long as all of them."""
    moments = random.Random(0)
    return [moments.uniform(0, 2 * seconds / (kills + 1)) for _ in range(kills)]


def _run(name: str, rows: int, words: list[str], output: Path) -> Run:
    begun = time.monotonic()
    process = subprocess.Popen(_program(words), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, f"{name} failed"
    size = sum(path.stat().st_size for path in output.glob("*")) if output.is_dir() else output.stat().st_size
    peak = usage.ru_maxrss * 1024  # kilobytes on Linux
    return Run(name, rows, time.monotonic() - begun, usage.ru_utime + usage.ru_stime, peak, size)


def _program(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "xgbpatch", *words]
