"""The short way of a request: its numbers parsed once, predicted by the native library, written once.

Only what was proved at load goes this way. The rest is the base's, errors above all.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils

from .. import native
from ..model import booster as model_booster
from ..model.booster import Unsuitable
from ..native import body as native_body
from ..native import engine as native_engine
from ..settings import ATTRIBUTES
from . import wsgi
from .wsgi import Headers, Reply

CSV, JSON = "text/csv", "application/json"
VOTES = frozenset(["multi:softmax", "binary:hinge"])
ACCEPTS = (None, b"*/*", b"text/csv", b"application/json")
FASTEST_READ = 20e6  # bytes of a body a second, at the least

logger = logging.getLogger(__name__)


class Model(object):
    """The boosters of the endpoint by the native library, each proved to be the booster's own, bit for bit."""

    def __init__(self, boosters: List[Any], formats: List[Any], standing: Any):
        members = [_accelerator(*pair, standing) for pair in zip(boosters, formats)]
        if len(members) > 1 and not VOTES.isdisjoint(map(_objective, boosters)):
            raise Unsuitable("the ensemble votes")  # of models that agree on the proof's rows a mean looks the same
        widths = {member.model.features for member in members}
        if len(widths) > 1:
            raise Unsuitable("the models of the ensemble have different features")
        if any(member.link.needs_matrix for member in members):
            raise Unsuitable("a booster has to make predictions of its margins")
        self.features: int = widths.pop()
        self.rows: np.ndarray = np.concatenate([member.sample for member in members])
        self._members = [(member.model.margins, member.link.predictions) for member in members]

    def predictions(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n,) or (n, classes) of float32 rows (n, features)."""
        answers: List[np.ndarray] = [link(margins(rows), None) for margins, link in self._members]
        mean: np.ndarray = answers[0] if len(answers) == 1 else np.mean(answers, axis=0)
        return mean


def _objective(booster: Any) -> str:
    name: str = model_booster.configuration(booster)["learner"]["objective"]["name"]
    return name


def _accelerator(booster: Any, model_format: Any, standing: Any) -> Any:
    """The Accelerator of a booster, the one that predicts already where there is one; raises Unsuitable."""
    chosen = None if standing is None else standing.model(booster, model_format).choice.accelerator
    if chosen is not None and chosen.name == native_engine.NAME:
        return chosen
    base = serve_utils.predict if standing is None else standing.base
    return native_engine.accelerate(booster, model_booster.options_of(base, booster, model_format)).accelerator


class ShortWay(object):
    """Answers of successful requests for predictions. `layouts`: by Accept, headers of the answer and its layout."""

    def __init__(self, model: Model, layouts: Mapping[Optional[bytes], Tuple[Headers, native.Layout]], explains: bool):
        self._model = model
        self._layouts = layouts
        self._asks = ATTRIBUTES.lower().encode("ascii") if explains else b""
        self._limit = serve.ScoringService.MAX_CONTENT_LENGTH
        sample = np.ascontiguousarray(np.resize(model.rows, (64, model.features)))
        begun = time.perf_counter()
        model.predictions(sample)
        self._row_seconds = (time.perf_counter() - begun) / len(sample)

    def seconds(self, size: int) -> float:
        """What a body of so many bytes takes at the most: a record has two bytes a feature at the least."""
        seconds: float = size / FASTEST_READ + size / (2.0 * self._model.features) * self._row_seconds
        return seconds

    def answer(self, headers: Headers, body: bytes) -> Optional[Reply]:
        """(status, headers, body), or None: the base has to answer."""
        content_type, accept = None, None
        for name, value in headers:
            if name == b"content-type":
                if content_type is not None:
                    return None
                content_type = value.decode("latin-1")
            elif name == b"accept":
                if accept is not None:
                    return None
                accept = value
            elif name == self._asks:
                return None
        known = self._layouts.get(accept)
        if known is None or not body or len(body) > self._limit:
            return None
        rows = native_body.rows(body, content_type)
        if rows is None or rows.shape[1] != self._model.features or np.isinf(rows).any():
            return None
        written = native.predictions(self._model.predictions(rows), known[1])
        return None if written is None else (200, known[0], written)


def proved(base: Callable[..., Any], config: Any) -> ShortWay:
    """The short way, where it gives the base's bytes for this model and these settings; raises Unsuitable."""
    begun = time.perf_counter()
    service = serve.ScoringService
    if config.engine == "booster":
        raise Unsuitable("XGBPATCH_ENGINE=booster")
    if serve_utils.is_selectable_inference_output():
        raise Unsuitable("selectable inference")
    if service.booster is None:
        raise Unsuitable("the base loads the model with the first request")
    several = isinstance(service.booster, list)
    boosters, formats = (service.booster, service.format) if several else ([service.booster], [service.format])
    model = Model(boosters, formats, getattr(serve_utils.predict, "__self__", None))
    theirs = service.predict(data=xgboost.DMatrix(model.rows), content_type=CSV, model_format=service.format)
    ours = model.predictions(model.rows)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype or ours.tobytes() != theirs.tobytes():
        raise Unsuitable("its predictions are not the base's")
    way = ShortWay(model, _layouts(base, model), config.explains)
    logger.info("The feature fast: proved on %d rows in %.2f s", len(model.rows), time.perf_counter() - begun)
    return way


def _layouts(base: Callable[..., Any], model: Model) -> Dict[Optional[bytes], Tuple[Headers, native.Layout]]:
    """Of each Accept for which the base's application answers rows of the proof as the short way would."""
    rows = model.rows[np.isfinite(model.rows).all(axis=1)][:5]
    body = "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode("ascii")
    layouts = {}
    for accept in ACCEPTS:
        headers = [(b"content-type", b"text/csv")] + ([(b"accept", accept)] if accept else [])
        scope = {"method": "POST", "path": "/invocations", "raw_path": b"/invocations", "query_string": b"",
                 "headers": headers}  # fmt: skip
        status, said, answer = wsgi.called(base, wsgi.environ_of(scope, body))
        kept = [(name, value) for name, value in said if name != b"content-length"]
        for layout in (native.BATCH_LINES, native.CSV, native.JSON_SCORES):
            if status == 200 and native.predictions(model.predictions(rows), layout) == answer:
                layouts[accept] = kept, layout
                break
    if not layouts:
        raise Unsuitable("the base writes its predictions in another way")
    return layouts
