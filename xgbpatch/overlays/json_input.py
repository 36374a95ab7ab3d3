"""JSON requests: a body as SageMaker's serializers write it becomes CSV, which the base reads as any other.

A body of `application/json` is a list of records, `{"instances": [records]}`, or one record. A record is a list of
numbers, `{"features": [...]}`, `{"data": {"features": {"values": [...]}}}`, or an object by feature name. One of
`application/jsonlines` has such a document in each line. A cell is a number, or null or NaN where it is missing.

Forms: https://docs.aws.amazon.com/sagemaker/latest/dg/cdf-inference.html. JSON: RFC 8259.
"""

from __future__ import annotations

import collections
import io
import json
import re
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from . import request_data
from .model import folder as model_folder
from .settings import did_you_mean, quoted, without_folders

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
MOST_CELLS = 6 * 2**20  # of a small body: as many as CSV within SageMaker's limit can hold
_LARGEST = 3.4028234663852886e38  # of float32
_CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")
_WHITE = " \t\n\r"
_SPACE = re.compile(r"[ \t\n\r]*")
_INSTANCES = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"instances"[ \t\n\r]*:[ \t\n\r]*\[')
_RECORDS = re.compile(r"[ \t\n\r]*\[(?=[ \t\n\r]*[\[{])")
_END, _END_OF_INSTANCES = re.compile(r"[ \t\n\r]*\Z"), re.compile(r"[ \t\n\r]*\}[ \t\n\r]*\Z")
_STRING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_KINDS = {bool: "a boolean (send 1 or 0)", str: "a text", list: "a list", dict: "an object", type(None): "null"}


class Refused(Exception):
    """Why a body is not read, and the HTTP status that says so."""

    def __init__(self, status: int, reason: str):
        super(Refused, self).__init__(reason)
        self.status = status
        self.reason = without_folders(reason)


class JsonColumns(object):
    """What the records of a model, or of an ensemble, have to be: so many values, or of such names."""

    def __init__(self, model: Any, folder: Optional[str]):
        self._boosters = model if isinstance(model, list) else [model]
        self._folder = folder
        self._names: Optional[Tuple[str, ...]] = None
        self.widths = request_data.widths_of(model)

    def names(self) -> Tuple[str, ...]:
        """The model's own or those beside it, in order; none where it has none, or one twice, or the members differ.

        Raises Refused (500) where the file beside the model cannot be used.
        """
        if self._names is None:
            try:
                of_members = {model_folder.feature_names_of(booster, self._folder) for booster in self._boosters}
            except model_folder.ModelFolderError as error:
                raise Refused(500, "Unable to name the features of this model: {}".format(error)) from error
            names = of_members.pop()
            numbered = tuple("f{}".format(number) for number in range(len(names)))
            usable = not of_members and names != numbered and len(set(names)) == len(names)
            self._names = names if usable else ()
        return self._names


def is_json(content_type: Optional[str]) -> bool:
    """Whether a body of that type is for `to_csv`."""
    return (content_type or "").partition(";")[0].strip().lower() in (JSON, LINES)


def to_csv(body: bytes, content_type: str, columns: JsonColumns) -> bytes:
    """A line a record, numbers written so that they parse to the same double; nothing where there is no record.

    Raises Refused; records and fields count from 1.
    """
    kind, _, parameters = content_type.partition(";")
    for name, _, value in (text.partition("=") for text in parameters.split(";")):
        charset = value.strip().strip("\"'").lower()
        if name.strip().lower() == "charset" and charset not in _CHARSETS:
            raise Refused(415, "The charset {} is not supported: JSON is UTF-8".format(quoted(charset)))
    try:
        text = bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(400, "The body is not UTF-8: byte {}".format(error.start + 1)) from error
    csv, most = bytearray(), max(len(body), MOST_CELLS)
    records = _of_lines(text) if kind.strip().lower() == LINES else _of_document(text, 1)
    for number, record in enumerate(records, 1):
        line = _line(record, number, columns)
        if number * columns.widths[0] > most:  # objects that leave out most names: a short body, and a large table
            raise Refused(
                413,
                "The records have more than {} cells: send at most {} records a request".format(
                    most, most // columns.widths[0]
                ),
            )
        csv += line.encode("ascii")
        csv += b"\n"
    return bytes(csv)


def _refused(number: int, what: str) -> Refused:
    return Refused(400, "Record {}{}".format(number, what))


# From text to records. Each is read, checked and written before the next, so that an error names it, and a large body
# takes little more memory than its CSV.


class _Repeated(Exception):
    """A name that stands twice in an object."""


def _object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = collections.Counter(name for name, _ in pairs)
        raise _Repeated(counts.most_common(1)[0][0])
    return values


# Every number is a float, as the base reads them too: Python's integers take minutes for a million digits. NaN is what
# Python and numpy write for a missing cell; an infinity is refused with the cells.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=float,
    parse_constant=lambda name: None if name == "NaN" else float("inf"),
)


