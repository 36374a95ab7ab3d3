"""SHAP values of files of rows, in parts: each is whole or not there, so that a killed run goes on behind its last."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError, ExtraMissingError
from xgbpatch.explanation.engines import RowEngine
from xgbpatch.explanation.places import Input, Output
from xgbpatch.explanation.rows import Piece, Reading, SkipWatcher, pieces
from xgbpatch.report.explanations import JOURNAL

PART_ROWS = 20_000


@dataclass(frozen=True)
class Part:
    """A finished file of the output: `rows` of input `source`, up to line `line` and byte `offset` of it (of Parquet,
    row `offset`), which is `share` of it. `skipped` are the numbers of lines that could not be read."""

    name: str
    sha256: str
    source: int
    rows: int
    line: int
    offset: int
    share: float
    skipped: tuple[int, ...] = ()


class Watcher(SkipWatcher, Protocol):
    """Hears of each part, with the bytes of input that are done, of how many, and of each line that is left out."""

    def part(self, part: Part, done: int, total: int, resumed: bool) -> None: ...


class _Silent:
    def part(self, part: Part, done: int, total: int, resumed: bool) -> None:
        """Said to nobody."""

    def skipped(self, reason: str) -> None:
        """Likewise: the part has the line's number."""


@dataclass(frozen=True)
class Options:
    """`parquet`: parts are Parquet and not CSV. `skip`: a line that cannot be read is left out. `label_first`: the
    first column is no feature."""

    names: tuple[str, ...] = ()
    parquet: bool = False
    skip: bool = False
    label_first: bool = False
    part_rows: int = PART_ROWS


def explain(
    engine: RowEngine, model: str, inputs: Sequence[Input], output: Output, options: Options,
    watcher: Watcher | None = None,
) -> list[Part]:  # fmt: skip
    """Write prediction, base value and one SHAP value a feature for every row of `inputs`, in order, to `output`.

    `model` is the digest of what `engine` explains. Parts that are there with the digest that the journal names are
    kept; those of another model, engine, input or option are refused. Every row is written once. Raises
    `ConfigurationError` for a row that cannot be read (without `options.skip`), with file and line; `OSError` as the
    system does, and what AWS and the image's container raise.
    """
    run = {
        "xgbpatch": version("xgbpatch"), "model": model, "options": json.loads(json.dumps(asdict(options))),
        "inputs": [each.identity() for each in inputs], "engine": engine.identity,
    }  # fmt: skip
    with output.opened():
        return _go_on(engine, inputs, output, run, options, watcher or _Silent())


def _go_on(
    engine: RowEngine, inputs: Sequence[Input], output: Output, run: dict[str, Any], options: Options, watcher: Watcher
) -> list[Part]:
    sizes = [each.size for each in inputs]

    def done(part: Part) -> int:  # of a packed file only where the next begins
        return sum(sizes[: part.source]) + int(part.share * sizes[part.source])

    parts = _finished(output, run)
    for part in parts:
        watcher.part(part, done(part), sum(sizes), resumed=True)
    begin = parts[-1].source if parts else 0
    for source in range(begin, len(inputs)):
        last = parts[-1] if parts and parts[-1].source == source else None
        line, offset = (last.line, last.offset) if last else (0, 0)
        for piece in _pieces(engine, inputs[source], line, offset, options, watcher):
            name = f"part-{len(parts):05d}.{'parquet' if options.parquet else 'csv'}"
            content = content_of(engine, piece.rows, options)
            digest = hashlib.sha256(content).hexdigest()
            output.write(name, content, digest)
            part = Part(name, digest, source, len(piece.rows), piece.line, piece.offset, piece.share, piece.skipped)
            parts.append(part)
            _write_journal(output, run, parts, complete=False)
            watcher.part(part, done(part), sum(sizes), resumed=False)
    _write_journal(output, run, parts, complete=True)
    return parts


def _pieces(
    engine: RowEngine, source: Input, line: int, offset: int, options: Options, watcher: SkipWatcher
) -> Iterator[Piece]:
    reading = reading_of(engine, source, options, watcher)
    with source.opened() as path:
        yield from pieces(path, line, offset, reading)


def reading_of(engine: RowEngine, source: Input, options: Options, watcher: SkipWatcher) -> Reading:
    """How `source` is read for `engine`."""
    skipping = watcher if options.skip else None
    return Reading(source.shown, engine.features, options.label_first, options.part_rows, skipping)


def _finished(output: Output, run: dict[str, Any]) -> list[Part]:
    content = output.journal()
    if content is None:
        return []
    try:
        journal = json.loads(content)
        known = journal["run"]
        parts = [Part(**{**part, "skipped": tuple(part["skipped"])}) for part in journal["parts"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f'"{output}" has a {JOURNAL} that is none of explain', "Name another folder."
        ) from error
    if differences := [key for key in run if known.get(key) != run[key]]:
        raise ConfigurationError(
            f'"{output}" holds parts of another run: other {", ".join(differences)}', "Name another folder."
        )
    kept = []
    for part in parts:  # what was changed since is made again, and what follows it
        if output.sha256(part.name) != part.sha256:
            break
        kept.append(part)
    return kept


def _write_journal(output: Output, run: dict[str, Any], parts: Sequence[Part], complete: bool) -> None:
    document = {"run": run, "complete": complete, "parts": [vars(part) for part in parts]}
    content = json.dumps(document, indent=1).encode()
    output.write(JOURNAL, content, hashlib.sha256(content).hexdigest())


def content_of(engine: RowEngine, rows: NDArray[np.float32], options: Options) -> bytes:
    """A part: prediction, then of each class base value and SHAP values, as XGBPATCH_SHAP_LAYOUT=append has it."""
    names = options.names or engine.names or tuple(f"f{place}" for place in range(engine.features))
    if len(names) != engine.features:
        raise ConfigurationError(f"{len(names)} names, and the model has {engine.features} features")
    padded = rows if len(rows) else np.full((1, engine.features), np.nan, np.float32)
    table, classes = engine.table(padded)
    table, columns = table[: len(rows)], _columns(names, table.shape[1], classes)
    if options.parquet:
        return _parquet(table, columns)
    from xgbpatch.overlays import native

    head = io.StringIO()
    csv.writer(head, lineterminator="\n").writerow(columns)
    return (head.getvalue() + "".join(f"{line}\n" for line in native.shortest(table, ","))).encode()


def _columns(names: Sequence[str], width: int, classes: int) -> list[str]:
    count = width - classes * (1 + len(names))
    predicted = ["prediction"] if count == 1 else [f"prediction_{number}" for number in range(count)]
    each = ["base_value", *names]
    columns = each if classes == 1 else [f"{name}_{number}" for number in range(classes) for name in each]
    return [*predicted, *columns]


def _parquet(table: NDArray[np.float32], columns: Sequence[str]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExtraMissingError("writing Parquet", "parquet") from error
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array(column) for column in table.T], list(columns)), stream)
    return stream.getvalue()
