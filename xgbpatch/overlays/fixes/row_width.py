"""row-width: rows whose cells stand by position have the model's width, or the request is refused with both widths."""

from __future__ import annotations

import functools
import http
from typing import Any, Callable, List, Optional

import numpy as np
import scipy.sparse
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

from .. import request_data, settings
from . import _loading

HANDLER = "sagemaker_xgboost_container.algorithm_mode.handler_service"  # multi-model endpoints alone import it


def row_width_not_needed() -> str:
    """Whether the base refuses two columns for a model of three."""
    try:
        serve_utils.predict(
            _ThreeColumnBooster(), serve_utils.XGB_FORMAT, encoder.xgb.DMatrix(np.zeros((1, 2))), "text/csv"
        )
    except Exception:
        return "the base compares the width of a row with the model's"
    return ""


def install_row_width() -> None:
    """Between parsing and predicting, where the model is known; the refusal reaches the client of either server."""
    request_data.record(encoder, serve_utils, plain=True)
    serve_utils.parse_content_data = _parsing(serve_utils.parse_content_data)
    serve_utils.predict = _predicting(serve_utils.predict)
    _loading.when_imported(HANDLER, _hook)


class RaggedRows(object):
    """In the place of the matrix of CSV lines that differ in their number of cells, until the model is known."""

    def __init__(self, counts: List[int]):
        self._counts = counts

    def complaint(self, model: Any) -> str:
        """The first line that is not as wide as `model`."""
        features = request_data.widths_of(model)[0]
        number, columns = next((n, count) for n, count in enumerate(self._counts, 1) if count != features)
        return request_data.compared("record {} has".format(number), columns, features)


def _parsing(parse: Callable[..., Any]) -> Callable[..., Any]:
    """`parse`, which gives RaggedRows where the base fails because CSV lines of numbers are not equally wide."""

    @functools.wraps(parse)
    def parse_content_data(input_data: Any, input_content_type: Any) -> Any:
        try:
            return parse(input_data, input_content_type)
        except Exception:
            counts = _counts(lambda: parse(input_data, input_content_type))
            if len(set(counts)) < 2:
                raise
        return RaggedRows(counts), input_content_type

    return parse_content_data


def _counts(read: Callable[[], Any]) -> List[int]:
    """The cells of each line, as the base splits them while it reads once more; none where one is no number."""
    lines: List[List[str]] = []
    split = encoder._clean_csv_string

    def _clean_csv_string(*line_and_delimiter: Any) -> List[str]:
        lines.append(split(*line_and_delimiter))
        return lines[-1]

    encoder._clean_csv_string = _clean_csv_string
    try:
        read()
    except Exception:  # as it failed before
        pass
    finally:
        encoder._clean_csv_string = split
    try:
        return [len([float(cell) for cell in cells]) for cells in lines]
    except ValueError:
        return []


def _predicting(base: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(base)
    def predict(model: Any, model_format: Any, dmatrix: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(dmatrix, RaggedRows):
            raise request_data.WrongWidth(dmatrix.complaint(model))
        request_data.check(model, dmatrix)
        return base(model, model_format, _widened(model, dmatrix), *rest, **named)

    return predict


def _widened(model: Any, dmatrix: Any) -> Any:
    """`dmatrix`; a sparse one is made as wide as the model, so that what it leaves out is missing to each xgboost.

    Version 3.2 takes two narrow rows without a gap for dense ones, and the base refuses narrow recordio for a pickle.
    """
    if not scipy.sparse.issparse(getattr(dmatrix, "recorded", None)):
        return dmatrix
    return request_data.padded(dmatrix, min(request_data.widths_of(model)))


def _hook(handler_service: Any) -> None:
    service = handler_service.HandlerService
    service.handle = _answering(service.handle)


def _answering(handle: Callable[..., Any]) -> Callable[..., Any]:
    """`handle`, with 400 for our refusal: the base makes a 503 of every error by raising another one."""

    @functools.wraps(handle)
    def answering(self: Any, data: Any, context: Any) -> Any:
        try:
            return handle(self, data, context)
        except Exception as error:
            refusal = _refusal(error)
            if refusal is None:
                raise
            context.set_response_status(http.HTTPStatus.BAD_REQUEST.value, http.HTTPStatus.BAD_REQUEST.phrase)
            context.set_response_content_type(0, settings.TEXT)
            return [str(refusal)]

    return answering


def _refusal(error: Optional[BaseException]) -> Optional[request_data.WrongWidth]:
    """What `error` was raised for, if that is a width."""
    while error is not None and not isinstance(error, request_data.WrongWidth):
        error = error.__cause__ or error.__context__
    return error


class _ThreeColumnBooster(object):
    """As much of a booster of three columns as a base asks for."""

    feature_names = ["f0", "f1", "f2"]  # noqa: RUF012 (Python 3.7)

    def num_features(self) -> int:
        return len(self.feature_names)

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        return np.zeros(1, dtype=np.float32)
