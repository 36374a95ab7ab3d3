"""SHAP values of files of rows, in parts: each is whole or not there, so that a killed run goes on behind its last."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError, ExtraMissingError
from xgbpatch.explanation.engines import RowEngine
from xgbpatch.explanation.places import Input, Output
from xgbpatch.explanation.rows import Reading, SkipWatcher, columns_of, pieces
from xgbpatch.report.explanations import JOURNAL

PART_ROWS = 20_000
PART_CELLS = 10_000_000  # of wide rows a part has fewer
_RESERVED = re.compile(r"prediction(_\d+)?|base_value(_\d+|\*.*)?|top_\d+(_\d+)?|.*[\r\n].*", re.DOTALL)


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
        """Prints nothing."""

    def skipped(self, reason: str) -> None:
        """Likewise: the part has the line's number."""


@dataclass(frozen=True)
class ExplainOptions:
    """`parquet`: parts are Parquet and not CSV. `skip`: a line that cannot be read is left out. `label_first`: the
    first column is no feature."""

    names: tuple[str, ...] = ()
    parquet: bool = False
    skip: bool = False
    label_first: bool = False
    part_rows: int = PART_ROWS


def explain(
    engine: RowEngine, model: str, inputs: Sequence[Input], output: Output, options: ExplainOptions,
    watcher: Watcher | None = None,
) -> list[Part]:  # fmt: skip
    """Write prediction, base value and one SHAP value a feature for every row of `inputs`, in order, to `output`.

    `model` is the digest of what `engine` explains. Parts that are there with the digest that the journal names are
    kept; those of another model, engine, input or option are refused. Every row is written once. Raises
    `ConfigurationError` for a row that cannot be read (without `options.skip`), with file and line; `FileError` for a
    local file that changes while it is read, before a part has rows of it; `OSError` as the system does, and what AWS
    and the image's container raise.
    """
    run = {
        "xgbpatch": version("xgbpatch"), "model": model, "options": json.loads(json.dumps(asdict(options))),
        "inputs": [each.identity() for each in inputs], "engine": engine.identity,
    }  # fmt: skip
    with output.opened():
        return _go_on(engine, inputs, output, run, options, watcher or _Silent())


def _go_on(
    engine: RowEngine,
    inputs: Sequence[Input],
    output: Output,
    run: dict[str, Any],
    options: ExplainOptions,
    watcher: Watcher,
) -> list[Part]:
    sizes = [each.size for each in inputs]

    def done(part: Part) -> int:  # of a packed file only where the next begins
        return sum(sizes[: part.source]) + int(part.share * sizes[part.source])

    names = names_of(engine, options)
    parts, names_before = _finished(output, run)
    names = names_before or names
    for part in parts:
        watcher.part(part, done(part), sum(sizes), resumed=True)
    begin = parts[-1].source if parts else 0
    for source in range(begin, len(inputs)):
        last = parts[-1] if parts and parts[-1].source == source else None
        line, offset = (last.line, last.offset) if last else (0, 0)
        reading = reading_of(engine, inputs[source], options, watcher, names)
        with inputs[source].opened() as path:
            columns = columns_of(path, reading)
            for piece in pieces(path, line, offset, reading, columns):
                names = names or _output_names(columns.names, engine)
                name = f"part-{len(parts):05d}.{'parquet' if options.parquet else 'csv'}"
                content = content_of(engine, piece.rows, names, options.parquet)
                digest = hashlib.sha256(content).hexdigest()
                inputs[source].check()
                output.write(name, content, digest)
                part = Part(name, digest, source, len(piece.rows), piece.line, piece.offset, piece.share, piece.skipped)
                parts.append(part)
                _write_journal(output, run, names, parts, complete=False)
                watcher.part(part, done(part), sum(sizes), resumed=False)
    if not any(part.rows for part in parts):
        left_out = sum(len(part.skipped) for part in parts)
        reason = f"none of the {left_out} lines of the input can be read" if left_out else "the input holds no row"
        raise ConfigurationError(reason)
    _write_journal(output, run, names, parts, complete=True)
    return parts


