"""mme-ensemble-vote: ensembles of classes vote on multi-model endpoints too, instead of averaging class numbers."""

from __future__ import annotations

import functools
import json
from typing import Any

from sagemaker_xgboost_container.algorithm_mode import handler_service, serve_utils

from . import ensemble_vote


def not_needed() -> str:
    """Whether the base's handler says what the objective is when it asks for a prediction."""
    calls = []
    predict, serve_utils.predict = serve_utils.predict, lambda *arguments, **named: calls.append((arguments, named))
    try:
        handler = handler_service.HandlerService.DefaultXGBoostAlgoModeInferenceHandler()
        handler.default_predict_fn((None, "csv"), ([_Softmax(), _Softmax()], [serve_utils.XGB_FORMAT] * 2))
    finally:
        serve_utils.predict = predict
    arguments, named = calls[0]
    return "the base's handler names the objective" if len(arguments) > 4 or "objective" in named else ""


def install() -> None:
    """Name the objective as the single-model server does; where the base cannot count votes, mend that first."""
    if not ensemble_vote.not_needed():
        ensemble_vote.install()
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
