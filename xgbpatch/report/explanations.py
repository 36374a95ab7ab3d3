"""Explained predictions out of files: what `XGBPATCH_SHAP_LAYOUT=append` and the keys `base_value` and `shap_values`
give, as CSV, JSON, JSON Lines or Parquet, and what SageMaker's data capture keeps of an endpoint."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError
from xgbpatch.provenance import PROJECT
from xgbpatch.report import tables
from xgbpatch.report.tables import Block

JOURNAL = "explain.json"  # what `xgbpatch explain` keeps beside its parts
PREDICTIONS = ("score", "predicted_score", "probabilities", "probability", "prediction", "predicted_label")
_LAYOUTS = f"{PROJECT}/blob/main/docs/report.md shows the layouts that are read."


@dataclass(frozen=True)
class Rows:
    """Explained rows, in order: `numbers` int64 (n,) from 1; `predictions` (n, p), `base` (n, outputs), `values`
    (n, outputs, features), all float64; the features themselves, the labels and the column that makes cohorts where
    they are known."""

    numbers: NDArray[np.int64]
    predictions: NDArray[np.float64]
    base: NDArray[np.float64]
    values: NDArray[np.float64]
    data: NDArray[np.float64] | None = None
    labels: NDArray[np.float64] | None = None
    cohort: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.predictions)

    def take(self, places: Any) -> Rows:
        """The rows at `places`: a slice, an array of numbers, or of truth values."""
        columns: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {name: None if each is None else each[places] for name, each in columns.items()}
        return Rows(**chosen)

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """All of `parts`, one after the other; a column that one of them lacks is lost."""
        columns: dict[str, Any] = {}
        for field in fields(cls):
            each = [getattr(part, field.name) for part in parts]
            columns[field.name] = None if any(one is None for one in each) else np.concatenate(each)
        return cls(**columns)


@dataclass(frozen=True)
class ColumnLayout:
    """Which column of a row is what: `inputs` features, `predictions`, then of each of `outputs` a base value and one
    value a feature; with `by_key` all base values come first. `names` are those of the file, where it has some."""

    predictions: int
    outputs: int
    features: int
    by_key: bool = False
    inputs: int = 0
    names: tuple[str, ...] | None = None
    ignored: int = 0  # columns behind the values: interactions

    @property
    def width(self) -> int:
        return self.inputs + self.predictions + self.outputs * (1 + self.features) + self.ignored

    def rows(self, block: Block, before: int) -> Rows:
        """The rows of `block`, of which `before` rows precede. Raises `ConfigurationError` where they do not fit."""
        numbers = block.numbers
        if numbers.shape[1] != self.width:
            columns = f"{numbers.shape[1]} columns, and rows before it have {self.width}"
            raise block.refuse(0, columns, "All explanations of a report must be of one model.")
        explained = numbers[:, self.inputs : self.width - self.ignored]
        if not (finite := np.isfinite(explained)).all():
            row, column = np.argwhere(~finite)[0]
            bad = explained[row, column]
            raise block.refuse(int(row), f"column {self.inputs + column + 1} is {bad}, not a finite number")
        predictions, rest = explained[:, : self.predictions], explained[:, self.predictions :]
        if self.by_key:
            base = rest[:, : self.outputs]
            values = rest[:, self.outputs :].reshape(len(rest), self.outputs, self.features)
        else:
            vectors = rest.reshape(len(rest), self.outputs, 1 + self.features)
            base, values = vectors[:, :, 0], vectors[:, :, 1:]
        data = numbers[:, : self.inputs] if self.inputs else None
        return Rows(np.arange(before + 1, before + len(numbers) + 1), predictions, base, values, data)


@dataclass(frozen=True)
class Hints:
    """What the user says of files that do not say it themselves."""

    classes: int | None = None
    features: int | None = None
    joined: bool = False
    unequal: bool = False  # that base value and SHAP values do not add up to most predictions


class Explanations:
    """The explained rows of `paths`, one file after the other; a folder stands for its files, in order of their names.

    Once iterated, `layout` is known, `files` names what was read, and `unexplained` counts captured answers without
    SHAP values, which are left out.
    """

    def __init__(self, paths: Sequence[Path], hints: Hints):
        self.files = files_of(paths)
        for path in paths:
            _require_whole(path)
        self.layout: ColumnLayout | None = None
        self.unexplained = 0
        self._hints = hints
        self._current: ColumnLayout | None = None  # of the block that comes: CSV and JSON differ

    def __iter__(self) -> Iterator[Rows]:
        before = 0
        for path in self.files:
            for block, data in self._blocks(path):
                assert self._current is not None
                rows = self._current.rows(block, before)
                before += len(rows)
                yield rows if data is None else replace(rows, data=data)
        if not before:
            reason = f"; {self.unexplained} captured answers have none" if self.unexplained else ""
            raise ConfigurationError(f'"{self.files[0]}" holds no explained prediction{reason}', _LAYOUTS)

    def _blocks(self, path: Path) -> Iterator[tuple[Block, NDArray[np.float64] | None]]:
        kind = tables.kind_of(path)
        if kind == "json":
            yield from self._json(path)
            return
        if kind == "libsvm":
            raise ConfigurationError(f'"{path}" is libsvm, and no explanations', f"{_LAYOUTS} Features go to --data.")
        names = tables.parquet_names(path) if kind == "parquet" else tables.header_of(path)
        blocks = tables.parquet_blocks(path) if kind == "parquet" else self._csv(path, names is not None)
        for block in blocks:
            self._know(_of_columns(block, names, self._hints), block)
            yield block, None

    def _csv(self, path: Path, header: bool) -> Iterator[Block]:
        return tables.csv_blocks(path, header, missing=self._hints.joined)

    def _know(self, layout: ColumnLayout, block: Block) -> None:
        self._current, known = layout, self.layout
        if known is None:
            self.layout = layout
            return
        one_model = "All explanations of a report must be of one model."
        shape = (layout.width - layout.ignored, layout.outputs, layout.predictions)
        if shape != (known.width - known.ignored, known.outputs, known.predictions):
            raise block.refuse(0, f"{layout.width} columns, and rows before it have {known.width}", one_model)
        if known.names and layout.names and known.names != layout.names:
            raise ConfigurationError(
                f'"{block.path}" has other names of features than files before it, or another order', one_model
            )
        if layout.names and not known.names:
            self.layout = replace(known, names=layout.names)

    def _json(self, path: Path) -> Iterator[tuple[Block, NDArray[np.float64] | None]]:
        for numbers, lines in tables.lines_of(path):
            records: list[tuple[int, Any]] = []
            for number, line in zip(numbers, lines, strict=True):
                for document in _documents(path, number, line):
                    if isinstance(document, dict) and "captureData" in document:
                        yield from self._captured(path, number, document)
                    else:
                        each = document.get("predictions", document) if isinstance(document, dict) else document
                        records += [(number, record) for record in (each if isinstance(each, list) else [each])]
            if records:
                yield self._of_records(path, records), None

    def _of_records(self, path: Path, records: Sequence[tuple[int, Any]]) -> Block:
        flat = [_flat(path, number, record) for number, record in records]
        for (number, _), (layout, _) in zip(records, flat, strict=True):
            if layout != flat[0][0]:
                raise ConfigurationError(f'"{path}", line {number}: {layout.features} features and {layout.outputs} '
                                         f"outputs, those before it have {flat[0][0].features} and "
                                         f"{flat[0][0].outputs}")  # fmt: skip
        try:
            table = np.array([row for _, row in flat], float)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f'"{path}", line {records[0][0]}: a value is no number: {error}') from error
        block = Block(path, [number for number, _ in records], table)
        self._know(flat[0][0], block)
        return block

    def _captured(self, path: Path, line: int, document: dict[str, Any]) -> Iterator[tuple[Block, Any]]:
        capture = document["captureData"]
        if not isinstance(capture, dict) or "endpointOutput" not in capture:
            raise ConfigurationError(f'"{path}", line {line}: the capture has no output', "Capture output too.")
        text = _payload(path, line, capture["endpointOutput"])
        if not text.strip():
            return
        if text.lstrip()[:1] in "{[" and not text.lstrip().startswith("["):
            records = [
                (line, record)
                for each in _documents(path, line, text.encode())
                for record in each.get("predictions", [each])
            ]
            if not any("shap_values" in record for _, record in records if isinstance(record, dict)):
                self.unexplained += len(records)
                return
            block = self._of_records(path, records)
        else:
            lines = [each.encode() for each in text.splitlines() if each.strip()]
            names = tables.names_in(lines[0], path)
            if names:
                lines = lines[1:]
            if not lines or (lines[0].count(b",") < 2 and b"[" not in lines[0]):
                self.unexplained += len(lines)
                return
            block = tables.parse_csv(path, [line] * len(lines), lines)
            self._know(_of_columns(block, names, self._hints), block)
        assert self.layout is not None
        yield block, self._captured_input(path, line, capture.get("endpointInput"), len(block.numbers))

    def _captured_input(self, path: Path, line: int, part: Any, count: int) -> NDArray[np.float64]:
        """The features of a captured request; NaN where it is no CSV, or cannot be paired with its answer."""
        assert self.layout is not None
        unknown = np.full((count, self.layout.features), np.nan)
        if not isinstance(part, dict) or "csv" not in str(part.get("observedContentType", "csv")).lower():
            return unknown
        try:
            lines = [each.encode() for each in _payload(path, line, part).splitlines() if each.strip()]
            if len(lines) != count:
                return unknown
            numbers = tables.parse_csv(path, [line] * count, lines, missing=True).numbers
        except ConfigurationError:
            return unknown
        return numbers if numbers.shape[1] == self.layout.features else unknown


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files that `paths` stand for. Raises `ConfigurationError` for a folder without any, and for a pipe, which
    could be read once."""
    files: list[Path] = []
    for path in paths:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ConfigurationError(f'"{path}" is a pipe or a device, and files are read more than once',
                                     "Write it to a file first.")  # fmt: skip
        inside = sorted((each for each in path.rglob("*") if _is_part(each)), key=_order)
        if path.is_dir() and not inside:
            raise ConfigurationError(f'the folder "{path}" holds no file')
        files += inside if path.is_dir() else [path]
    return files


