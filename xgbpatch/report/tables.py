"""Numbers in text and Parquet files, a block of rows at a time, so that memory stays flat whatever the file's size."""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from xgbpatch.errors import ConfigurationError, ExtraMissingError

BLOCK_BYTES = 2 << 20  # of text that is parsed at once
PARQUET_ROWS = 8192
BOM = b"\xef\xbb\xbf"  # with which Excel begins text in UTF-8
_LIBSVM = re.compile(rb"^\s*[^\s:,]+(\s+qid:\d+)?(\s+\d+:[^\s:,]+)+\s*$|^\s*(\d+:[^\s:,]+\s*)+$")


@dataclass(frozen=True)
class Block:
    """Some rows of a file: float64 (n, width), and the number of each one's line there, from 1; `path` names it in
    errors."""

    path: Path | str
    lines: Sequence[int]
    numbers: NDArray[np.float64]

    def refuse(self, row: int, reason: str, next_step: str = "") -> ConfigurationError:
        """The error that names file and line of `row`."""
        return ConfigurationError(f'"{self.path}", line {self.lines[row]}: {reason}', next_step)


def is_packed(path: Path) -> bool:
    """Whether `path` is gzip."""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of `path`, unpacked where it is gzip."""
    packed = is_packed(path)
    with path.open("rb") as stream:
        if not packed:
            yield stream
            return
        with gzip.open(stream) as unpacked:
            yield cast("IO[bytes]", unpacked)


def kind_of(path: Path) -> str:
    """`parquet`, `json` (also JSON Lines and data capture), `libsvm`, or `csv`; by the file's beginning."""
    with opened(path) as stream:
        head = stream.read(4)
        line = (head + stream.readline()).removeprefix(BOM)
        while line and not line.strip():
            line = stream.readline()
    return kind_of_line(head, line)


def kind_of_line(head: bytes, line: bytes) -> str:
    """The same, of a file's first four bytes and its first line that holds something."""
    if head == b"PAR1":
        return "parquet"
    if line.lstrip()[:1] == b"{" or line.lstrip()[:2] in (b"[[", b"[{"):
        return "json"
    return "libsvm" if _LIBSVM.match(line) else "csv"


def lines_of(path: Path) -> Iterator[tuple[list[int], list[bytes]]]:
    """Lines that hold something, with their numbers, some megabytes at a time."""
    with opened(path) as stream:
        before = 0
        try:
            while lines := stream.readlines(BLOCK_BYTES):
                if not before:
                    lines[0] = lines[0].removeprefix(BOM)
                numbered = [(number, line) for number, line in enumerate(lines, before + 1) if line.strip()]
                before += len(lines)
                if numbered:
                    yield [number for number, _ in numbered], [line for _, line in numbered]
        except (EOFError, gzip.BadGzipFile) as error:
            raise ConfigurationError(f'"{path}" is no whole gzip file: {error}') from error


def header_of(path: Path) -> tuple[str, ...] | None:
    """The names in the first line of a CSV file; None where it holds numbers."""
    for _, lines in lines_of(path):
        return names_in(lines[0], path)
    return None


def names_in(line: bytes, path: Path | str) -> tuple[str, ...] | None:
    """The cells of a line of CSV that is a header: no cell is a number, or one is `base_value`. None of a row.

    An empty cell is a missing number. A row with a word in it is no header, so that it is refused and not passed over.
    """
    try:
        cells = next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(f'"{path}" begins with a line that is no text in UTF-8: {error}') from error
    numbers = [_is_number(part.strip(" []")) for cell in cells if cell.strip() for part in cell.split(",")]
    known = any(cell.startswith("base_value") for cell in cells)
    return tuple(cells) if known or (not any(numbers) and numbers) else None


def csv_blocks(path: Path, header: bool, missing: bool = False) -> Iterator[Block]:
    """The rows of a CSV file; a line equal to its header is none. `missing` allows empty cells, which are NaN."""
    names = b""
    for numbers, lines in lines_of(path):
        names = names or (lines[0] if header else b"")
        places = [place for place, line in enumerate(lines) if line != names]
        if places:
            yield parse_csv(path, [numbers[place] for place in places], [lines[place] for place in places], missing)


def parse_csv(path: Path | str, numbers: Sequence[int], lines: Sequence[bytes], missing: bool = False) -> Block:
    """Lines of numbers, float64; brackets and quotes of lists are passed over.

    Raises `ConfigurationError` for a line that is wider or narrower than the first, and for what is no number.
    """
    whole = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
    if b"[" in whole or b'"' in whole:
        lines = whole.translate(None, b'[]"').split(b"\n")[:-1]
    if missing:
        lines = [_filled(line.strip()) for line in lines]
    try:
        table = np.loadtxt((line.decode("latin-1") for line in lines), delimiter=",", comments=None, ndmin=2)
    except (ValueError, MemoryError) as error:
        raise _blame(path, numbers, lines, error) from error
    return Block(path, numbers, table)


