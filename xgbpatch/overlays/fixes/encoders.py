"""jsonlines-accept and recordio-growth: how the single-model server writes its answers."""

from __future__ import annotations

import functools
from typing import Any, Callable

from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils

# jsonlines-accept: the two types that the base accepts and cannot write are written, from the base's own parts.


JSON_LINES = "application/jsonlines"
RECORDIO_PROTOBUF = "application/x-recordio-protobuf"


def jsonlines_accept_not_needed() -> str:
    """Whether the base's encoder knows JSON Lines."""
    try:
        serve.encoders.encode([0.5], JSON_LINES)
    except Exception:
        return ""
    return "the base writes JSON Lines by itself"


def install_jsonlines_accept() -> None:
    """In the place of the encoders, as the view of /invocations calls them."""
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
