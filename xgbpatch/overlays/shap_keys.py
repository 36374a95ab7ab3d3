"""The keys of an explanation, and the value of each for one record, in the three forms that encoders take.

Numbers are float32 widened, as the base writes its own. Of a multi-class model every value is a list, one entry a
class.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from .explanation import Explanation

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
