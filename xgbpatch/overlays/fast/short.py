"""The short way of a request: its numbers parsed once, predicted and explained by the native library, written once.

Only what was proved goes this way. The rest is the base's, errors above all.
"""

from __future__ import annotations

import functools
import logging
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils

from .. import native
from ..model import accelerator as proof
from ..model import booster as model_booster
from ..model.booster import PredictCall, Unsuitable
from ..native import body as native_body
from ..native import engine as native_engine
from ..settings import ATTRIBUTES, TEXT, BadOption, ResponseOptions, without_folders
from ..shap import values
from . import wsgi
from .wsgi import Headers, Reply

CSV = "text/csv"
VOTES = frozenset(["multi:softmax", "binary:hinge"])
ACCEPTS = (None, "*/*", CSV, "application/json")
OTHER_ACCEPTS = ("application/jsonlines",)  # proved once the base has answered one: without a fix it does not
LAYOUTS = (native.BATCH_LINES, native.CSV, native.JSON_SCORES, native.JSON_LINES)
FASTEST_READ = 20e6  # bytes of a body a second, at the least
OFF = "shap=off"  # of ATTRIBUTES: asks for the predictions alone
MOST_FORMATS = 64  # that are proved; options are a client's, and there may be any number of them

logger = logging.getLogger(__name__)


class ProvedModel(object):
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
        self.calls = tuple(PredictCall(booster, member.options) for booster, member in zip(boosters, members))
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


class RequestKind(NamedTuple):
    """What requests of one kind ask for: Accept as the base sees it, and how the answer is explained, if it is."""

    accept: Optional[str]
    options: Optional[ResponseOptions]


class ResponseFormat(NamedTuple):
    """How requests of one kind are answered. `explained` puts SHAP values behind the predictions, where they ask so."""

    headers: Headers
    layout: native.BodyLayout
    explained: Any = None


class ReadyRequest(NamedTuple):
    """A request that is ready to be answered, in so many `seconds` by an estimate."""

    way: "ShortWay"
    rows: np.ndarray
    format: ResponseFormat
    seconds: float

    def answer(self) -> Optional[Reply]:
        """(status, headers, body), or None: the base has to answer."""
        try:
            written = self.way.written(self.rows, self.format)
        except values.NotExplained as refusal:
            reason = without_folders(refusal.reason).encode("utf-8")
            return refusal.status, [(b"content-type", TEXT.encode("ascii"))], reason
        return None if written is None else (200, self.format.headers, written)


