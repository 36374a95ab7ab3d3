"""SHAP values of files of rows, in parts: each is whole or not there, so that a killed run goes on behind its last."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError, ExtraMissingError
from xgbpatch.report import tables
from xgbpatch.report.explanations import JOURNAL, files_of
from xgbpatch.util import atomic_write, locked_path

if TYPE_CHECKING:
    from xgbpatch.explanation import Explainer

PART_ROWS = 20_000


@dataclass(frozen=True)
class Part:
    """A finished file of the output: `rows` of input `source`, up to line `line` and byte `offset` of it (of Parquet,
    row `offset`). `skipped` are the numbers of lines that could not be read."""

    name: str
    sha256: str
    source: int
    rows: int
    line: int
    offset: int
    skipped: tuple[int, ...] = ()


class Watcher(Protocol):
    """Hears of each part, with the share of the work that is done (0 to 1), and of each line that is left out."""

    def part(self, part: Part, share: float, resumed: bool) -> None: ...

    def skipped(self, reason: str) -> None: ...


@dataclass(frozen=True)
class Options:
    """`parquet`: parts are Parquet and not CSV. `skip`: a line that cannot be read is left out. `label_first`: the
    first column is no feature."""

    names: tuple[str, ...] = ()
    parquet: bool = False
    skip: bool = False
    label_first: bool = False
    part_rows: int = PART_ROWS


def loaded(path: Path) -> Explainer:
    """The model file at `path`, cut at its best round as the official image predicts. Raises `ExtraMissingError`."""
    try:
        import xgboost
    except ImportError as error:
        raise ExtraMissingError("xgbpatch explain", "explain") from error
    from xgbpatch.explanation import Explainer

    try:
        booster = xgboost.Booster()
        booster.load_model(bytearray(path.read_bytes()))  # JSON or UBJSON by its bytes; a name would have to tell
    except xgboost.core.XGBoostError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ConfigurationError(f'xgboost {xgboost.__version__} does not read "{path.name}": {reason}',
                                 "xgbpatch convert-model writes old models anew.") from error  # fmt: skip
    return Explainer(booster, iteration_range=_rounds(booster))


def _rounds(booster: Any) -> tuple[int, int]:
    best = booster.attr("best_iteration")
    return (0, int(best) + 1) if best else (0, 0)


def explain(model: Path, inputs: Sequence[Path], folder: Path, options: Options, watcher: Watcher) -> list[Part]:
    """Write prediction, base value and one SHAP value a feature for every row of `inputs`, in order, into `folder`.

    Parts that are there with the digest that the journal names are kept; those of another model, input or option are
    refused. Every row is written once. Raises `ConfigurationError` for a row that cannot be read (without
    `options.skip`), with file and line; `OSError` as the system does.
    """
    explainer = loaded(model)
    files = files_of(inputs)
    run = {
        "xgbpatch": version("xgbpatch"), "model": _sha256(model), "options": json.loads(json.dumps(asdict(options))),
        "inputs": [{"name": path.name, "bytes": path.stat().st_size, "sha256": _sha256(path)} for path in files],
        "engine": explainer.reason or "xgbpatch",
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    with locked_path(folder):
        for left in folder.glob(".*.part"):  # of a run that was killed while it wrote
            left.unlink()
        return _go_on(explainer, files, folder, run, options, watcher)


def _go_on(
    explainer: Explainer, files: Sequence[Path], folder: Path, run: dict[str, Any], options: Options, watcher: Watcher
) -> list[Part]:
    sizes = [path.stat().st_size for path in files]

    def share(part: Part) -> float:  # of a packed file only where the next begins
        within = part.offset if part.offset <= sizes[part.source] and part.line != part.offset else 0
        return (sum(sizes[: part.source]) + within) / max(sum(sizes), 1)

    parts = _finished(folder, run)
    for part in parts:
        watcher.part(part, share(part), resumed=True)
    begin = parts[-1].source if parts else 0
    for source in range(begin, len(files)):
        last = parts[-1] if parts and parts[-1].source == source else None
        line, offset = (last.line, last.offset) if last else (0, 0)
        for piece in _pieces(files[source], line, offset, explainer.features, options, watcher):
            name = f"part-{len(parts):05d}.{'parquet' if options.parquet else 'csv'}"
            content = _content(explainer, piece.rows, options)
            atomic_write(folder / name, content)
            digest = hashlib.sha256(content).hexdigest()
            part = Part(name, digest, source, len(piece.rows), piece.line, piece.offset, piece.skipped)
            parts.append(part)
            _write_journal(folder, run, parts, complete=False)
            watcher.part(part, share(part), resumed=False)
    _write_journal(folder, run, parts, complete=True)
    return parts


def _finished(folder: Path, run: dict[str, Any]) -> list[Part]:
    try:
        journal = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
        known, parts = (
            journal["run"],
            [Part(**{**part, "skipped": tuple(part["skipped"])}) for part in journal["parts"]],
        )
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(f'"{folder / JOURNAL}" is no journal of explain', "Name another folder.") from error
    if differences := [key for key in run if known.get(key) != run[key]]:
        raise ConfigurationError(
            f'"{folder}" holds parts of another run: other {", ".join(differences)}', "Name another folder."
        )
    kept = []
    for part in parts:  # what was changed since is made again, and what follows it
        if not (folder / part.name).is_file() or _sha256(folder / part.name) != part.sha256:
            break
        kept.append(part)
    return kept


def _write_journal(folder: Path, run: dict[str, Any], parts: Sequence[Part], complete: bool) -> None:
    document = {"run": run, "complete": complete, "parts": [asdict(part) for part in parts]}
    atomic_write(folder / JOURNAL, json.dumps(document, indent=1).encode())


@dataclass(frozen=True)
class _Piece:
    rows: NDArray[np.float32]
    line: int
    offset: int
    skipped: tuple[int, ...] = ()


def _pieces(path: Path, line: int, offset: int, width: int, options: Options, watcher: Watcher) -> Iterator[_Piece]:
    """The rows of a file behind `line` and `offset`, `part_rows` lines at a time."""
    kind = _kind(path)
    if kind == "parquet":
        yield from _parquet_pieces(path, offset, width, options)
        return
    header = tables.header_of(path) if kind == "csv" else None
    with tables.opened(path) as stream:
        stream.seek(offset)
        while lines := list(islice(stream, options.part_rows)):
            numbered = [(line + place, text) for place, text in enumerate(lines, 1) if text.strip()]
            if header and not line:
                numbered = numbered[1:]
            line += len(lines)
            offset += sum(map(len, lines))
            rows, skipped = _rows(path, kind, numbered, width, options, watcher)
            if len(rows) or skipped:
                yield _Piece(rows, line, offset, skipped)


def _kind(path: Path) -> str:
    """As `tables.kind_of`; a line that begins with a bracket is JSON here, where no prediction can be a list."""
    with tables.opened(path) as stream:
        begin = stream.read(64).lstrip()
    return "json" if begin.startswith(b"[") else tables.kind_of(path)


def _rows(
    path: Path, kind: str, numbered: Sequence[tuple[int, bytes]], width: int, options: Options, watcher: Watcher
) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """float32 (n, width), and the lines that could not be read."""
    if not numbered:
        return np.empty((0, width), np.float32), ()
    try:
        return _parsed(path, kind, numbered, width, options), ()
    except ConfigurationError:
        if not options.skip:
            raise
    rows, skipped = [], []
    for number, line in numbered:
        try:
            rows.append(_parsed(path, kind, [(number, line)], width, options))
        except ConfigurationError as error:
            watcher.skipped(error.message)
            skipped.append(number)
    return np.concatenate(rows) if rows else np.empty((0, width), np.float32), tuple(skipped)


def _parsed(
    path: Path, kind: str, numbered: Sequence[tuple[int, bytes]], width: int, options: Options
) -> NDArray[np.float32]:
    numbers, lines = [number for number, _ in numbered], [line for _, line in numbered]
    if kind == "libsvm":
        table = tables.libsvm_rows(path, numbers, lines, width, 0)[0].numbers
    elif kind == "json":
        table = _json_rows(path, numbers, lines)
    else:
        table = tables.parse_csv(path, numbers, lines, missing=True).numbers
        table = table[:, 1:] if options.label_first else table
    if table.shape[1] != width:
        raise ConfigurationError(f'"{path}", line {numbers[0]}: {table.shape[1]} features, the model has {width}',
                                 "" if options.label_first else "--label-first leaves a label out.")  # fmt: skip
    with np.errstate(over="ignore"):
        rows = table.astype(np.float32)
    if (endless := np.isinf(rows).any(axis=1)).any():
        raise ConfigurationError(f'"{path}", line {numbers[int(endless.argmax())]}: a number beyond float32')
    return rows


def _json_rows(path: Path, numbers: Sequence[int], lines: Sequence[bytes]) -> NDArray[np.float64]:
    rows: list[list[float]] = []
    for number, line in zip(numbers, lines, strict=True):
        try:
            record = json.loads(line)
            record = record["features"] if isinstance(record, dict) else record
            if not isinstance(record, list) or any(type(cell) not in (int, float, type(None)) for cell in record):
                raise ValueError("not numbers")
        except (ValueError, KeyError, RecursionError) as error:
            raise ConfigurationError(
                f'"{path}", line {number}: it is no list of numbers and no object with "features": {error}'
            ) from error
        rows.append([np.nan if cell is None else float(cell) for cell in record])
        if len(rows[-1]) != len(rows[0]):
            raise ConfigurationError(
                f'"{path}", line {number} has {len(rows[-1])} values, those before it {len(rows[0])}'
            )
    return np.array(rows, float)


def _parquet_pieces(path: Path, begin: int, width: int, options: Options) -> Iterator[_Piece]:
    """Batches of a Parquet file behind row `begin`; a batch is a part."""
    for block in tables.parquet_blocks(path, options.part_rows):
        end = block.lines[-1]
        if end > begin:
            numbers = block.numbers[:, 1:] if options.label_first else block.numbers
            if numbers.shape[1] != width:
                raise block.refuse(0, f"{numbers.shape[1]} columns, the model has {width} features")
            yield _Piece(numbers.astype(np.float32), end, end)


def _content(explainer: Explainer, rows: NDArray[np.float32], options: Options) -> bytes:
    """A part: prediction, then of each class base value and SHAP values, as XGBPATCH_SHAP_LAYOUT=append has it."""
    import xgboost

    names = options.names or tuple(
        explainer.booster.feature_names or [f"f{place}" for place in range(explainer.features)]
    )
    if len(names) != explainer.features:
        raise ConfigurationError(f"{len(names)} names, and the model has {explainer.features} features")
    padded = rows if len(rows) else np.full((1, explainer.features), np.nan, np.float32)
    table, columns = _table(explainer, padded, xgboost.DMatrix(padded), names)
    table = table[: len(rows)]
    if options.parquet:
        return _parquet(table, columns)
    from xgbpatch.overlays import native

    head = io.StringIO()
    csv.writer(head, lineterminator="\n").writerow(columns)
    return (head.getvalue() + "".join(f"{line}\n" for line in native.shortest(table, ","))).encode()


def _table(
    explainer: Explainer, rows: NDArray[np.float32], matrix: Any, names: Sequence[str]
) -> tuple[NDArray[np.float32], list[str]]:
    explained = explainer(rows)
    outputs = 1 if explained.base_values.ndim == 1 else explained.base_values.shape[1]
    values = explained.values.reshape(len(rows), explainer.features, outputs)
    vectors = np.concatenate([explained.base_values.reshape(len(rows), 1, outputs), values], axis=1)
    rounds = _rounds(explainer.booster)
    predictions = explainer.booster.predict(matrix, validate_features=False, iteration_range=rounds)
    predictions = predictions.reshape(len(rows), -1)
    table = np.concatenate([predictions, np.moveaxis(vectors, 2, 1).reshape(len(rows), -1)], axis=1)
    count = predictions.shape[1]
    predicted = ["prediction"] if count == 1 else [f"prediction_{number}" for number in range(count)]
    each = ["base_value", *names]
    columns = each if outputs == 1 else [f"{name}_{number}" for number in range(outputs) for name in each]
    return table.astype(np.float32), [*predicted, *columns]


def _parquet(table: NDArray[np.float32], columns: Sequence[str]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ExtraMissingError("writing Parquet", "parquet") from error
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array(column) for column in table.T], list(columns)), stream)
    return stream.getvalue()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
