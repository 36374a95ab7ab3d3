"""ensemble-vote: an ensemble of multi:softmax or binary:hinge models answers with the class that most members chose."""

from __future__ import annotations

from typing import Any

import numpy as np
from sagemaker_xgboost_container.algorithm_mode import serve_utils


def not_needed() -> str:
    """Whether two members that agree on three records give three classes."""
    members = [_Member(), _Member()]
    voted = serve_utils.predict(members, [serve_utils.XGB_FORMAT] * 2, None, "text/csv", "multi:softmax")
    return "the base votes by itself" if np.shape(voted) == (3,) else ""


def install() -> None:
    """Let scipy's mode keep the axis that the base takes away itself, as it did before scipy 1.11."""
    serve_utils.stats = _Statistics(serve_utils.stats)


class _Statistics(object):
    """`scipy.stats`, but for `mode`: of several most common classes it is the smallest, in all releases."""

    def __init__(self, stats: Any):
        self._stats = stats

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stats, name)

    def mode(self, *arguments: Any, **named: Any) -> Any:
        """A result whose `mode` and `count` have as many axes as the input."""
        return self._stats.mode(*arguments, **dict(named, keepdims=True))


class _Member(object):
    """As much of a booster as the base's prediction asks for."""

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        return np.array([0, 1, 2], dtype=np.float32)