def _order(path: Path) -> Path:
    """That of the names; `a.out` and `a.1.out` of batch transform are in the order of `a` and `a.1`, their inputs."""
    return path.with_name(path.name.removesuffix(".out"))


def _require_whole(folder: Path) -> None:
    """Raises `ConfigurationError` where `xgbpatch explain` has not come to its end in that folder."""
    try:
        whole = json.loads((folder / JOURNAL).read_bytes()).get("complete", True)
    except (OSError, ValueError, AttributeError):  # none of its folders
        return
    if not whole:
        raise ConfigurationError(f'"{folder}" holds a part of what `xgbpatch explain` was to write there',
                                 "Give that command again, or name the files themselves.")  # fmt: skip


def _is_part(path: Path) -> bool:
    return path.is_file() and not path.name.startswith((".", "_")) and path.name != JOURNAL


def _of_columns(block: Block, names: tuple[str, ...] | None, hints: Hints) -> ColumnLayout:
    width = block.numbers.shape[1]
    if names and not any(name.startswith("base_value") for name in names):
        raise ConfigurationError(f'"{block.path}" has no column "base_value", so its columns are no explanations: '
                                 f"{', '.join(names[:5])}, …", _LAYOUTS)  # fmt: skip
    if names and "shap_values" not in names:
        return _of_names(block, names, width)
    inputs = hints.features if hints.joined else None
    classes = hints.classes
    if classes is None and hints.features is not None:
        classes = _classes(width - (hints.features if hints.joined else 0), hints.features)
    classes = classes or 1
    for predictions in dict.fromkeys((1, classes)):
        features, left = divmod(width - predictions - classes, classes + hints.joined)
        if not left and features > 0 and hints.features in (None, features):
            inputs = features if hints.joined else 0
            return ColumnLayout(predictions, classes, features, bool(names), inputs)
    expected = f" of {hints.features} features" if hints.features else ""
    raise block.refuse(
        0, f"{width} columns are no prediction, base value and SHAP values{expected}",
        "Of a model with several classes, --classes says how many. " + _LAYOUTS,
    )  # fmt: skip


