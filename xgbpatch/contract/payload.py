"""Rows of numbers as request bodies, and response bodies as rows of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xgbpatch.contract import recordio
from xgbpatch.contract.exchange import Answer
from xgbpatch.contract.finding import Violation

Row = tuple[float, ...]


@dataclass(frozen=True)
class ContentType:
    """A content type that every base takes: the header's value, and rows as such a body."""

    header: str
    encode: Callable[[Sequence[Row]], bytes]


def csv(rows: Sequence[Row]) -> bytes:
    """One line a row, no header, no label, no newline at the end."""
    return "\n".join(",".join(map(_number, row)) for row in rows).encode()


def libsvm(rows: Sequence[Row]) -> bytes:
    """Every feature written out from index 0: 3.2-0 shifts a request whose smallest index is 1 (facts 7)."""
    lines = (" ".join(f"{index}:{_number(value)}" for index, value in enumerate(row)) for row in rows)
    return "\n".join(f"0 {line}" for line in lines).encode()


CONTENT_TYPES = {
    "csv": ContentType("text/csv", csv),
    "libsvm": ContentType("text/libsvm", libsvm),
    "recordio-protobuf": ContentType("application/x-recordio-protobuf", recordio.encode),
}


def csv_scores(answer: Answer) -> list[Row]:
    """The numbers of a CSV answer, one row a line; raises `Violation` where a cell is none."""
    try:
        return [tuple(float(cell) for cell in line.split(",")) for line in answer.text.splitlines()]
    except ValueError as error:
        raise Violation(f"answered {answer}, which is no CSV of numbers") from error


def json_scores(answer: Answer, key: str = "score") -> list[Row]:
    """The numbers under `predictions[].<key>`, one row a record; raises `Violation` on another shape."""
    document = answer.json()
    try:
        return [_row(record[key]) for record in document["predictions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise Violation(f'answered {answer}, not {{"predictions": [{{"{key}": …}}]}}') from error


def json_lines_scores(answer: Answer, key: str = "score") -> list[Row]:
    """The numbers under `key` of each line; raises `Violation` on another shape."""
    lines = [Answer(answer.status, {}, b'{"predictions": [' + line + b"]}") for line in answer.body.splitlines()]
    return [score for line in lines for score in json_scores(line, key)]


def _row(score: object) -> Row:
    return tuple(map(float, score)) if isinstance(score, list) else (float(score),)  # type: ignore[arg-type]


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
