"""The features and the labels of explained rows, read beside them, row for row, from files of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError
from xgbpatch.report import tables
from xgbpatch.report.explanations import Rows, files_of
from xgbpatch.util import did_you_mean

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Beside:
    """Files beside the explanations: features (`label_first`: behind a label), labels, and the column of cohorts."""

    data: tuple[Path, ...] = ()
    labels: tuple[Path, ...] = ()
    label_first: bool = False
    cohort: str = ""
    names: tuple[str, ...] = ()


def names_of(beside: Beside) -> tuple[str, ...]:
    """The names in the first line of the features' first file, without the label's; none where it has none."""
    if not beside.data:
        return ()
    path = files_of(beside.data)[0]
    kind = tables.kind_of(path)
    names = tables.parquet_names(path) if kind == "parquet" else tables.header_of(path) if kind == "csv" else ()
    return (names or ())[1 if beside.label_first else 0 :]


def joined(explained: Iterable[Rows], beside: Beside) -> Iterator[Rows]:
    """The explained rows with what stands beside them; a label that is missing is NaN.

    Raises `ConfigurationError` where there is not exactly one row of features, and one label, for each.
    """
    features: _Feed | None = None
    labels = _Feed(_label_blocks(beside.labels), "labels") if beside.labels else None
    width = 0
    for block in explained:
        rows = block
        width = width or rows.values.shape[2]
        if beside.data and features is None:
            features = _Feed(_feature_blocks(beside, width), "rows of features")
        if features is not None:
            table = features.take(rows)
            cohort = table[:, width + 1] if beside.cohort else None
            rows = replace(rows, data=table[:, :width], cohort=cohort, labels=table[:, width])
        elif beside.cohort and rows.data is not None:
            rows = replace(rows, cohort=rows.data[:, _place(beside.cohort, beside.names, width)])
        if labels:
            rows = replace(rows, labels=labels.take(rows)[:, 0])
        yield rows
    for feed in filter(None, (features, labels)):
        feed.require_end()


class _Feed:
    """Hands out as many rows as are asked for, of blocks of any length."""

    def __init__(self, blocks: Iterator[tuple[Path, Numbers]], title: str):
        self._blocks = blocks
        self._title = title
        self._path: Path | None = None
        self._rest: Numbers | None = None

    def take(self, rows: Rows) -> Numbers:
        parts: list[Numbers] = []
        missing = len(rows)
        while missing:
            if self._rest is None or not len(self._rest):
                block = next(self._blocks, None)
                if block is None:
                    have = int(rows.numbers[-1]) - missing
                    raise ConfigurationError(
                        f'"{self._path}" ends after {have} {self._title}, and there are more explanations',
                        "A label that is missing is written nan: an empty line is passed over."
                        if self._title == "labels" else "",
                    )  # fmt: skip
                self._path, self._rest = block
            parts.append(self._rest[:missing])
            self._rest = self._rest[missing:]
            missing -= len(parts[-1])
        return np.concatenate(parts)

    def require_end(self) -> None:
        if (self._rest is not None and len(self._rest)) or next(self._blocks, None) is not None:
            raise ConfigurationError(f'"{self._path}" has more {self._title} than there are explanations')


def _label_blocks(paths: Sequence[Path]) -> Iterator[tuple[Path, Numbers]]:
    for path in files_of(paths):
        parquet = tables.kind_of(path) == "parquet"
        header = not parquet and tables.header_of(path) is not None
        for block in tables.parquet_blocks(path) if parquet else tables.csv_blocks(path, header):
            if block.numbers.shape[1] != 1:
                raise block.refuse(0, f"{block.numbers.shape[1]} columns, and labels have one")
            if (endless := np.isinf(block.numbers[:, 0])).any():
                raise block.refuse(int(np.argmax(endless)), "the label is not a finite number")
            yield path, block.numbers


def _feature_blocks(beside: Beside, width: int) -> Iterator[tuple[Path, Numbers]]:
    """Tables of the features, then the label (NaN without one), then the column of cohorts, where one is asked for."""
    for path in files_of(beside.data):
        kind = tables.kind_of(path)
        if kind == "libsvm":
            for block, labels in tables.libsvm_blocks(path, width):
                label = np.full(len(block.numbers), np.nan) if labels is None else labels
                yield path, _with_cohort(np.column_stack([block.numbers, label]), beside, beside.names, width)
            continue
        if kind == "json":
            raise ConfigurationError(f'"{path}" is JSON; features are read from CSV, libsvm and Parquet')
        names = tables.parquet_names(path) if kind == "parquet" else tables.header_of(path)
        blocks = (
            tables.parquet_blocks(path) if kind == "parquet" else tables.csv_blocks(path, bool(names), missing=True)
        )
        for block in blocks:
            numbers, own = block.numbers, names or ()
            label = np.full(len(numbers), np.nan)
            if beside.label_first:
                label, numbers, own = numbers[:, 0], numbers[:, 1:], own[1:]
            everything = numbers
            if own and beside.names and set(beside.names) <= set(own):  # by name, in whatever order
                numbers = numbers[:, [own.index(name) for name in beside.names]]
            elif missing := sorted(set(beside.names) - set(own)) if set(own) & set(beside.names) else []:
                raise ConfigurationError(
                    f'"{path}" has no column "{missing[0]}", a feature of the explanations: it has '
                    f"{', '.join(own[:8])}{', …' if len(own) > 8 else ''}",
                    "Rename the columns; in CSV, leave the header out to have them taken as they stand.",
                )
            if numbers.shape[1] != width:
                step = "--label-first leaves a label out that stands before them."
                raise block.refuse(0, f"{numbers.shape[1]} features, and the explanations have {width}", step)
            column = (
                [everything[:, _place(beside.cohort, own or beside.names, everything.shape[1])]]
                if beside.cohort
                else []
            )
            yield path, np.column_stack([numbers, label, *column])


def _with_cohort(table: Numbers, beside: Beside, names: Sequence[str], width: int) -> Numbers:
    return np.column_stack([table, table[:, _place(beside.cohort, names, width)]]) if beside.cohort else table


def _place(column: str, names: Sequence[str], width: int) -> int:
    """The place of a column that is named, or numbered as f0, f1, …"""
    if column in names:
        return list(names).index(column)
    numbered = [f"f{place}" for place in range(width)]
    if column in numbered:
        return numbered.index(column)
    raise ConfigurationError(f'there is no column "{column}"', did_you_mean(column, list(names) or numbered))
