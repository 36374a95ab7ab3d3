"""What the contributions of a request will cost, from a timed run of the model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from . import request_data

ROWS = 8
DEAR = 0.5  # seconds for one row above which a second timed run would delay the start


@dataclass(frozen=True)
class Cost:
    """Seconds that a call takes before its first row, and for each row."""

    call: float
    row: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.call + other.call, self.row + other.row)

    def times(self, factor: float) -> "Cost":
        return Cost(self.call * factor, self.row * factor)

    def seconds(self, rows: int) -> float:
        return self.call + rows * self.row

    def rows_within(self, seconds: float) -> int:
        """The largest number of rows that `seconds` allow."""
        return max(0, int((seconds - self.call) / self.row))


NOTHING = Cost(0.0, 0.0)


def zeros(width: int) -> np.ndarray:
    """A sample for exact tree SHAP, which visits every leaf for every row, whatever its values.

    O(trees x leaves x depth^2) a row (Lundberg et al. 2020).
    """
    return np.zeros((ROWS, width), dtype=np.float32)


def measure(explain: Callable[[Any], Any], sample: np.ndarray) -> Cost:
    """The Cost of `explain(dmatrix)` for records like those of `sample`, float32 (n, features), n at least 2."""
    one = _quickest(explain, sample[:1])
    if one > DEAR:
        return Cost(0.0, one)
    row = max((_quickest(explain, sample) - one) / (len(sample) - 1), one / len(sample))
    return Cost(max(one - row, 0.0), row)


def _quickest(explain: Callable[[Any], Any], rows: np.ndarray) -> float:
    first = _timed(explain, rows)
    return first if first > DEAR else min(first, _timed(explain, rows))


def _timed(explain: Callable[[Any], Any], rows: np.ndarray) -> float:
    matrix = request_data.RecordedDMatrix(rows)
    start = time.perf_counter()
    explain(matrix)
    return time.perf_counter() - start
