"""The proof that oneDAL answers as the booster does, made at model load on rows where a wrong model shows."""

from __future__ import annotations

import itertools
from typing import Any, Callable, Dict, Mapping, Set

import numpy as np
import xgboost

from . import trees

FEWEST, MOST = 256, 2048
EXTREMES = (np.nan, 0.0, -0.0, 3e38, -3e38, 1e-45, -1e-45, 1.0)


def rows(forest: trees.Forest) -> np.ndarray:
    """float32 (n, features): every cell a threshold of its feature or one float32 step beside it, some missing.

    After them rows of extremes and random rows. Deterministic. n grows with the thresholds of the busiest feature.
    """
    thresholds = _thresholds(forest)
    busiest = max((len(values) for values in thresholds.values()), default=0)
    count = int(np.clip(3 * busiest, FEWEST, MOST))
    random = np.random.RandomState(0)
    near = np.zeros((count, forest.features), dtype=np.float32)
    for feature, values in thresholds.items():
        near[:, feature] = _beside(values, count, random)
    missing = near[: count // 4].copy()
    missing[random.rand(*missing.shape) < 0.3] = np.nan
    extremes = np.repeat(np.array(EXTREMES, dtype=np.float32)[:, None], forest.features, axis=1)
    spread = random.standard_normal((64, forest.features)).astype(np.float32) * np.nanstd(near, axis=0)
    return np.ascontiguousarray(np.concatenate([near, missing, extremes, spread.astype(np.float32)]))


def check(
    booster: xgboost.Booster,
    options: Mapping[str, Any],
    accelerated: Callable[..., Any],
    proof_rows: np.ndarray,
) -> str:
    """Why `accelerated(rows, dmatrix) -> (margins, predictions)` is not the booster, or an empty string.

    Both are held to `booster.predict` with the base's own options, bit for bit.
    """
    matrix = xgboost.DMatrix(proof_rows)
    margins, predictions = accelerated(proof_rows, matrix)
    expected = booster.predict(xgboost.DMatrix(proof_rows), output_margin=True, **options)
    if not _identical(margins, expected):
        return _difference("margins", margins, expected)
    expected = booster.predict(xgboost.DMatrix(proof_rows), **options)
    if not _identical(predictions, expected):
        return _difference("predictions", predictions, expected)
    return ""


def _thresholds(forest: trees.Forest) -> Dict[int, np.ndarray]:
    found: Dict[int, Set[np.float32]] = {}
    for tree in forest.trees:
        for node in itertools.chain.from_iterable(tree.levels()):
            if tree.left[node] != -1:
                found.setdefault(tree.feature[node], set()).add(tree.condition[node])
    return {feature: np.array(sorted(values), dtype=np.float32) for feature, values in found.items()}


def _beside(values: np.ndarray, count: int, random: np.random.RandomState) -> np.ndarray:
    """`count` cells that go through every value and both its neighbours before any comes again, in random order."""
    infinity = np.float32(np.inf)
    all_values = np.concatenate([values, np.nextafter(values, -infinity), np.nextafter(values, infinity)])
    finite = all_values[np.isfinite(all_values)]
    return random.permutation(np.resize(random.permutation(finite), count))


def _identical(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return ours.shape == theirs.shape and ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()


def _difference(what: str, ours: np.ndarray, theirs: np.ndarray) -> str:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return "{} are {} {}, the booster's {} {}".format(what, ours.dtype, ours.shape, theirs.dtype, theirs.shape)
    differ = int(np.sum(ours != theirs))
    largest = float(np.nanmax(np.abs(ours.astype(float) - theirs)))
    return "{} differ in {} of {} proof values, by up to {:.3g}".format(what, differ, ours.size, largest)
