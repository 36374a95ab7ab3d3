"""The layout append: an explanation behind the base's own text of each record.

Each writer takes the base's text of n records and an Addition of n records, and returns a function that gives the bytes
of the first `count` of them.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from .shap_keys import KeyValues

Write = Callable[[int], bytes]


@dataclass(frozen=True)
class Addition:
    """What is added to each record: `keys` of `values`.

    `header` asks for a first line of names, in CSV; `predicted` names the base's columns, where it selected some.
    """

    values: KeyValues
    keys: Tuple[str, ...]
    header: bool = False
    predicted: Tuple[str, ...] = ()

    def cells(self, record: int) -> str:
        """Base value, values and interactions (row by row) of one class after the other."""
        found = [self.values.lined(key, record) for key in self.keys]
        vectors = [found] if self.values.classes is None else zip(*found)
        return ",".join(str(number) for vector in vectors for number in _flat(vector))

    def fields(self, record: int) -> Dict[str, Any]:
        """One entry a key, for JSON."""
        return {key: self.values.structured(key, record) for key in self.keys}

    def names(self) -> List[str]:
        """One a cell; of a multi-class model each ends in its class, `_0`."""
        once = [name for key in self.keys for name in self.values.columns(key)]
        if self.values.classes is None:
            return once
        return ["{}_{}".format(name, number) for number in range(self.values.classes) for name in once]


def to_lines(text: str, addition: Addition) -> Write:
    """Each line of `text`, then `,base_value,phi_1,...,phi_F`; the last newline stays.

    Raises ValueError where lines and records do not pair.
    """
    ending = "\n" if text.endswith("\n") else ""
    lines = text[: len(text) - len(ending)].split("\n")
    _pair(lines, addition)
    names = line(list(addition.predicted or _predicted(lines[0])) + addition.names()) if addition.header else ""

    def write(count: int) -> bytes:
        explained = [line + "," + addition.cells(record) for record, line in enumerate(lines[:count])]
        return (names + "\n".join(explained) + ending).encode("utf-8")

    return write


def to_json(text: str, addition: Addition) -> Write:
    """`{"predictions": [...]}` with the keys in each record, everything else as it was; raises as `to_lines`."""
    document = json.loads(text)
    records = document["predictions"]
    _pair(records, addition)

    def write(count: int) -> bytes:
        return json.dumps(dict(document, predictions=_extended(records[:count], addition))).encode("utf-8")

    return write


def to_json_lines(text: str, addition: Addition) -> Write:
    """As `to_json`, for one JSON object a line."""
    records = [json.loads(line) for line in text.splitlines()]
    _pair(records, addition)

    def write(count: int) -> bytes:
        return "".join(json.dumps(record) + "\n" for record in _extended(records[:count], addition)).encode("utf-8")

    return write


def line(names: Sequence[str]) -> str:
    """A line of CSV, with quotes where a name needs them."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(names)
    return stream.getvalue()


def _extended(records: Sequence[Dict[str, Any]], addition: Addition) -> List[Dict[str, Any]]:
    return [dict(entry, **addition.fields(record)) for record, entry in enumerate(records)]


def _predicted(line: str) -> List[str]:
    count = len(next(csv.reader([line])))
    return ["prediction"] if count == 1 else ["prediction_{}".format(number) for number in range(count)]


def _flat(part: Any) -> Iterator[Any]:
    if not isinstance(part, (list, tuple)):
        yield part
        return
    for inner in part:
        for number in _flat(inner):
            yield number


def _pair(texts: Sequence[Any], addition: Addition) -> None:
    if len(texts) != len(addition.values):
        raise ValueError("{} predictions, {} records explained".format(len(texts), len(addition.values)))
