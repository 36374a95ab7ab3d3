"""ensemble-vote, mme-ensemble-vote, jsonlines-accept, recordio-growth: what servers answer, and in which bytes."""

from __future__ import annotations

import functools
import json
from typing import Any, Callable

import numpy as np
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

JSON_LINES = "application/jsonlines"
RECORDIO_PROTOBUF = "application/x-recordio-protobuf"

# ensemble-vote: an ensemble of classes answers with the class that most members chose.


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


# jsonlines-accept: the two types that the base accepts and cannot write are written, from the base's own parts.


def jsonlines_accept_not_needed() -> str:
    """Whether the base's encoder knows JSON Lines."""
    from sagemaker_xgboost_container.algorithm_mode import serve  # of single-model servers, whose model it loads

    try:
        serve.encoders.encode([0.5], JSON_LINES)
    except Exception:
        return ""
    return "the base writes JSON Lines by itself"


def install_jsonlines_accept() -> None:
    """In the place of the encoders, as the view of /invocations calls them."""
    from sagemaker_xgboost_container.algorithm_mode import serve

    serve.encoders = _Encoders(serve.encoders)


class _Encoders(object):
    """The base's encoders and two more."""

    def __init__(self, encoders: Any):
        self._encoders = encoders

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoders, name)

    def encode(self, predictions: Any, content_type: str) -> Any:
        """`{"score": x}` a line, records with the one label `score`, or what the base makes of another type."""
        if content_type == JSON_LINES:
            return encoder.json_to_jsonlines(serve_utils.encode_predictions_as_json(predictions))
        if content_type == RECORDIO_PROTOBUF:
            return b"".join(_record(prediction) for prediction in predictions)
        return self._encoders.encode(predictions, content_type)


def _record(prediction: Any) -> bytes:
    # one record a call: of several, it repeats (recordio-growth)
    encode: Callable[..., bytes] = serve_utils._encode_selected_predictions_recordio_protobuf
    return encode([{serve_utils.SCORE_OUT_KEY: prediction}])


# recordio-growth: in recordio-protobuf answers of selectable inference each record holds its own keys only.


def recordio_growth_not_needed() -> str:
    """Whether two equal records take twice the bytes of one."""
    encode = serve_utils._encode_selected_predictions_recordio_protobuf
    record = {serve_utils.PREDICTED_SCORE: 0.5}
    return "the base writes each record once" if len(encode([record] * 2)) == 2 * len(encode([record])) else ""


def install_recordio_growth() -> None:
    """The base encodes each record in a call of its own."""
    encode: Callable[..., bytes] = serve_utils._encode_selected_predictions_recordio_protobuf

    @functools.wraps(encode)
    def _encode_selected_predictions_recordio_protobuf(predictions: Any) -> bytes:
        return b"".join(encode([prediction]) for prediction in predictions)

    serve_utils._encode_selected_predictions_recordio_protobuf = _encode_selected_predictions_recordio_protobuf
