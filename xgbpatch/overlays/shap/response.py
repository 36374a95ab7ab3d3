"""Explanations in a response: by key, CSV, JSON, JSON Lines and recordio, within the size limit."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from sagemaker_xgboost_container.constants import xgb_constants

from .request import Explanation, ResponseOptions, ShapOptions
from .values import NotExplained

SAMPLE = 32  # records that are written first where there are many more
HOPELESS = 2  # times the limit: beyond it the sample alone refuses, and the response is never made


@dataclass(frozen=True)
class Body:
    """A response of `records` records; `write(count)` gives the bytes of the first `count` of them."""

    records: int
    write: Callable[[int], bytes]

    def within(self, limit: int) -> bytes:
        """The whole response; raises NotExplained (413) where it passes `limit` bytes."""
        if self.records > 4 * SAMPLE:
            self._refuse_hopeless(limit)
        whole = self.write(self.records)
        if len(whole) > limit:
            raise self._refusal(str(len(whole)), limit, self._fitting(self.records, len(whole), limit))
        return whole

    def _refuse_hopeless(self, limit: int) -> None:
        """From a sample. The base's recordio grows with the square of the records: two samples show it."""
        half, full = len(self.write(SAMPLE // 2)), len(self.write(SAMPLE))
        power = 2 if full > 3 * half else 1
        size = int(full * (self.records / SAMPLE) ** power)
        if size > HOPELESS * limit:
            guess = int(self.records * (limit / size) ** (1 / power))
            raise self._refusal("about {}".format(size), limit, self._fitting(guess, len(self.write(guess)), limit))

    def _fitting(self, count: int, size: int, limit: int) -> int:
        """A number of records that is known to fit, near to the largest; `size` is what `count` of them take."""
        while count and size > limit:
            count = min(count - 1, max(count // 2, count * limit // size))
            size = len(self.write(count))
        return count

    def _refusal(self, size: str, limit: int, fit: int) -> NotExplained:
        advice = "send at most {} records a request".format(fit) if fit else "not even one record fits"
        return NotExplained(
            413,
            "SHAP values of {} records make a response of {} bytes, the limit is {} bytes (XGBPATCH_SHAP_MEGABYTES): "
            "{}, or ask for fewer features (top_k)".format(self.records, size, limit, advice),
        )


# The keys of an explanation, and the value of each for one record, in the three forms that encoders take.
#
# Numbers are float32 widened, as the base writes its own. Of a multi-class model every value is a list, one entry a
# class.


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


class KeyValues(object):
    """The values of `explanation` by key and record; TOP_K is there where `top_k` says how many features it holds."""

    def __init__(self, explanation: Explanation, top_k: Optional[int]):
        self._names = explanation.names
        self._arrays = {BASE_VALUE: explanation.values[..., -1], VALUES: explanation.values[..., :-1]}
        if explanation.interactions is not None:
            self._arrays[INTERACTIONS] = explanation.interactions
        if top_k is not None:
            self._rank(top_k)

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

    def structured(self, key: str, record: int) -> Any:
        """For JSON: numbers, lists of them, and `{"feature": ..., "value": ...}` of TOP_K."""
        if key == TOP_K:
            return self._top(record, lambda name, value: {"feature": name, "value": value})
        return self._arrays[key][record].tolist()

    def lined(self, key: str, record: int) -> Any:
        """For a cell of CSV: as `structured`, and TOP_K a list of `name=value`."""
        return self._top(record, pair) if key == TOP_K else self.structured(key, record)

    def flat(self, key: str, record: int) -> Dict[str, List[float]]:
        """For recordio-protobuf: one list in C order (class, then row, then column); TOP_K comes with TOP_K_INDEX."""
        found = {key: self._arrays[key][record].ravel().tolist()}
        if key == TOP_K:
            found[TOP_K_INDEX] = [float(index) for index in self._order[record].ravel()]
        return found

    def _rank(self, top_k: int) -> None:
        """Ties keep the order of the features."""
        values = self._arrays[VALUES]
        self._order = np.argsort(-np.abs(values), axis=-1, kind="stable")[..., :top_k]
        self._arrays[TOP_K] = np.take_along_axis(values, self._order, axis=-1)

    def _top(self, record: int, write: Any) -> Pairs:
        indexes, values = self._order[record], self._arrays[TOP_K][record]
        if self.classes is None:
            return self._written(indexes, values, write)
        return Pairs(self._written(*vectors, write=write) for vectors in zip(indexes, values))

    def _written(self, indexes: np.ndarray, values: np.ndarray, write: Any) -> Pairs:
        return Pairs(write(self._names[index], value) for index, value in zip(indexes, values.tolist()))


def pair(name: str, value: float) -> str:
    """`name=value`; of the name, RESERVED characters are percent-encoded, so that no CSV needs quotes for it."""
    for character in RESERVED:
        name = name.replace(character, "%{:02X}".format(ord(character)))
    return "{}={}".format(name, value)


# The layout append: an explanation behind the base's own text of each record.
#
# Each writer takes the base's text of n records and their AppendedKeys, and returns a function that gives the bytes
# of the first `count` of them.


Write = Callable[[int], bytes]


@dataclass(frozen=True)
class AppendedKeys:
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


def to_lines(text: str, addition: AppendedKeys) -> Write:
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


def to_json(text: str, addition: AppendedKeys) -> Write:
    """`{"predictions": [...]}` with the keys in each record, everything else as it was; raises as `to_lines`."""
    document = json.loads(text)
    records = document["predictions"]
    _pair(records, addition)

    def write(count: int) -> bytes:
        return json.dumps(dict(document, predictions=_extended(records[:count], addition))).encode("utf-8")

    return write


def to_json_lines(text: str, addition: AppendedKeys) -> Write:
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


def _extended(records: Sequence[Dict[str, Any]], addition: AppendedKeys) -> List[Dict[str, Any]]:
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


def _pair(texts: Sequence[Any], addition: AppendedKeys) -> None:
    if len(texts) != len(addition.values):
        raise ValueError("{} predictions, {} records explained".format(len(texts), len(addition.values)))


# Our keys in the base's selectable inference: its keys are computed, and all are encoded, by its own functions.


CSV = "text/csv"
RECORDIO = "application/x-recordio-protobuf"
ENCODINGS = (CSV, "application/json", "application/jsonlines", RECORDIO)


class Plain(object):
    """A raw prediction of an objective that the base has no keys for: its item is the prediction, one or many."""

    def __init__(self, raw: Any):
        self.item = np.asarray(raw).tolist


@dataclass(frozen=True)
class SelectedKeys:
    """The keys of a response, in order, and its type, one of ENCODINGS."""

    keys: Sequence[str]
    accept: str

    @property
    def ours(self) -> List[str]:
        return [key for key in self.keys if key in KEYS]


def known_keys() -> Tuple[str, ...]:
    """The selected keys, where one of ours is among them, else nothing; never raises."""
    try:
        selected = serve_utils.get_selected_output_keys() if serve_utils.is_selectable_inference_output() else ()
    except Exception:  # the base says what is wrong, at the moment it always did
        return ()
    return tuple(selected) if set(selected) & set(KEYS) else ()


def asked_keys(selected: Sequence[str], asked: ResponseOptions) -> Tuple[str, ...]:
    """`selected`, and what a request adds to them (top_k, interactions=on) or leaves out (interactions=off)."""
    wanted = [key for key in selected if key != INTERACTIONS or asked.interactions is not False]
    if asked.interactions and INTERACTIONS not in wanted:
        wanted.append(INTERACTIONS)
    return tuple(wanted)


def predictions(raw: np.ndarray, selected: Sequence[str], learner: Mapping[str, Any]) -> List[Any]:
    """What the base selects for its own keys among `selected`, one dict a record.

    An objective that it refuses gets `predicted_score`, the plain prediction, and NaN for every other key.
    """
    theirs = [key for key in selected if key not in KEYS]
    objective = learner["objective"]["name"]
    classes = learner["learner_model_param"].get("num_class", "")
    if objective in serve_utils.VALID_OBJECTIVES and (raw.ndim == 1 or objective.startswith("multi:")):
        found: List[Any] = serve_utils.get_selected_predictions(raw, theirs, objective, num_class=classes)
        return found
    plain = [Plain(record) for record in raw]
    found = serve_utils.get_selected_predictions(plain, theirs, xgb_constants.REG_SQUAREDERR)
    return found


def encode_selected(records: Sequence[Mapping[str, Any]], values: KeyValues, form: SelectedKeys) -> bytes:
    """The first records, explained, as the base encodes them."""
    explained = [_explained(record, values, number, form) for number, record in enumerate(records)]
    body = serve_utils.encode_selected_predictions(explained, list(form.keys), form.accept)
    return body if isinstance(body, bytes) else body.encode("utf-8")


def _explained(record: Mapping[str, Any], values: KeyValues, number: int, form: SelectedKeys) -> Dict[str, Any]:
    explained = dict(record)
    for key in form.ours:
        if form.accept == RECORDIO:
            explained.update(values.flat(key, number))
        elif form.accept == CSV:
            explained[key] = values.lined(key, number)
        else:
            explained[key] = values.structured(key, number)
    return explained


# One request that is explained, between its prediction and the bytes of its answer.


@dataclass(frozen=True)
class ExplainedResponse:
    """`explain` computes for this request, `manner` says how it is answered, in at most `limit` bytes."""

    explain: Callable[[ShapOptions], Explanation]
    manner: ResponseOptions
    limit: int

    def appended(self, text: str, writer: Callable[..., Any], predicted: Sequence[str] = ()) -> bytes:
        """`text` of the base with an explanation behind each record, by a writer of shap_output; raises NotExplained.

        `predicted` are the keys of the text, where the base selected some.
        """
        strongest = TOP_K if self.manner.top_k else VALUES
        keys = (BASE_VALUE, strongest) + ((INTERACTIONS,) if self.manner.interactions else ())
        values = self._values(keys)
        write = writer(text, AppendedKeys(values, keys, self.manner.header, tuple(predicted)))
        return Body(len(values), write).within(self.limit)

    def selected(self, raw: np.ndarray, learner: Mapping[str, Any], accept: str) -> bytes:
        """The selected keys of each record, ours among them; `learner` is of the model's configuration.

        Raises NotExplained, and what the base raises for its own keys.
        """
        form = SelectedKeys(asked_keys(known_keys(), self.manner), accept)
        values = self._values(form.ours)  # first: of a vote, newer bases have no predictions either
        records = predictions(raw, form.keys, learner)
        names = line(form.keys) if self.manner.header and accept == CSV else ""
        return Body(
            len(values), lambda count: names.encode("utf-8") + encode_selected(records[:count], values, form)
        ).within(self.limit)

    def _values(self, keys: Sequence[str]) -> KeyValues:
        wish = self.manner.wish(INTERACTIONS in keys)
        top_k = (self.manner.top_k or DEFAULT_K) if TOP_K in keys else None
        return KeyValues(self.explain(wish), top_k)
