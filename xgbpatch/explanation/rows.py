"""Rows out of an input, from any line on: float32, a part at a time; what cannot be read is told by file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError
from xgbpatch.report import tables


class SkipWatcher(Protocol):
    """Hears of each line that is left out, with the reason."""

    def skipped(self, reason: str) -> None: ...


@dataclass(frozen=True)
class Reading:
    """How an input is read: `shown` names it in errors; a row has `width` cells, behind a label where `label_first`;
    `part_rows` lines at a time. `watcher` hears of lines that cannot be read, which are left out; without one the
    first of them raises `ConfigurationError`."""

    shown: str
    width: int
    label_first: bool
    part_rows: int
    watcher: SkipWatcher | None


@dataclass(frozen=True)
class Piece:
    """Rows float32 (n, width), up to line `line` and byte `offset` of the unpacked file (of Parquet, row `offset`).
    `share` of the file is read by then, 0 where that is not known, of a packed one."""

    rows: NDArray[np.float32]
    line: int
    offset: int
    share: float
    skipped: tuple[int, ...] = ()


def pieces(path: Path, line: int, offset: int, reading: Reading) -> Iterator[Piece]:
    """What follows `line` and `offset` in the file."""
    kind = kind_of(path)
    if kind == "parquet":
        yield from _parquet_pieces(path, offset, reading)
        return
    header = tables.header_of(path) if kind == "csv" else None
    size = 0 if tables.is_packed(path) else path.stat().st_size
    for lines in _lines(path, offset, reading):
        numbered = [(line + place, text) for place, text in enumerate(lines, 1) if text.strip()]
        if header and not line:
            numbered = numbered[1:]
        line += len(lines)
        offset += sum(map(len, lines))
        rows, skipped = _rows(kind, numbered, reading)
        if len(rows) or skipped:
            yield Piece(rows, line, offset, offset / size if size else 0.0, skipped)


def _lines(path: Path, offset: int, reading: Reading) -> Iterator[list[bytes]]:
    with tables.opened(path) as stream:
        try:
            stream.seek(offset)
            while lines := list(islice(stream, reading.part_rows)):
                yield lines
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ConfigurationError(f'"{reading.shown}" is no whole gzip file: {error}') from error


def kind_of(path: Path) -> str:
    """As `tables.kind_of`; a line that begins with a bracket is JSON here, where no prediction can be a list."""
    with tables.opened(path) as stream:
        begin = stream.read(64).lstrip()
    return "json" if begin.startswith(b"[") else tables.kind_of(path)


def _rows(
    kind: str, numbered: Sequence[tuple[int, bytes]], reading: Reading
) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """float32 (n, width), and the lines that could not be read."""
    if not numbered:
        return np.empty((0, reading.width), np.float32), ()
    try:
        return _parsed(kind, numbered, reading), ()
    except ConfigurationError:
        if reading.watcher is None:
            raise
    rows, skipped = [], []
    for number, line in numbered:
        try:
            rows.append(_parsed(kind, [(number, line)], reading))
        except ConfigurationError as error:
            reading.watcher.skipped(error.message)
            skipped.append(number)
    return np.concatenate(rows) if rows else np.empty((0, reading.width), np.float32), tuple(skipped)


def _parsed(kind: str, numbered: Sequence[tuple[int, bytes]], reading: Reading) -> NDArray[np.float32]:
    numbers, lines = [number for number, _ in numbered], [line for _, line in numbered]
    if kind == "libsvm":
        table = tables.libsvm_rows(reading.shown, numbers, lines, reading.width, 0)[0].numbers
    elif kind == "json":
        table = _json_rows(reading.shown, numbers, lines)
    else:
        table = tables.parse_csv(reading.shown, numbers, lines, missing=True).numbers
        table = table[:, 1:] if reading.label_first else table
    if table.shape[1] != reading.width:
        raise ConfigurationError(
            f'"{reading.shown}", line {numbers[0]}: {table.shape[1]} features, the model has {reading.width}',
            "" if reading.label_first else "--label-first leaves a label out.",
        )
    rows, endless = _float32(table)
    if endless.any():
        raise _beyond(reading, numbers[int(endless.argmax())])
    return rows


def _float32(table: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The rows, and which of them have a number that float32 cannot hold."""
    with np.errstate(over="ignore"):
        rows = table.astype(np.float32)
    return rows, np.atleast_1d(np.isinf(rows).any(axis=1))


def _beyond(reading: Reading, line: int) -> ConfigurationError:
    return ConfigurationError(f'"{reading.shown}", line {line}: a number beyond float32')


def _json_rows(shown: str, numbers: Sequence[int], lines: Sequence[bytes]) -> NDArray[np.float64]:
    rows: list[list[float]] = []
    for number, line in zip(numbers, lines, strict=True):
        try:
            record = json.loads(line)
            record = record["features"] if isinstance(record, dict) else record
            if not isinstance(record, list) or any(type(cell) not in (int, float, type(None)) for cell in record):
                raise ValueError("not numbers")
            rows.append([np.nan if cell is None else float(cell) for cell in record])
        except (ValueError, KeyError, OverflowError, RecursionError) as error:
            raise ConfigurationError(
                f'"{shown}", line {number}: it is no list of numbers and no object with "features": {error}'
            ) from error
        if len(rows[-1]) != len(rows[0]):
            raise ConfigurationError(
                f'"{shown}", line {number} has {len(rows[-1])} values, those before it {len(rows[0])}'
            )
    return np.array(rows, float)


def _parquet_pieces(path: Path, begin: int, reading: Reading) -> Iterator[Piece]:
    """Batches of a Parquet file behind row `begin`; a batch is a part."""
    count = tables.parquet_rows(path)
    for block in tables.parquet_blocks(path, reading.part_rows):
        end = block.lines[-1]
        if end > begin:
            numbers = block.numbers[:, 1:] if reading.label_first else block.numbers
            if numbers.shape[1] != reading.width:
                raise ConfigurationError(
                    f'"{reading.shown}" has {numbers.shape[1]} columns, the model has {reading.width} features'
                )
            rows, endless = _float32(numbers)
            bad = [block.lines[place] for place in np.flatnonzero(endless).tolist()]
            for line in bad:
                if reading.watcher is None:
                    raise _beyond(reading, line)
                reading.watcher.skipped(_beyond(reading, line).message)
            yield Piece(rows[~endless], end, end, end / count, tuple(bad))
