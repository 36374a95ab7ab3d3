"""Explanations in a response: by key, CSV, JSON, JSON Lines and recordio, within the size limit."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
import secrets
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from sagemaker_xgboost_container.constants import xgb_constants

from .. import native
from ..settings import Explanation, ResponseOptions, ShapOptions
from .values import NotExplained, advice

SAMPLE = 32  # records that are written first where there are many more
HOPELESS = 2  # times the limit: beyond it the sample alone refuses, and the response is never made
Write = Callable[[int], bytes]  # gives the bytes of the first `count` records of a response


def write_within(limit: int, records: int, write: Write, limited_by: str = "XGBPATCH_SHAP_MEGABYTES") -> bytes:
    """The whole response of so many records; raises NotExplained (413) where it passes `limit` bytes.

    `limited_by` is what sets the limit.
    """

    def refusal(size: str, count: int, length: int) -> NotExplained:
        """It names a number of records that is known to fit, near to the largest; `count` of them take `length`."""
        while count and length > limit:
            count = min(count - 1, max(count // 2, count * limit // length))
            length = len(write(count))
        return NotExplained(
            413,
            "SHAP values of {} records make a response of {} bytes, the limit is {} bytes ({}): "
            "{}, or ask for fewer features (top_k)".format(records, size, limit, limited_by, advice(count)),
        )

    if records > 4 * SAMPLE:  # the base's recordio grows with the square of the records: two samples show it
        half, full = len(write(SAMPLE // 2)), len(write(SAMPLE))
        power = 2 if full > 3 * half else 1
        estimate = int(full * (records / SAMPLE) ** power)
        if estimate > HOPELESS * limit:
            guess = int(records * (limit / estimate) ** (1 / power))
            raise refusal("about {}".format(estimate), guess, len(write(guess)))
    whole = write(records)
    if len(whole) > limit:
        raise refusal(str(len(whole)), records, len(whole))
    return whole


# The keys of an explanation, and the value of each for one record, in the three forms that encoders take.
#
# In text, a number is the shortest that gives its float32 back. Of a multi-class model every value is a list, one entry
# a class.


BASE_VALUE = "base_value"
VALUES = "shap_values"
INTERACTIONS = "shap_interactions"
TOP_K = "shap_top_k"
TOP_K_INDEX = "shap_top_k_index"
KEYS = (BASE_VALUE, VALUES, INTERACTIONS, TOP_K)
DEFAULT_K = 5
RESERVED = '%"=,;[]\r\n'  # what a name of a pair is written without


class Pairs(list):  # type: ignore[type-arg]  # Python 3.7 has no list[...] to derive from
    """A list that CSV encoders write as `[name=value, name=value]`, without any quote of its own."""

    def __str__(self) -> str:
        return "[{}]".format(", ".join(str(entry) for entry in self))


class Mark(list):  # type: ignore[type-arg]
    """A mark of Texts that CSV encoders put into quotes, as any list of numbers: it has a comma."""

    def __str__(self) -> str:
        return ",".join(self)


class KeyValues(object):
    """The values of `explanation` by key and record; TOP_K is there where `top_k` says how many features it holds."""

    def __init__(self, explanation: Explanation, top_k: Optional[int]):
        values = explanation.values[..., :-1]
        self._names = explanation.names
        self._arrays = {BASE_VALUE: explanation.values[..., -1], VALUES: values}
        if explanation.interactions is not None:
            self._arrays[INTERACTIONS] = explanation.interactions
        if top_k is not None:  # ties keep the order of the features
            self._order = np.argsort(-np.abs(values), axis=-1, kind="stable")[..., :top_k]
            self._arrays[TOP_K] = np.take_along_axis(values, self._order, axis=-1)

    def __len__(self) -> int:
        return len(self._arrays[VALUES])

    def columns(self, key: str) -> Sequence[str]:
        """What the numbers of `key` are called, in the order of `flat`, of one class."""
        if key == VALUES:
            return self._names
        if key == TOP_K:
            return ["top_{}".format(place + 1) for place in range(self._order.shape[-1])]
        if key == INTERACTIONS:
            sides = tuple(self._names) + (BASE_VALUE,)
            return ["{}*{}".format(row, column) for row in sides for column in sides]
        return [key]

    @property
    def classes(self) -> Optional[int]:
        """How many vectors a record has; None of a model with one output."""
        values = self._arrays[VALUES]
        return values.shape[1] if values.ndim == 3 else None

    def is_number(self, key: str) -> bool:
        """Whether the value of a record is no list."""
        dimensions: int = self._arrays[key].ndim
        return dimensions == 1

    def cells(self, keys: Sequence[str], count: int) -> Iterator[str]:
        """The numbers of `keys` of the first records, one text a record and class; TOP_K as `name=value`."""
        if TOP_K not in keys:
            return self._lines(keys, count)
        parts = [self._pairs(count) if key == TOP_K else self._lines([key], count) for key in keys if self.columns(key)]
        return map(",".join, zip(*parts))

    def _lines(self, keys: Sequence[str], count: int) -> Iterator[str]:
        for array in self.rows(keys, count):
            for text in native.shortest(array, ","):
                yield text

    def rows(self, keys: Sequence[str], count: int) -> Iterator[np.ndarray]:
        """The numbers of `keys`, without TOP_K, of the first records in parts: a row a record and class."""
        vectors = self.classes or 1
        numbers = sum(self._arrays[key][:1].size for key in keys)
        together = max(1, native.AT_ONCE // max(1, numbers))
        for start in range(0, count, together):  # interactions are large: they are not copied whole
            stop = min(count, start + together)
            arrays = [self._arrays[key][start:stop].reshape((stop - start) * vectors, -1) for key in keys]
            yield np.concatenate(arrays, axis=1)

    def _pairs(self, count: int) -> Iterator[str]:
        for record in self._top(count, pair):
            for vector in [record] if self.classes is None else record:
                yield ",".join(vector)

    def json(self, key: str, count: int) -> Iterator[str]:
        """JSON of the first records: numbers, lists of them, and `{"feature": ..., "value": ...}` of TOP_K."""
        if key == TOP_K:
            return map(json.dumps, self._top(count, lambda name, value: {"feature": name, "value": value}))
        return _nested(self._arrays[key][:count], native.JSON)

    def lists(self, key: str, count: int) -> Iterator[str]:
        """What the base writes of a list in CSV, or of a number; TOP_K is a list of `name=value`."""
        if key == TOP_K:
            return map(str, self._top(count, pair))
        return _nested(self._arrays[key][:count], native.PYTHON)

    def flat(self, key: str, record: int) -> Dict[str, List[float]]:
        """For recordio-protobuf: one list in C order (class, then row, then column); TOP_K comes with TOP_K_INDEX."""
        lists = {key: self._arrays[key][record].ravel().tolist()}
        if key == TOP_K:
            lists[TOP_K_INDEX] = [float(index) for index in self._order[record].ravel()]
        return lists

    def _top(self, count: int, write: Callable[[str, float], Any]) -> Iterator[Pairs]:
        """`write` of each strongest feature of the first records, in a list, or in one a class."""

        def vector(indexes: np.ndarray, values: np.ndarray) -> Pairs:
            return Pairs(write(self._names[index], value) for index, value in zip(indexes, values.tolist()))

        numbers = native.doubles(self._arrays[TOP_K][:count])
        for indexes, values in zip(self._order, numbers):
            yield vector(indexes, values) if self.classes is None else Pairs(map(vector, indexes, values))


def _nested(array: np.ndarray, special: Tuple[str, str]) -> Iterator[str]:
    """Each record of `array` as a number, or a list of numbers, or of lists."""
    if array.ndim == 1:
        return native.shortest(array.reshape(-1, 1), special=special)
    vectors = array if array.ndim == 2 else array.reshape(int(np.prod(array.shape[:-1])), array.shape[-1])
    texts = map("[{}]".format, native.shortest(vectors, special=special))
    for size in reversed(array.shape[1:-1]):
        texts = map("[{}]".format, _joined(texts, size))
    return texts


def _joined(texts: Iterator[str], size: int, between: str = ", ") -> Iterator[str]:
    """Each `size` texts as one."""
    for first in texts:
        yield between.join(itertools.chain([first], itertools.islice(texts, size - 1)))


def pair(name: str, value: float) -> str:
    """`name=value`; of the name, RESERVED characters are percent-encoded, so that no CSV needs quotes for it."""
    for character in RESERVED:
        name = name.replace(character, "%{:02X}".format(ord(character)))
    return "{}={}".format(name, value)


# The layout append: an explanation behind the base's own text of each record.
#
# Each writer takes the base's text of n records and their AppendedKeys, and raises ValueError where they do not pair.


@dataclass(frozen=True)
class AppendedKeys:
    """What is added to each record: `keys` of `values`.

    `header` asks for a first line of names, in CSV; `predicted` names the base's columns, where it selected some.
    """

    values: KeyValues
    keys: Tuple[str, ...]
    header: bool = False
    predicted: Tuple[str, ...] = ()

    def cells(self, count: int) -> Iterator[str]:
        """Of the first records: base value, values and interactions (row by row) of one class after the other."""
        vectors = self.values.cells(self.keys, count)
        if self.values.classes in (None, 1):
            return vectors
        return _joined(vectors, self.values.classes, ",")

    def behind(self, lines: str, count: int) -> bytes:
        """`lines` of the first records, `cells` behind each."""
        if TOP_K in self.keys:
            ending = "\n" if lines.endswith("\n") else ""
            return ("\n".join(map(",".join, zip(lines.split("\n"), self.cells(count)))) + ending).encode("utf-8")
        vectors = self.values.classes or 1
        parts = (part.reshape(len(part) // vectors, -1) for part in self.values.rows(self.keys, count))
        return native.behind(lines.encode("utf-8"), parts)

    def names(self) -> List[str]:
        """One a cell; of a multi-class model each ends in its class, `_0`."""
        once = [name for key in self.keys for name in self.values.columns(key)]
        if self.values.classes is None:
            return once
        return ["{}_{}".format(name, number) for number in range(self.values.classes) for name in once]

    def check_pairs(self, texts: Sequence[Any]) -> None:
        """Raise ValueError where there is not one of `texts` for each record."""
        if len(texts) != len(self.values):
            raise ValueError("{} predictions, {} records explained".format(len(texts), len(self.values)))


def to_lines(text: str, appended: AppendedKeys) -> Write:
    """Each line of `text`, then `,base_value,phi_1,...,phi_F`; the last newline stays."""
    ending = "\n" if text.endswith("\n") else ""
    lines = text[: len(text) - len(ending)].split("\n")
    appended.check_pairs(lines)
    names = ""
    if appended.header:
        count = len(next(csv.reader([lines[0]])))
        numbered = ["prediction"] if count == 1 else ["prediction_{}".format(number) for number in range(count)]
        names = line(list(appended.predicted or numbered) + appended.names())

    def write(count: int) -> bytes:
        shown = text if count == len(lines) else "\n".join(lines[:count]) + ending
        return names.encode("utf-8") + appended.behind(shown, count)

    return write


def to_json(text: str, appended: AppendedKeys) -> Write:
    """`{"predictions": [...]}` with the keys in each record, everything else as it was."""
    document = json.loads(text)
    records = document["predictions"]
    appended.check_pairs(records)

    def write(count: int) -> bytes:
        texts = Texts({key: appended.values.json(key, count) for key in appended.keys})
        extended = [dict(entry, **texts.marks) for entry in records[:count]]
        return texts.put_into(json.dumps(dict(document, predictions=extended)), quoted=True).encode("utf-8")

    return write


def to_json_lines(text: str, appended: AppendedKeys) -> Write:
    """As `to_json`, for one JSON object a line."""
    records = [json.loads(line) for line in text.splitlines()]
    appended.check_pairs(records)

    def write(count: int) -> bytes:
        texts = Texts({key: appended.values.json(key, count) for key in appended.keys})
        body = "".join(json.dumps(dict(entry, **texts.marks)) + "\n" for entry in records[:count])
        return texts.put_into(body, quoted=True).encode("utf-8")

    return write


_MARK = "xgbpatch[:,]([0-9a-f]{32}):([a-z_]+):"
_MARKS, _QUOTED_MARKS = re.compile(_MARK), re.compile('"{}"'.format(_MARK))


class Texts(object):
    """What stands for values until an encoder has written the rest: `marks` by key, and their `texts` in order."""

    def __init__(self, texts: Mapping[str, Iterator[str]]):
        self._texts = texts
        self._number = secrets.token_hex(16)  # a mark is a text that is nowhere else, whatever features are called
        self.marks = {key: "xgbpatch:{}:{}:".format(self._number, key) for key in texts}

    def put_into(self, body: str, quoted: bool) -> str:
        """`body` with the next text of its key in the place of each mark; `quoted`: and of the quotes around it."""

        def text(mark: Any) -> str:
            number, key = mark.groups()
            return next(self._texts[key]) if number == self._number else str(mark.group())

        return (_QUOTED_MARKS if quoted else _MARKS).sub(text, body)


def line(names: Sequence[str]) -> str:
    """A line of CSV, with quotes where a name needs them."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(names)
    return stream.getvalue()