def without_rows(inputs: Sequence[Input], parts: Sequence[Part]) -> list[Input]:
    """The inputs of which `parts` have no row."""
    sources = {part.source for part in parts if part.rows}
    return [each for place, each in enumerate(inputs) if place not in sources]


def names_of(engine: RowEngine, options: ExplainOptions) -> tuple[str, ...]:
    """Those that the user or the model gives; none where neither does.

    Raises `ConfigurationError` for too many or too few, for the model's own in another order, and for names that could
    not be told from other columns of the output.
    """
    names = options.names
    if names and engine.names and names != engine.names and set(names) == set(engine.names):
        raise ConfigurationError("--names has the names of the model in another order than the model",
                                 "Leave --names out. A header puts columns in the model's order.")  # fmt: skip
    return _output_names(names or engine.names, engine) if names or engine.names else ()


def _output_names(names: tuple[str, ...], engine: RowEngine) -> tuple[str, ...]:
    names = names or tuple(f"f{place}" for place in range(engine.features))
    if len(names) != engine.features:
        raise ConfigurationError(f"{len(names)} names, and the model has {engine.features} features")
    if reserved := [name for name in names if _RESERVED.fullmatch(name)]:
        raise ConfigurationError(
            f"the feature {json.dumps(reserved[0])} has a name that the output's own columns have, or one of two lines",
            "--names FILE gives other names.",
        )
    return names


def reading_of(
    engine: RowEngine, source: Input, options: ExplainOptions, watcher: SkipWatcher, names: tuple[str, ...]
) -> Reading:
    """How `source` is read for `engine`, whose features have these names, or none."""
    rows = min(options.part_rows, max(1, PART_CELLS // engine.features))
    skipping = watcher if options.skip else None
    return Reading(source.shown, engine.features, options.label_first, rows, skipping, names, engine.names)


def _finished(output: Output, run: dict[str, Any]) -> tuple[list[Part], tuple[str, ...]]:
    """The parts that are kept, and the names of their features."""
    content = output.journal()
    if content is None:
        if left := output.parts():
            raise ConfigurationError(f'"{output}" holds "{left[0]}", and no {JOURNAL} says of what run it is',
                                     "Name another folder, or empty it.")  # fmt: skip
        return [], ()
    try:
        journal = json.loads(content)
        known = journal["run"]
        parts = [Part(**{**part, "skipped": tuple(part["skipped"])}) for part in journal["parts"]]
        names = tuple(journal["names"])
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            f'"{output}" has a {JOURNAL} that is none of explain', "Name another folder."
        ) from error
    if differences := [key for key in run if known.get(key) != run[key]]:
        raise ConfigurationError(
            f'"{output}" holds parts of another run: other {", ".join(differences)}', "Name another folder."
        )
    unchanged = []
    for part in parts:  # what was changed since is made again, and what follows it
        if output.sha256(part.name) != part.sha256:
            break
        unchanged.append(part)
    return unchanged, names if unchanged else ()


def _write_journal(
    output: Output, run: dict[str, Any], names: Sequence[str], parts: Sequence[Part], complete: bool
) -> None:
    document = {"run": run, "names": names, "complete": complete, "parts": [vars(part) for part in parts]}
    content = json.dumps(document, indent=1).encode()
    output.write(JOURNAL, content, hashlib.sha256(content).hexdigest())


def content_of(engine: RowEngine, rows: NDArray[np.float32], names: Sequence[str], parquet: bool) -> bytes:
    """A part: prediction, then of each class base value and SHAP values, as XGBPATCH_SHAP_LAYOUT=append has it."""
    names = names or [f"f{place}" for place in range(engine.features)]
    padded = rows if len(rows) else np.full((1, engine.features), np.nan, np.float32)
    table, classes = engine.table(padded)
    table, columns = table[: len(rows)], _columns(names, table.shape[1], classes)
    if parquet:
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
