"""recordio-growth: in recordio-protobuf answers of selectable inference each record holds its own keys only."""

from __future__ import annotations

import functools
from typing import Any, Callable

from sagemaker_xgboost_container.algorithm_mode import serve_utils


def not_needed() -> str:
    """Whether two equal records take twice the bytes of one."""
    encode = serve_utils._encode_selected_predictions_recordio_protobuf
    record = {serve_utils.PREDICTED_SCORE: 0.5}
    return "the base writes each record once" if len(encode([record] * 2)) == 2 * len(encode([record])) else ""


def install() -> None:
    """The base encodes each record in a call of its own."""
    encode: Callable[..., bytes] = serve_utils._encode_selected_predictions_recordio_protobuf

    @functools.wraps(encode)
    def _encode_selected_predictions_recordio_protobuf(predictions: Any) -> bytes:
        return b"".join(encode([prediction]) for prediction in predictions)

    serve_utils._encode_selected_predictions_recordio_protobuf = _encode_selected_predictions_recordio_protobuf
