"""A stand-in for the booster that the base predicts with: it learns how the base asks, and may answer faster.

The base decides the tree cut in its own way in every version; what it passes is seen here instead of being repeated.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

import numpy as np
import xgboost


class RecordingBooster(object):
    """Everything is the booster's. `predict` remembers the options it was called with, and asks `answer` first.

    `answer(dmatrix, options)` returns the booster's own prediction or None; `options` is None until the base predicts.
    """

    def __init__(self, booster: xgboost.Booster, answer: Any = None):
        self.booster = booster
        self.options: Any = None
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.booster, name)

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        """The booster's prediction; its signature shows no `ntree_limit`, as xgboost's own since 2.0."""
        self.options = options
        prediction = self._answer(data, options) if self._answer else None
        return self.booster.predict(data, **options) if prediction is None else prediction


def options_of(
    base_predict: Callable[..., Any], booster: xgboost.Booster, model_format: str, dmatrix: xgboost.DMatrix
) -> Mapping[str, Any]:
    """The options with which `base_predict` asks `booster`, its tree cut among them; raises what the base raises."""
    witness = RecordingBooster(booster)
    base_predict(witness, model_format, dmatrix, "text/csv")
    options: Mapping[str, Any] = witness.options
    return options