def _filled(line: bytes) -> bytes:
    """A stripped line with `nan` in each cell that has no character."""
    if b",," in line:
        line = line.replace(b",,", b",nan,").replace(b",,", b",nan,")
    line = b"nan" + line if line[:1] in (b",", b"") else line
    return line + b"nan" if line[-1:] == b"," else line


def _blame(path: Path | str, numbers: Sequence[int], lines: Sequence[bytes], error: Exception) -> ConfigurationError:
    width = lines[0].count(b",") + 1
    for number, line in zip(numbers, lines, strict=True):
        cells = line.split(b",")
        if len(cells) != width:
            return ConfigurationError(f'"{path}", line {number} has {len(cells)} columns, those before it have {width}')
        for column, cell in enumerate(cells, 1):
            if not _is_number(text := cell.decode("latin-1").strip()):
                return ConfigurationError(f'"{path}", line {number}, column {column}: "{text[:40]}" is no number')
    return ConfigurationError(f'"{path}" cannot be read as CSV: {error}')


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # which Python takes, and files of numbers do not


def libsvm_blocks(path: Path, width: int) -> Iterator[tuple[Block, NDArray[np.float64] | None]]:
    """Rows of `width` cells, NaN where there is none, and the labels before them where they stand there.

    Features are counted from 0, or from 1 where the first rows name feature `width` and no 0.
    """
    first: int | None = None
    for numbers, lines in lines_of(path):
        if first is None:
            named = {index for line in lines for index, _ in _pairs(path, numbers[0], line)[1]}
            first = 1 if width in named and 0 not in named else 0
        yield libsvm_rows(path, numbers, lines, width, first)


def libsvm_rows(
    path: Path | str, numbers: Sequence[int], lines: Sequence[bytes], width: int, first: int
) -> tuple[Block, NDArray[np.float64] | None]:
    """The same of some lines, where `first` is the number of the first feature."""
    table = np.full((len(lines), width), np.nan)
    labels = []
    for row, (number, line) in enumerate(zip(numbers, lines, strict=True)):
        label, pairs = _pairs(path, number, line)
        labels.append(label)
        if len({index for index, _ in pairs}) < len(pairs):
            raise ConfigurationError(f'"{path}", line {number}: a feature stands there twice')
        for index, value in pairs:
            if not 0 <= index - first < width:
                raise ConfigurationError(
                    f'"{path}", line {number}: feature {index}, where there are {width} from {first}'
                )
            table[row, index - first] = value
    missing = any(label is None for label in labels)
    return Block(path, numbers, table), None if missing else np.array(labels, float)


def _pairs(path: Path | str, number: int, line: bytes) -> tuple[float | None, list[tuple[int, float]]]:
    words = line.split()
    try:
        label = None if b":" in words[0] else float(words[0])
        words = [word for word in words[label is not None :] if not word.startswith(b"qid:")]
        pairs = [word.split(b":") for word in words]
        return label, [(int(index), float(value)) for index, value in pairs]
    except ValueError as error:
        raise ConfigurationError(f'"{path}", line {number} is no libsvm: {error}') from error


def parquet_names(path: Path) -> tuple[str, ...]:
    """The columns of a Parquet file. Raises `ExtraMissingError` without pyarrow."""
    with _parquet(path) as file:
        return tuple(file.schema_arrow.names)


def parquet_rows(path: Path) -> int:
    """How many rows a Parquet file has."""
    with _parquet(path) as file:
        return int(file.metadata.num_rows)


def parquet_blocks(path: Path, rows: int = PARQUET_ROWS, places: Sequence[int] | None = None) -> Iterator[Block]:
    """The rows of a Parquet file whose columns, or those at `places`, are numbers; a null is NaN.

    A column of categories is refused: a model knows their codes, and the file has what they stand for.
    """
    with _parquet(path) as file:
        before = 0
        schema = file.schema_arrow
        places = range(len(schema)) if places is None else places
        pandas = (schema.pandas_metadata or {}).get("columns", ())
        categories = {column.get("name") for column in pandas if column.get("pandas_type") == "categorical"}
        for field in map(schema.field, places):
            if hasattr(field.type, "index_type") or field.name in categories:
                raise ConfigurationError(f'the column "{field.name}" of "{path}" has categories',
                                         "Write their codes, which the model was trained on.")  # fmt: skip
        for batch in file.iter_batches(rows):
            arrays = [batch.columns[place] for place in places]
            try:
                columns = [column.cast("float64").to_numpy(zero_copy_only=False) for column in arrays]
            except (ValueError, NotImplementedError) as error:
                raise ConfigurationError(f'"{path}" has a column that holds no numbers: {error}') from error
            lines = range(before + 1, before + batch.num_rows + 1)
            before += batch.num_rows
            yield Block(path, lines, np.column_stack(columns))


@contextmanager
def _parquet(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import ArrowInvalid, parquet
    except ImportError as error:
        raise ExtraMissingError(f'reading "{path}", a Parquet file,', "parquet") from error
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except ArrowInvalid as error:
        raise ConfigurationError(f'"{path}" cannot be read as Parquet: {error}') from error
