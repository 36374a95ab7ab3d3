"""ensemble-vote and mme-ensemble-vote: an ensemble of classes answers with the class that most members chose."""

from __future__ import annotations

import functools
import json
from typing import Any

import numpy as np
from sagemaker_xgboost_container.algorithm_mode import serve_utils


def ensemble_vote_not_needed() -> str:
    """Whether two members that agree on three records give three classes."""
    members = [_ConstantBooster(), _ConstantBooster()]
    voted = serve_utils.predict(members, [serve_utils.XGB_FORMAT] * 2, None, "text/csv", "multi:softmax")
    return "the base votes by itself" if np.shape(voted) == (3,) else ""


def install_ensemble_vote() -> None:
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


class _ConstantBooster(object):
    """As much of a booster as the base's prediction asks for."""

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        return np.array([0, 1, 2], dtype=np.float32)


# mme-ensemble-vote: ensembles of classes vote on multi-model endpoints too, instead of averaging class numbers.


def mme_ensemble_vote_not_needed() -> str:
    """Whether the base's handler says what the objective is when it asks for a prediction."""
    from sagemaker_xgboost_container.algorithm_mode import handler_service  # of multi-model endpoints

    calls = []
    predict, serve_utils.predict = serve_utils.predict, lambda *arguments, **named: calls.append((arguments, named))
    try:
        handler = handler_service.HandlerService.DefaultXGBoostAlgoModeInferenceHandler()
        handler.default_predict_fn((None, "csv"), ([_Softmax(), _Softmax()], [serve_utils.XGB_FORMAT] * 2))
    finally:
        serve_utils.predict = predict
    arguments, named = calls[0]
    return "the base's handler names the objective" if len(arguments) > 4 or "objective" in named else ""


def install_mme_ensemble_vote() -> None:
    """Name the objective as the single-model server does; where the base cannot count votes, mend that first."""
    if not ensemble_vote_not_needed():
        install_ensemble_vote()
    base = serve_utils.predict

    @functools.wraps(base)
    def predict(model: Any, model_format: Any, dtest: Any, input_content_type: Any, objective: Any = None) -> Any:
        if objective is None and isinstance(model, list):
            objective = json.loads(model[0].save_config())["learner"]["objective"]["name"]
        return base(model, model_format, dtest, input_content_type, objective)

    serve_utils.predict = predict


class _Softmax(object):
    """As much of a booster as a handler may ask for its objective."""

    def save_config(self) -> str:
        return '{"learner": {"objective": {"name": "multi:softmax"}}}'