# Our keys in the base's selectable inference: its keys are computed, and all are encoded, by its own functions.


CSV = "text/csv"
RECORDIO = "application/x-recordio-protobuf"
ENCODINGS = (CSV, "application/json", "application/jsonlines", RECORDIO)


class RawPrediction(object):
    """A raw prediction of an objective that the base has no keys for: its item is the prediction, one or many."""

    def __init__(self, raw: Any):
        self.item = np.asarray(raw).tolist


def known_keys() -> Tuple[str, ...]:
    """The selected keys, where one of ours is among them, else nothing; never raises."""
    try:
        selected = serve_utils.get_selected_output_keys() if serve_utils.is_selectable_inference_output() else ()
    except Exception:  # the base says what is wrong, at the moment it always did
        return ()
    return tuple(selected) if set(selected) & set(KEYS) else ()


def predictions(raw: np.ndarray, selected: Sequence[str], learner: Mapping[str, Any]) -> List[Any]:
    """What the base selects for its own keys among `selected`, one dict a record.

    An objective that it refuses gets `predicted_score`, the plain prediction, and NaN for every other key.
    """
    theirs = [key for key in selected if key not in KEYS]
    objective = learner["objective"]["name"]
    classes = learner["learner_model_param"].get("num_class", "")
    records: List[Any]
    if objective in serve_utils.VALID_OBJECTIVES and (raw.ndim == 1 or objective.startswith("multi:")):
        records = serve_utils.get_selected_predictions(raw, theirs, objective, num_class=classes)
    else:
        plain = [RawPrediction(record) for record in raw]
        records = serve_utils.get_selected_predictions(plain, theirs, xgb_constants.REG_SQUAREDERR)
    return records


