"""Rows out of an input, from any line on: float32, a part at a time; what cannot be read is told by file and line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
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
    first of them raises `ConfigurationError`. `names` are those of the features, by which columns with names are put
    in order; the `model_names` are its own, and a file whose columns have others is refused."""

    shown: str
    width: int
    label_first: bool
    part_rows: int
    watcher: SkipWatcher | None
    names: tuple[str, ...] = ()
    model_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Rows float32 (n, width), up to line `line` and byte `offset` of the unpacked file (of Parquet, row `offset`).
    `share` of the file is read by then, 0 where that is not known, of a packed one."""

    rows: NDArray[np.float32]
    line: int
    offset: int
    share: float
    skipped: tuple[int, ...] = ()


@dataclass(frozen=True)
class Columns:
    """The `places` of the features in a row of `width` cells, in the model's order. `header`: the first line is one.
    `names` are those that the file gives them; none where it gives none, or not one a feature."""

    places: tuple[int, ...]
    width: int
    header: bool = False
    names: tuple[str, ...] = ()

    def take(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """The features of rows."""
        return table if self.places == tuple(range(table.shape[1])) else table[:, list(self.places)]


def columns_of(path: Path, reading: Reading) -> Columns:
    """Where the features are: by the names of CSV's first line or of Parquet's columns, else as they stand.

    Raises `ConfigurationError` for columns that have some names of the features and lack others, or too few or too
    many; and for a first line of 0, 1, 2, …, which is a row or what pandas writes where columns have no names.
    """
    kind = kind_of(path)
    as_they_stand = range(reading.label_first, reading.width + reading.label_first)
    names = tables.parquet_names(path) if kind == "parquet" else tables.header_of(path) if kind == "csv" else None
    if names is None:
        if kind == "csv":
            _require_no_numbers_of_columns(path, reading)
        return Columns(tuple(as_they_stand), reading.width + reading.label_first)
    names = tuple(name.strip() for name in names)
    own = names[1:] if reading.label_first else names
    for known in filter(None, (reading.names, reading.model_names)):
        if set(known) <= set(own):
            if twice := [name for name, count in Counter(own).items() if count > 1 and name in known]:
                raise ConfigurationError(f'"{reading.shown}" has two columns "{twice[0]}"')
            places = {name: place + reading.label_first for place, name in enumerate(own)}
            return Columns(tuple(places[name] for name in known), len(names), True, known)
    expected = reading.model_names or reading.names
    missing = [name for name in expected if name not in own]
    if missing and (reading.model_names or len(missing) < len(expected)):
        raise ConfigurationError(
            f'"{reading.shown}" has no column "{missing[0]}", a feature of the model: it has {", ".join(own[:8])}'
            f"{', …' if len(own) > 8 else ''}",
            "Rename the columns; in CSV, leave the header out to have them taken as they stand.",
        )
    if len(own) != reading.width:
        raise ConfigurationError(
            f'"{reading.shown}": {len(own)} columns have names, the model has {reading.width} features',
            "Cells are separated by commas." if len(own) == 1
            else "--names FILE chooses columns by their names."
            f"{'' if reading.label_first else ' --label-first leaves out a label that stands before them.'}",
        )  # fmt: skip
    usable = all(own) and len(set(own)) == len(own)
    return Columns(tuple(as_they_stand), len(names), True, own if usable else ())


def _require_no_numbers_of_columns(path: Path, reading: Reading) -> None:
    for _, lines in tables.lines_of(path):
        cells = lines[0].decode("latin-1").strip().split(",")[reading.label_first :]
        if len(cells) > 2 and cells == [str(place) for place in range(reading.width)]:
            raise ConfigurationError(
                f'"{reading.shown}" begins with the numbers of its columns, 0, 1, 2, …, and no row',
                "Leave the line out: to_csv of pandas has header=False. Where it is a row, write 0.0 for its 0.",
            )
        return


def pieces(path: Path, line: int, offset: int, reading: Reading, columns: Columns | None = None) -> Iterator[Piece]:
    """What follows `line` and `offset` in the file."""
    kind, columns = kind_of(path), columns or columns_of(path, reading)
    if kind == "parquet":
        yield from _parquet_pieces(path, offset, reading, columns)
        return
    size = 0 if tables.is_packed(path) else path.stat().st_size
    for lines in _lines(path, offset, reading):
        offset += sum(map(len, lines))
        if not line:
            lines[0] = lines[0].removeprefix(tables.BOM)
        numbered = [(number, text) for number, text in enumerate(lines, line + 1) if text.strip()]
        if columns.header and not line:
            numbered = numbered[1:]
        line += len(lines)
        rows, skipped = _rows(kind, numbered, reading, columns)
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
        begin = stream.read(64).removeprefix(tables.BOM).lstrip()
    return "json" if begin.startswith(b"[") else tables.kind_of(path)


def _rows(
    kind: str, numbered: Sequence[tuple[int, bytes]], reading: Reading, columns: Columns
) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """float32 (n, width), and the lines that could not be read."""
    if not numbered:
        return np.empty((0, reading.width), np.float32), ()
    try:
        return _parsed(kind, numbered, reading, columns), ()
    except ConfigurationError:
        if reading.watcher is None:
            raise
    rows, skipped = [], []
    for number, line in numbered:
        try:
            rows.append(_parsed(kind, [(number, line)], reading, columns))
        except ConfigurationError as error:
            reading.watcher.skipped(error.message)
            skipped.append(number)
    return np.concatenate(rows) if rows else np.empty((0, reading.width), np.float32), tuple(skipped)


def _parsed(
    kind: str, numbered: Sequence[tuple[int, bytes]], reading: Reading, columns: Columns
) -> NDArray[np.float32]:
    numbers, lines = [number for number, _ in numbered], [line for _, line in numbered]
    if kind == "libsvm":
        table = tables.libsvm_rows(reading.shown, numbers, lines, reading.width, 0)[0].numbers
    else:
        table = (
            _json_rows(reading.shown, numbers, lines) if kind == "json"
            else tables.parse_csv(reading.shown, numbers, lines, missing=True).numbers
        )  # fmt: skip
        if table.shape[1] != columns.width:
            cells = table.shape[1] - reading.label_first
            raise ConfigurationError(
                f'"{reading.shown}", line {numbers[0]}: {cells} features, the model has {reading.width}'
                if not columns.header
                else f'"{reading.shown}", line {numbers[0]}: {table.shape[1]} cells, the header names {columns.width}',
                "" if reading.label_first or columns.header else "--label-first leaves a label out.",
            )
        table = columns.take(table)
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


def _parquet_pieces(path: Path, begin: int, reading: Reading, columns: Columns) -> Iterator[Piece]:
    """Batches of a Parquet file behind row `begin`; a batch is a part."""
    count = tables.parquet_rows(path)
    for block in tables.parquet_blocks(path, reading.part_rows, columns.places):
        end = block.lines[-1]
        if end > begin:
            rows, endless = _float32(block.numbers)
            bad = [block.lines[place] for place in np.flatnonzero(endless).tolist()]
            for line in bad:
                if reading.watcher is None:
                    raise _beyond(reading, line)
                reading.watcher.skipped(_beyond(reading, line).message)
            yield Piece(rows[~endless], end, end, end / count, tuple(bad))
