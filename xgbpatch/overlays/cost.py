"""What the contributions of a request will cost, from a timed run when the model is loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np
import xgboost

from . import booster_json

ROWS = 8
DEAR = 0.5  # seconds for one row above which a second timed run would delay the start


@dataclass(frozen=True)
class Cost:
    """Seconds that a call takes before its first row, and for each row."""

    call: float
    row: float

    def seconds(self, rows: int) -> float:
        return self.call + rows * self.row

    def rows_within(self, seconds: float) -> int:
        """The largest number of rows that `seconds` allow."""
        return max(0, int((seconds - self.call) / self.row))


def measure(booster: xgboost.Booster, options: Mapping[str, Any]) -> Cost:
    """The Cost of `booster`'s contributions; exact tree SHAP visits every leaf for every row, whatever its values.

    Lundberg et al. 2020: O(trees x leaves x depth^2) a row.
    """
    one = _quickest(booster, options, 1)
    if one > DEAR:
        return Cost(0.0, one)
    row = max((_quickest(booster, options, ROWS) - one) / (ROWS - 1), one / ROWS)
    return Cost(max(one - row, 0.0), row)


def _quickest(booster: xgboost.Booster, options: Mapping[str, Any], rows: int):
    return min(_timed(booster, options, rows) for _ in range(2))


def _timed(booster: xgboost.Booster, options: Mapping[str, Any], rows: int):
    matrix = xgboost.DMatrix(np.zeros((rows, booster_json.width(booster)), dtype=np.float32))
    start = time.perf_counter()
    booster.predict(matrix, pred_contribs=True, **options)
    return time.perf_counter() - start