def encode_selected(records: Sequence[Mapping[str, Any]], values: KeyValues, keys: List[str], accept: str) -> bytes:
    """The first records with `keys` in their order, as the base encodes them for `accept`, one of ENCODINGS."""
    own = [key for key in keys if key in KEYS]
    if accept == RECORDIO:
        explained = [dict(record) for record in records]
        for number, record in enumerate(explained):
            for key in own:
                record.update(values.flat(key, number))
        return _encoded(explained, keys, accept)
    is_csv = accept == CSV
    texts = Texts({key: (values.lists if is_csv else values.json)(key, len(records)) for key in own})
    marks: Dict[str, Any] = dict(texts.marks)
    if is_csv:
        marks = {key: mark if values.is_number(key) else Mark(mark.split(":", 1)) for key, mark in marks.items()}
    body = _encoded([dict(record, **marks) for record in records], keys, accept)
    return texts.put_into(body.decode("utf-8"), quoted=not is_csv).encode("utf-8")


def _encoded(records: List[Dict[str, Any]], keys: List[str], accept: str) -> bytes:
    body = serve_utils.encode_selected_predictions(records, keys, accept)
    return body if isinstance(body, bytes) else body.encode("utf-8")


@dataclass(frozen=True)
class ExplainedResponse:
    """One request, between its prediction and the bytes of its answer, at most `limit`, which `limited_by` sets."""

    explain: Callable[[ShapOptions], Explanation]
    options: ResponseOptions
    limit: int
    limited_by: str = "XGBPATCH_SHAP_MEGABYTES"

    def appended(self, text: str, writer: Callable[..., Write], predicted: Sequence[str] = ()) -> bytes:
        """`text` of the base with an explanation behind each record, by a `writer` above; raises NotExplained.

        `predicted` are the keys of the text, where the base selected some.
        """
        strongest = TOP_K if self.options.top_k else VALUES
        keys = (BASE_VALUE, strongest) + ((INTERACTIONS,) if self.options.interactions else ())
        values = self._values(keys)
        write = writer(text, AppendedKeys(values, keys, self.options.header, tuple(predicted)))
        return write_within(self.limit, len(values), write, self.limited_by)

    def selected(self, raw: np.ndarray, learner: Mapping[str, Any], accept: str) -> bytes:
        """The selected keys of each record, and what the request adds to them or leaves out (interactions=off).

        `learner` is of the model's configuration. Raises NotExplained, and what the base raises for its own keys.
        """
        keys = [key for key in known_keys() if key != INTERACTIONS or self.options.interactions is not False]
        if self.options.interactions and INTERACTIONS not in keys:
            keys.append(INTERACTIONS)
        values = self._values(keys)  # first: of a vote, newer bases have no predictions either
        records = predictions(raw, keys, learner)
        names = line(keys).encode("utf-8") if self.options.header and accept == CSV else b""
        return write_within(
            self.limit,
            len(values),
            lambda count: names + encode_selected(records[:count], values, keys, accept),
            self.limited_by,
        )

    def _values(self, keys: Sequence[str]) -> KeyValues:
        explanation = self.explain(self.options.shap_options(INTERACTIONS in keys))
        return KeyValues(explanation, (self.options.top_k or DEFAULT_K) if TOP_K in keys else None)