def _of_lines(text: str) -> Iterator[Any]:
    """The records of each line."""
    number = 1
    for line in io.StringIO(text.strip(_WHITE)):
        before = number
        for record in _of_document(line, number) if line.strip(_WHITE) else ():
            yield record
            number += 1
        if number == before:
            raise _refused(number, ": its line has no values")


def _of_document(text: str, number: int) -> Iterator[Any]:
    """The records of a document, the first of which is the record `number`."""
    several = _INSTANCES.match(text) or _RECORDS.match(text)
    if several is None:
        record, place = _decoded(text, _after_space(text, 0), number)
        _require_end(text, place, _END, number)
        if record != []:
            yield record
        return
    place = _after_space(text, several.end())
    ending = text[place : place + 1]
    place += ending == "]"
    while ending != "]":
        record, place = _decoded(text, _after_space(text, place), number)
        yield record
        place = _after_space(text, place)
        ending = text[place : place + 1]
        if ending not in ("]", ","):
            raise _refused(number, ": no comma and no end of the list after it" + _near(text, place))
        place, number = place + 1, number + 1
    _require_end(text, place, _END if several.re is _RECORDS else _END_OF_INSTANCES, number - 1)


def _decoded(text: str, place: int, number: int) -> Tuple[Any, int]:
    """The value at `place`, and where it ends."""
    try:
        return _DECODER.raw_decode(text, place)
    except json.JSONDecodeError as error:
        field = _STRING.sub("", text[place : error.pos]).count(",") + 1
        what = ", field {} is not JSON: {}{}".format(field, error.msg, _near(text, error.pos))
        raise _refused(number, what) from error
    except RecursionError as error:
        raise _refused(number, " is nested too deeply") from error
    except _Repeated as error:
        raise _refused(number, ", field {} stands twice".format(quoted(str(error)))) from error


def _require_end(text: str, place: int, ending: Any, number: int) -> None:
    if not ending.match(text, place):
        raise _refused(number, " is the last, and the body does not end as it should" + _near(text, place))


def _after_space(text: str, place: int) -> int:
    match: Any = _SPACE.match(text, place)
    end: int = match.end()
    return end


def _near(text: str, place: int) -> str:
    return " (character {}: {})".format(place + 1, quoted(text[place : place + 20]) if text[place:] else "the end")


# From a record to a line of CSV.


def _line(record: Any, number: int, columns: JsonColumns) -> str:
    """The cells of a record, missing ones as `nan`."""
    cells, names = _cells(record, number, columns)
    for width in columns.widths:
        if len(cells) != width:
            who = "Record {} has".format(number)
            raise Refused(400, request_data.compared(who, len(cells), width, "send one value a column, or null"))
    texts = []
    for place, cell in enumerate(cells):
        if type(cell) is float and -_LARGEST <= cell <= _LARGEST:
            text = repr(cell)
            texts.append(text[:-2] if text.endswith(".0") else text)  # numpy gives every cell the room of the longest
        elif cell is None:
            texts.append("nan")
        else:
            field = quoted(names[place]) if names else place + 1
            what = "{}, not a number or null".format(_KINDS.get(type(cell), "infinite or too large for a float32"))
            raise _refused(number, ", field {} is {}".format(field, what))
    # Without a comma the base takes the most frequent character of the first line for the delimiter, the minus of
    # -1e-05 for one: zeros outnumber it.
    if len(cells) == 1 and texts[0].count("-") > 1:
        texts[0] = "{:.17e}".format(cells[0])
    return ",".join(texts)


def _cells(record: Any, number: int, columns: JsonColumns) -> Tuple[Sequence[Any], Sequence[str]]:
    """The values in the model's order, and where the record is an object by name, the names."""
    if isinstance(record, list):
        return record, ()
    if not isinstance(record, dict):
        what = _KINDS.get(type(record), "a number")
        raise _refused(number, " is {}, not a list of numbers or an object".format(what))
    values = _wrapped(record)
    if values is not None:
        return values, ()
    names = columns.names()
    if not names:
        what = (
            " is an object by feature name, and the model does not name each of its features: send lists of {} numbers"
        )
        raise _refused(number, what.format(columns.widths[0]))
    if not record.keys() <= set(names):
        unknown = next(name for name in record if name not in names)
        known = did_you_mean(unknown[:60], names)
        raise _refused(number, ", field {} is no feature of the model{}".format(quoted(unknown), known))
    return [record.get(name) for name in names], names


def _wrapped(record: Dict[str, Any]) -> Optional[List[Any]]:
    """The list of `{"features": [...]}` and of `{"data": {"features": {"values": [...]}}}`; None of other objects."""
    for path in (("features",), ("data", "features", "values")):
        value: Any = record
        for name in path:
            value = value[name] if isinstance(value, dict) and list(value) == [name] else None
        if isinstance(value, list):
            return value
    return None