def _classes(width: int, features: int) -> int:
    """How many classes rows of `width` have whose predictions are one number, or one a class."""
    if (width - 1) % (1 + features) == 0:
        return (width - 1) // (1 + features)
    return width // (2 + features) if width % (2 + features) == 0 else 1


def _of_names(block: Block, names: tuple[str, ...], width: int) -> ColumnLayout:
    """Our own header: predictions, then `base_value` and the features, or `base_value_0` and those that end in _0."""
    if any(re.fullmatch("top_1(_0)?", name) for name in names):
        raise ConfigurationError(f'"{block.path}" holds the strongest features alone (top_k)',
                                 "A report needs the SHAP values of all: explain without top_k.")  # fmt: skip
    if len(names) != width:
        raise block.refuse(0, f"{width} columns, where the header names {len(names)}")
    bases = [place for place, name in enumerate(names) if re.fullmatch(r"base_value(_\d+)?", name)]
    interactions = [place for place, name in enumerate(names) if name.startswith("base_value*")]
    if not bases or not bases[0]:
        raise ConfigurationError(f'"{block.path}" has no prediction before its column "base_value"', _LAYOUTS)
    if interactions and len(bases) > 1:
        raise ConfigurationError(f'"{block.path}" holds interactions of classes', "Explain without interactions.")
    end = len(names)
    if interactions:
        features = round((end - bases[0]) ** 0.5) - 1
        while bases[0] + 1 + features + (features + 1) ** 2 > end:
            features -= 1
        end = bases[0] + 1 + features
    features = (end - bases[0]) // len(bases) - 1
    own = tuple(names[bases[0] + 1 : bases[0] + 1 + features])
    if len(bases) > 1:
        own = tuple(name.removesuffix("_0") for name in own)
    if features < 1 or any(place != bases[0] + number * (features + 1) for number, place in enumerate(bases)):
        raise ConfigurationError(f'"{block.path}" has no equal number of features behind each base value', _LAYOUTS)
    return ColumnLayout(bases[0], len(bases), features, names=own, ignored=len(names) - end)