class ShortWay(object):
    """Answers of successful requests by a model, to the bytes of the application `base`."""

    def __init__(self, base: Callable[..., Any], model: ProvedModel, config: Any):
        self._base = base
        self._model = model
        self._explanations: Any = None
        if config.explains:
            from . import explained  # an image that does not explain never loads it

            self._explanations = explained.FastExplanations(config, serve_utils.predict.__self__, model.calls)
        self._names = (b"content-type", b"accept", ATTRIBUTES.lower().encode("ascii"))
        self._limit = serve.ScoringService.MAX_CONTENT_LENGTH
        self._kind = functools.lru_cache(maxsize=MOST_FORMATS)(self._read_kind)
        self._formats: Dict[RequestKind, Optional[ResponseFormat]] = {}
        sample = np.ascontiguousarray(np.resize(model.rows, (64, model.features)))
        begun = time.perf_counter()
        model.predictions(sample)
        self._row_seconds = (time.perf_counter() - begun) / len(sample)
        for accept in ACCEPTS:
            self.prove(accept, None)
        if not any(self._formats.values()):
            raise Unsuitable("the base writes its predictions in another way")

    def request(self, headers: Headers, body: bytes) -> Optional[ReadyRequest]:
        """The request, or None: the base has to answer. Reading it takes `reading` seconds at the most."""
        named = self._named(headers)
        answer = None if named is None else self._formats.get(self._kind(*named[1:]))  # type: ignore[arg-type]
        if named is None or answer is None or not body or len(body) > self._limit:
            return None
        rows = native_body.rows(body, named[0])
        if rows is None or rows.shape[1] != self._model.features:
            return None
        if answer.explained is not None and rows.nbytes > proof.DENSE:  # the booster would explain
            return None
        seconds = len(rows) * self._row_seconds
        if answer.explained is not None:
            seconds += answer.explained.cost.seconds(len(rows))
        return ReadyRequest(self, rows, answer, seconds)

    def answer(self, headers: Headers, body: bytes) -> Optional[Reply]:
        """(status, headers, body), or None: the base has to answer."""
        request = self.request(headers, body)
        return None if request is None else request.answer()

    @staticmethod
    def reading(size: int) -> float:
        """Seconds that reading a body of so many bytes takes at the most."""
        return size / FASTEST_READ

    def written(self, rows: np.ndarray, answer: ResponseFormat) -> Optional[bytes]:
        """The body for float32 rows (n, features), None where the base writes it; raises values.NotExplained."""
        written = native.predictions(self._model.predictions(rows), answer.layout)
        return answer.explained.behind(written, rows) if written is not None and answer.explained else written

    def unproved(self, headers: Headers) -> Optional[Tuple[Optional[str], Optional[str]]]:
        """The headers Accept and ATTRIBUTES of a kind of requests that may be proved, else None."""
        named = self._named(headers)
        kind = None if named is None else self._kind(*named[1:])
        if kind is None or kind in self._formats or len(self._formats) >= MOST_FORMATS:
            return None
        return named[1:] if named is not None and kind.accept in ACCEPTS + OTHER_ACCEPTS else None

    def _named(self, headers: Headers) -> Optional[Tuple[Optional[str], Optional[str], Optional[str]]]:
        """Content-Type, Accept and ATTRIBUTES of a request, None where one of them comes twice."""
        values: Dict[bytes, Optional[str]] = dict.fromkeys(self._names)
        for name, value in headers:
            if name in values:
                if values[name] is not None:
                    return None
                values[name] = value.decode("latin-1")
        content_type, accept, attributes = values.values()
        return content_type, accept, attributes

    def prove(self, accept: Optional[str], attributes: Optional[str]) -> None:
        """Let requests with such headers take the short way, where it gives the base's answer to rows of the proof."""
        kind = self._kind(accept, attributes)
        if kind is None or kind in self._formats:
            return
        self._formats[kind] = None
        try:
            self._formats[kind] = self._format(kind, accept, attributes)
        except Unsuitable as reason:
            logger.info("The feature fast: %s go the base's way: %s", kind, reason)
        except Exception as error:
            logger.exception("The feature fast: %s go the base's way: %s", kind, error)

    def _read_kind(self, accept: Optional[str], attributes: Optional[str]) -> Optional[RequestKind]:
        """None where the base refuses an option."""
        if self._explanations is None:
            return RequestKind(accept, None)
        try:
            return RequestKind(*self._explanations.options(accept, attributes))
        except BadOption:
            return None

    def _format(self, kind: RequestKind, accept: Optional[str], attributes: Optional[str]) -> Optional[ResponseFormat]:
        """How the base answers requests of a kind, one of which has these headers; None: not as the short way does."""
        rows = self._model.rows[np.isfinite(self._model.rows).all(axis=1)][:5]
        predictions = self._model.predictions(rows)
        headers, plain = self._base_answer(rows, kind.accept, OFF if self._explanations else None)
        layout = next((layout for layout in LAYOUTS if native.predictions(predictions, layout) == plain), None)
        if layout is None or kind.options is None:
            return None if layout is None else ResponseFormat(headers, layout)
        headers, explained = self._base_answer(rows, accept, attributes)
        if explained is None:
            return None
        mimetype = dict(headers)[b"content-type"].decode("latin-1").partition(";")[0]
        answer = ResponseFormat(headers, layout, self._explanations.explained(kind.options, mimetype))
        if self.written(rows, answer) != explained:
            raise Unsuitable("the base explains in another way")
        return answer

    def _base_answer(
        self, rows: np.ndarray, accept: Optional[str], attributes: Optional[str]
    ) -> Tuple[Headers, Optional[bytes]]:
        """What the base answers to these rows: its headers, and the body, None where the status is another than 200."""
        body = "\n".join(",".join(map(repr, row)) for row in rows.tolist()).encode("ascii")
        named = zip(self._names, (CSV, accept, attributes))
        scope = {"method": "POST", "path": "/invocations", "raw_path": b"/invocations", "query_string": b"",
                 "headers": [(name, text.encode("latin-1")) for name, text in named if text is not None]}  # fmt: skip
        status, headers, answer = wsgi.called(self._base, wsgi.environ_of(scope, body))
        return [
            (name, value) for name, value in headers if name != b"content-length"
        ], answer if status == 200 else None


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
    model = ProvedModel(boosters, formats, getattr(serve_utils.predict, "__self__", None))
    theirs = service.predict(data=xgboost.DMatrix(model.rows), content_type=CSV, model_format=service.format)
    ours = model.predictions(model.rows)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype or ours.tobytes() != theirs.tobytes():
        raise Unsuitable("its predictions are not the base's")
    way = ShortWay(base, model, config)
    logger.info("The feature fast: proved on %d rows in %.2f s", len(model.rows), time.perf_counter() - begun)
    return way
