"""Global SHAP importance: the mean |SHAP value| of each feature (and class) over a sample of rows, in margin space.

Lundberg et al. 2020, "From local explanations to global understanding with explainable AI for trees".
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np
import scipy.sparse
import xgboost

SECONDS = 60.0
_NUMBERS = 4000000  # contributions computed in one go


@dataclass(frozen=True)
class Importance:
    """`values` float64 (features, classes), in one column where the model has no classes; `rows` that they are of."""

    values: np.ndarray
    rows: int


@dataclass(frozen=True)
class Explained:
    """A booster and the options of prediction, the tree cut among them, with which it is served."""

    booster: xgboost.Booster
    options: Mapping[str, Any]


def measure(members: Sequence[Explained], rows: scipy.sparse.csr_matrix, seconds: float = SECONDS) -> Importance:
    """The Importance of `rows`, or of as many of the first as `seconds` allow; of several models, their mean."""
    found = [_of_member(member, rows, seconds / len(members)) for member in members]
    return Importance(np.mean([each.values for each in found], axis=0), min(each.rows for each in found))


def _of_member(member: Explained, rows: scipy.sparse.csr_matrix, seconds: float) -> Importance:
    """In growing parts, so that the time of the next is known before it begins."""
    total: Any = 0.0
    done, size, spent, last = 0, 1, 0.0, 0.0
    while done < rows.shape[0] and (not done or spent + 2 * last <= seconds):
        begin = time.perf_counter()
        part = rows[done : done + size]
        absolute = np.abs(_contributions(member, part))
        total = total + absolute.sum(axis=0, dtype=np.float64)
        done += part.shape[0]
        size = min(2 * size, max(1, _NUMBERS // absolute[0].size))
        last = time.perf_counter() - begin
        spent += last
    return Importance(total.T / done, done)


def _contributions(member: Explained, rows: scipy.sparse.csr_matrix) -> np.ndarray:
    """float32 (n, classes, features), without the base value."""
    values = member.booster.predict(xgboost.DMatrix(rows), pred_contribs=True, **member.options)
    return values.reshape(rows.shape[0], -1, rows.shape[1] + 1)[:, :, :-1]
