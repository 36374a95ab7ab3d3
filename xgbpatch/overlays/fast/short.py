"""The short way of a request: its numbers parsed once, predicted by the native library, written once.

Only what was proved at load goes this way. The rest is the base's, errors above all.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import numpy as np
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils

from ..model import accelerator as proof
from ..model import booster as model_booster
from ..model.choice import Unsuitable
from ..native import body as native_body
from ..native import forest as native_forest
from ..native import link as native_link
from ..native import text
from ..shap.request import ATTRIBUTES
from . import wsgi
from .wsgi import Headers, Reply

CSV, JSON = "text/csv", "application/json"
ACCEPTS = (None, b"*/*", b"text/csv", b"application/json")
FASTEST_READ = 20e6  # bytes of a body a second, at the least
MARGINS = np.concatenate([
    np.linspace(-110, 110, 4001), np.linspace(-1, 1, 2001), [0.0, -0.0, 1e-30, -1e-30, 1e30, -1e30, 87.5, -87.5],
]).astype(np.float32)  # fmt: skip

logger = logging.getLogger(__name__)


class Model(object):
    """The boosters of the endpoint: predictions float32 (n,) or (n, classes), the base's own bit for bit."""

    def __init__(self, boosters: List[Any], formats: List[Any], base_predict: Callable[..., Any]):
        self._members = [_member(*pair, base_predict) for pair in zip(boosters, formats)]
        widths = {forest.features for forest, _, _ in self._members}
        if len(widths) > 1:
            raise Unsuitable("the models of the ensemble have different features")
        self.features = widths.pop()
        self.rows = np.concatenate([proof.proof_rows(each) for _, _, each in self._members])

    def predictions(self, rows: np.ndarray) -> np.ndarray:
        """Of float32 rows (n, features)."""
        answers: List[np.ndarray] = [link(forest.margins(rows)) for forest, link, _ in self._members]
        mean: np.ndarray = answers[0] if len(answers) == 1 else np.mean(answers, axis=0)
        return mean


def _member(booster: Any, model_format: Any, base_predict: Callable[..., Any]) -> Tuple[Any, Any, Any]:
    """(native forest, link, trees); raises Unsuitable."""
    options = model_booster.options_of(base_predict, booster, model_format)
    document = model_booster.document(booster, _hold_memory)
    if int(document["learner"]["learner_model_param"].get("num_target", 1)) > 1:
        raise Unsuitable("the model has several targets")
    trees = model_booster.forest(document, options)
    return native_forest.NativeForest(trees), _link(document, trees), trees


def _hold_memory(size: int) -> None:
    reason = proof.guard_memory(size, os.environ)
    if reason:
        raise Unsuitable(reason)


def _link(document: Mapping[str, Any], trees: model_booster.Forest) -> native_link.Link:
    """The link that gives a treeless booster's predictions for margins of all sizes."""
    outputs = len(trees.groups)
    margins = np.random.RandomState(0).permutation(np.resize(MARGINS, (len(MARGINS) // outputs + 1) * outputs))
    margins = np.ascontiguousarray(margins.reshape(-1, outputs))
    matrix = xgboost.DMatrix(np.zeros((len(margins), trees.features), dtype=np.float32))
    theirs = proof.Link(document).predictions(margins.copy() if outputs > 1 else margins[:, 0].copy(), matrix)
    for link in native_link.candidates(trees.objective):
        ours = link(margins.copy())
        if ours.shape == theirs.shape and ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes():
            return link
    raise Unsuitable('no link that is known is that of "{}" in this xgboost'.format(trees.objective))


class ShortWay(object):
    """Answers of successful requests for predictions. `layouts`: by Accept, headers of the answer and its layout."""

    def __init__(self, model: Model, layouts: Mapping[Optional[bytes], Tuple[Headers, text.Layout]], explains: bool):
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
        written = text.predictions(self._model.predictions(rows), known[1])
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
    standing = getattr(serve_utils.predict, "__self__", None)
    model = Model(boosters, formats, serve_utils.predict if standing is None else standing.base)
    theirs = service.predict(data=xgboost.DMatrix(model.rows), content_type=CSV, model_format=service.format)
    ours = model.predictions(model.rows)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype or ours.tobytes() != theirs.tobytes():
        raise Unsuitable("its predictions are not the base's")
    way = ShortWay(model, _layouts(base, model), config.explains)
    logger.info("The feature fast: proved on %d rows in %.2f s", len(model.rows), time.perf_counter() - begun)
    return way


def _layouts(base: Callable[..., Any], model: Model) -> Dict[Optional[bytes], Tuple[Headers, text.Layout]]:
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
        for layout in (text.BATCH_LINES, text.CSV, text.JSON_SCORES):
            if status == 200 and text.predictions(model.predictions(rows), layout) == answer:
                layouts[accept] = kept, layout
                break
    if not layouts:
        raise Unsuitable("the base writes its predictions in another way")
    return layouts
