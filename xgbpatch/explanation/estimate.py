"""How long files of rows take to explain: measured on their first rows, and carried over to all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xgbpatch.errors import ConfigurationError
from xgbpatch.explanation.engines import RowEngine
from xgbpatch.explanation.files import ExplainOptions, content_of, names_of, reading_of
from xgbpatch.explanation.places import Input
from xgbpatch.explanation.rows import Reading, SkipWatcher, kind_of, pieces
from xgbpatch.report import tables

SECONDS = 5.0  # of measuring, at least where there are rows enough
_PART_ROWS = 2_000


@dataclass(frozen=True)
class Estimate:
    """`rows` of all inputs, counted where `exact`; `measured` of them were read, explained and written as a part, at
    `rate` rows a second, or `cpu_rate` a second of this process's processor time, which others on the machine do not
    make longer (of a container, its own is not in it)."""

    rows: int
    exact: bool
    measured: int
    rate: float
    cpu_rate: float

    @property
    def hours(self) -> float:
        """Of one machine like this one."""
        return self.rows / self.rate / 3600


def estimate(
    engine: RowEngine, inputs: Sequence[Input], options: ExplainOptions, watcher: SkipWatcher, rows: int = 0,
    seconds: float = SECONDS,
) -> Estimate:  # fmt: skip
    """Explain the first rows of the first input that has any for about `seconds`, and write nothing.

    `rows` is how many there are in all, 0 for those of `inputs`. Raises `ConfigurationError` where there are no rows,
    and for one that cannot be read.
    """
    options = replace(options, part_rows=_PART_ROWS)
    names = names_of(engine, options)
    for source in inputs:
        if measured := _measured(engine, source, reading_of(engine, source, options, watcher, names), options, seconds):
            count, here, exact, elapsed, cpu = measured
            total = rows or round(here * sum(each.size for each in inputs) / source.size)
            exact = bool(rows) or (len(inputs) == 1 and exact)
            return Estimate(total, exact, count, count / elapsed, count / max(cpu, 1e-9))
    raise ConfigurationError("the input holds no row")


def _measured(
    engine: RowEngine, source: Input, reading: Reading, options: ExplainOptions, seconds: float
) -> tuple[int, float, bool, float, float] | None:
    """Rows that were explained, rows of the whole file, whether these are counted, seconds, and seconds of processor
    time; None where there is no row."""
    measured, elapsed, offset, begun, cpu, whole = 0, 0.0, 0, 0.0, 0.0, True
    with source.opened() as path:
        for piece in pieces(path, 0, 0, reading):
            if not begun:
                content_of(engine, piece.rows[:100], (), options.parquet)  # loads what the others use
                begun, cpu = time.perf_counter(), time.process_time()
            content_of(engine, piece.rows, (), options.parquet)
            measured, offset, elapsed = measured + len(piece.rows), piece.offset, time.perf_counter() - begun
            if elapsed > seconds:
                whole = False
                break
        if not measured:
            return None
        cpu = time.process_time() - cpu
        parquet = kind_of(path) == "parquet"
        unpacked = _unpacked(path, source.size)
        here = tables.parquet_rows(path) if parquet else measured if whole else measured * unpacked / offset
    return measured, here, parquet or whole, elapsed, cpu


def _unpacked(path: Path, size: int) -> int:
    """Bytes of a file, of gzip as its last four bytes tell them (RFC 1952; modulo 2**32)."""
    if not tables.is_packed(path):
        return size
    with path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")
