"""SHAP values behind the predictions of requests that take the short way: the bytes of the base's way, by its parts.

Requests of a few records are written at once; what takes longer, comes near a limit or asks for more than the values of
all features goes through the parts that the base's way goes through.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np
from sagemaker_xgboost_container.algorithm_mode import serve

from .. import native, settings, single_model
from ..predictor import Evaluation
from ..request_data import LateDMatrix
from ..settings import ResponseOptions, ShapOptions
from ..shap import response, values


class FastExplanations(object):
    """By `predictor`, which `config` asks for, of models that the base calls as `calls` say."""

    def __init__(self, config: Any, predictor: Any, calls: Any):
        self.config = config
        self.predictor = predictor
        self.calls = calls

    def options(self, accept: Optional[str], attributes: Optional[str]) -> Tuple[Optional[str], Any]:
        """(Accept as the base sees it, the ResponseOptions of a request with these headers or None: no explanation).

        Raises settings.BadOption.
        """
        base_accept, header_options = settings.of_request(attributes, accept)
        options = self.config.response_options if self.config.shap else None
        if header_options:
            options = settings.apply(header_options, self.config)
        if options is not None and serve.SAGEMAKER_BATCH:
            options = dataclasses.replace(options, header=False)
        return base_accept, options

    def explained(self, options: ResponseOptions, mimetype: str) -> "Explained":
        """How requests with these options are explained, in text of that type; raises as Explained does."""
        return Explained(self, options, mimetype)


class Explained(object):
    """How the values that `options` ask for are put behind predictions in text of that mimetype.

    Raises Unsuitable where a booster explains, which only one thread may ask. Of options that were explained before:
    finding it out takes its time.
    """

    def __init__(self, explanations: FastExplanations, options: ResponseOptions, mimetype: str):
        self._options = options
        self._predictor, self._calls = explanations.predictor, explanations.calls
        self._limit = explanations.config.shap_bytes
        self._append = single_model.writer(mimetype, selectable=False)
        shap_options = options.shap_options(bool(options.interactions))
        members, numbers = self._predictor.native_methods(self._calls, shap_options)
        pairs = zip(members, self._calls)
        computing = sum((each.cost(call) for methods, call in pairs for each in methods), values.NOTHING)
        self.cost = computing + values.Cost(0.0, numbers * values.written())
        self._members = [(methods[0].compute, call) for methods, call in zip(members, self._calls)]
        self._few = 0
        if shap_options == ShapOptions() and options.top_k is None and not options.header:
            seconds = min(values.SLICE, explanations.config.shap_seconds)
            self._few = min(self.cost.rows_within(seconds), values.MEMORY_LIMIT // (4 * numbers))

    def behind(self, predicted: bytes, rows: np.ndarray) -> bytes:
        """The base's text `predicted` for float32 rows (n, features), with their values; raises values.NotExplained."""
        if len(rows) <= self._few and self._append in WRITERS:
            members = [compute(rows, call) for compute, call in self._members]
            body = WRITERS[self._append](predicted, values.mean(members))
            if body is not None and len(body) <= self._limit:
                return body
        explain = functools.partial(self._predictor.explain, Evaluation(LateDMatrix(rows), self._calls))
        explained = response.ExplainedResponse(explain, self._options, self._limit)
        return explained.appended(predicted.decode("ascii"), self._append)


def _lines(predicted: bytes, contributions: np.ndarray) -> Optional[bytes]:
    """As response.to_lines writes the values of all features."""
    return native.behind(predicted, [_base_first(contributions).reshape(len(contributions), -1)])


def _json(predicted: bytes, contributions: np.ndarray) -> Optional[bytes]:
    """As response.to_json writes the values of all features, of a model with one output."""
    text = predicted.decode("ascii")
    if contributions.ndim != 2 or not text.startswith(JSON[0]):
        return None
    scores = text[len(JSON[0]) : -len(JSON[1])].split(JSON[2])
    cells = (cell.partition(", ") for cell in native.shortest(_base_first(contributions), ", ", native.JSON))
    records = [
        '{}, "base_value": {}, "shap_values": [{}]'.format(score, base, rest)
        for score, (base, _, rest) in zip(scores, cells)
    ]
    return (JSON[0] + JSON[2].join(records) + JSON[1]).encode("ascii")


JSON = native.JSON_SCORES.opening, native.JSON_SCORES.after + native.JSON_SCORES.closing, "}, "
WRITERS: Dict[Callable[..., Any], Callable[..., Optional[bytes]]] = {response.to_lines: _lines, response.to_json: _json}


def _base_first(contributions: np.ndarray) -> np.ndarray:
    """Base values stand last in (n, features + 1), and in (n, classes, features + 1)."""
    return np.concatenate([contributions[..., -1:], contributions[..., :-1]], axis=-1)