def _documents(path: Path, number: int, line: bytes) -> Iterator[Any]:
    """The JSON documents of a line: one, or several that batch transform put one behind the other."""
    try:
        text, place = line.decode("utf-8-sig"), 0
        decoder = json.JSONDecoder()
        while place < len(text):
            if text[place].isspace():
                place += 1
                continue
            document, place = decoder.raw_decode(text, place)
            yield document
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f'"{path}", line {number} is no JSON: {error}', _LAYOUTS) from error


def _flat(path: Path, number: int, record: Any) -> tuple[ColumnLayout, list[float]]:
    """A record as the numbers of a row, and their layout."""
    where = f'"{path}", line {number}'
    if not isinstance(record, dict) or "shap_values" not in record:
        raise ConfigurationError(f'{where} has no "shap_values"', _LAYOUTS)
    key = next((key for key in PREDICTIONS if record.get(key) is not None), None)
    if key is None or "base_value" not in record:
        raise ConfigurationError(f"{where} has no {'base_value' if key else 'prediction'}", _LAYOUTS)
    vectors = record["shap_values"]
    parts = [value if isinstance(value, list) else [value] for value in (record[key], record["base_value"])]
    if not isinstance(vectors, list) or not vectors:
        raise ConfigurationError(f'{where}: "shap_values" is no list of numbers')
    vectors = vectors if isinstance(vectors[0], list) else [vectors]
    if len({len(vector) if isinstance(vector, list) else -1 for vector in vectors}) != 1 or len(vectors) != len(
        parts[1]
    ):
        raise ConfigurationError(f'{where}: "shap_values" and "base_value" are not of the same classes')
    layout = ColumnLayout(len(parts[0]), len(vectors), len(vectors[0]), by_key=True)
    return layout, [*parts[0], *parts[1], *(value for vector in vectors for value in vector)]


def _payload(path: Path, line: int, part: Any) -> str:
    """The text of one side of a capture."""
    try:
        data = part.get("data", "")
        return base64.b64decode(data).decode() if part.get("encoding") == "BASE64" else str(data)
    except (AttributeError, ValueError) as error:
        raise ConfigurationError(f'"{path}", line {line}: captured data is no text: {error}') from error
