"""The one hook of prediction: who predicts, and who explains, for each model of a server.

`serve_utils.predict` is called with recording boosters in the place of the boosters.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
import weakref
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import xgboost

from . import request_data
from .model import accelerator, folder
from .model import booster as model_booster
from .model.accelerator import Choice
from .model.booster import PredictCall, Unsuitable
from .settings import Explanation, ShapOptions
from .shap import response, values
from .shap.values import NotExplained

logger = logging.getLogger(__name__)
_request = threading.local()
ROW_WIDTH = "row-width"
DESCRIPTION = 300  # characters; nginx drops an answer whose headers outgrow 4 KiB


class LoadedModel(object):
    """Of a booster in `folder` (None: not known), which it must not hold: nothing would ever be unloaded."""

    def __init__(self, choice: Choice, folder: Optional[str] = None):
        self.choice = choice
        self.folder = folder
        self._names: Optional[Tuple[str, ...]] = None
        self._outputs: Optional[Tuple[int, int, str]] = None
        self._native: Dict[str, Any] = {}
        self._methods: Dict[Tuple[ShapOptions, str], Tuple[values.Method, ...]] = {}
        self._refusals: Dict[Tuple[ShapOptions, str], Tuple[int, str]] = {}

    def names(self, booster: Any) -> Tuple[str, ...]:
        """The features' names; raises model_folder.ModelFolderError."""
        if self._names is None:
            self._names = folder.feature_names_of(booster, self.folder)
        return self._names

    def outputs(self, booster: Any) -> Tuple[int, int, str]:
        """The number of outputs, that of features, and the objective: read once, since xgboost writes them all anew."""
        if self._outputs is None:
            learner = model_booster.configuration(booster)["learner"]
            sizes = learner["learner_model_param"]
            outputs = max(1, int(sizes["num_class"]), int(sizes.get("num_target", 1)))
            self._outputs = (outputs, model_booster.width(booster), learner["objective"]["name"])
        return self._outputs

    def plan(self, dmatrix: Any, call: PredictCall, options: ShapOptions) -> List[Step]:
        """How each array of an Explanation is computed: the values, and the interactions where `options` have them.

        Raises ValueError, NotExplained and model_folder.ModelFolderError.
        """
        return [self._step(dmatrix, call, each) for each in _arrays(options)]

    def _step(self, dmatrix: Any, call: PredictCall, options: ShapOptions) -> Step:
        """By the quickest of the methods that take the request."""
        methods = self.methods(call, options)
        if not methods[0].preferred:
            count = dmatrix.num_row()
            methods = tuple(sorted(methods, key=lambda method: method.cost(call).seconds(count)))
        for method in methods:
            rows = method.rows(dmatrix, call)
            if rows is not None:
                return Step(method, rows, call)
        raise AssertionError("the booster's own method takes every request")

    def methods(self, call: PredictCall, options: ShapOptions) -> Tuple[values.Method, ...]:
        """What cannot be explained is found out once, too: reading the whole model takes its time."""
        kind = (options, repr(sorted(call.options.items())))  # a script may ask for another cut of the trees
        known = self._methods.get(kind)
        if known is None:
            if kind in self._refusals:
                raise NotExplained(*self._refusals[kind])
            try:
                known = values.methods(self._accelerator(call), self.folder, call, options)
            except NotExplained as refusal:
                self._refusals[kind] = (refusal.status, refusal.reason)
                raise
            self._methods[kind] = known
        return known

    def native_methods(self, call: PredictCall, options: ShapOptions) -> List[values.Method]:
        """The native library's, one an array of the explanation; raises Unsuitable, and as `methods` does."""
        engine = self._accelerator(call)
        if engine is None or engine.compares or engine.model.wavers:
            raise Unsuitable("the native library does not explain this model")
        preferred = [[each for each in self.methods(call, array) if each.preferred] for array in _arrays(options)]
        if not all(preferred):
            raise Unsuitable("the native library does not explain with these options")
        return [each[0] for each in preferred]

    def _accelerator(self, call: PredictCall) -> Any:
        """The engine that was asked for and proved; else the native library, which need not predict to explain."""
        chosen = self.choice.accelerator
        if chosen is not None and not chosen.compares:
            return chosen
        kind = repr(sorted(call.options.items()))
        if kind not in self._native:
            from .native import engine  # an image that does not explain never loads it

            self._native[kind] = engine.explaining(call.booster, call.options)
        return self._native[kind] or chosen


class Step(NamedTuple):
    """An array to be computed by `method` from its `rows`."""

    method: values.Method
    rows: Any
    call: PredictCall

    def compute(self, start: int, stop: int) -> np.ndarray:
        """Of the records from `start` to before `stop`; raises what the method raises."""
        return self.method.compute(request_data.part(self.rows, start, stop), self.call)


def _arrays(options: ShapOptions) -> List[ShapOptions]:
    """The options of each array of the explanation."""
    return [replace(options, interactions=False), options] if options.interactions else [options]


@dataclass(frozen=True)
class Evaluation:
    """One request's prediction: its matrix, how the base called each booster, and why its rows may be misread."""

    dmatrix: Any
    calls: Tuple[PredictCall, ...]
    misread: str = ""


@contextlib.contextmanager
def captured() -> Iterator[List[Evaluation]]:
    """A list that holds the Evaluation of the request handled inside the block, if it came to a prediction."""
    evaluations: List[Evaluation] = []
    _request.evaluations = evaluations
    try:
        yield evaluations
    finally:
        _request.evaluations = None


class Predictor(object):
    """The base's prediction with what the settings ask for. Boosters are known weakly: unloading one forgets it."""

    def __init__(self, settings: Any, base_predict: Callable[..., Any]):
        self._settings = settings
        self.base = base_predict
        self._models: weakref.WeakKeyDictionary[xgboost.Booster, LoadedModel] = weakref.WeakKeyDictionary()

    def predict(self, model: Any, model_format: Any, dmatrix: xgboost.DMatrix, *rest: Any, **named: Any) -> np.ndarray:
        """As the base's: same arguments, result and errors."""
        recorders = [
            model_booster.RecordingBooster(booster, self.model(booster, form).choice.answer)
            for booster, form in _members(model, model_format)
        ]
        stand_in = recorders if isinstance(model, list) else recorders[0]
        prediction: np.ndarray = self.base(stand_in, model_format, dmatrix, *rest, **named)
        if getattr(_request, "evaluations", None) is not None:
            calls = tuple(PredictCall(recorder.booster, recorder.options) for recorder in recorders)
            _request.evaluations.append(Evaluation(dmatrix, calls, self._misread(model, dmatrix)))
        return prediction

    def _misread(self, model: Any, dmatrix: Any) -> str:
        """The fix row-width refuses such rows, or makes them wide enough, before they are predicted."""
        if ROW_WIDTH in self._settings.fixes:
            return ""
        return request_data.complaint(model, dmatrix) or request_data.gapless(model, dmatrix)

    def prepare(self, model: Any, model_format: Any, folder: Optional[str] = None) -> None:
        """Do at load what would delay a request, for every booster of a model that was loaded from `folder`."""
        for booster, form in _members(model, model_format):
            self.model(booster, form, folder)

    def model(self, booster: xgboost.Booster, model_format: Any, folder: Optional[str] = None) -> LoadedModel:
        """What is known about `booster`; found out at the first call, and where another folder is named."""
        known = self._models.get(booster)
        if known is None or (folder is not None and folder != known.folder):
            self._models[booster] = self._load(booster, model_format, folder)
        return self._models[booster]

    def _load(self, booster: xgboost.Booster, model_format: Any, folder: Optional[str]) -> LoadedModel:
        """A model is asked to predict only where something has to be known before its first request."""
        settings, keys, shap_options = self._settings, response.known_keys(), None
        if settings.shap or keys:  # a request that asks for nothing itself is explained
            interactions = settings.response_options.interactions
            shap_options = settings.response_options.shap_options(
                response.INTERACTIONS in keys if interactions is None else interactions
            )
        if not settings.accelerated and shap_options is None:
            return LoadedModel(accelerator.choose(booster, {}, settings.engine), folder)
        try:
            options = model_booster.options_of(self.base, booster, model_format)
        except Exception as error:
            logger.exception("The model does not predict")
            return LoadedModel(accelerator.booster_for("the model does not predict: {}".format(error)), folder)
        model = LoadedModel(accelerator.choose(booster, options, settings.engine), folder)
        if shap_options is not None:
            try:
                for each in _arrays(shap_options):
                    model.methods(PredictCall(booster, options), each)
            except Exception as error:  # the request says why
                logger.warning("No contributions for this model: %s", error)
        model_booster.give_back()
        return model

    def explain(self, evaluation: Evaluation, options: ShapOptions = ShapOptions()) -> Explanation:  # noqa: B008
        """The explanation of a request that was predicted here; raises NotExplained.

        Of an ensemble: the mean of its members'.
        """
        calls, dmatrix = evaluation.calls, evaluation.dmatrix
        if evaluation.misread:
            raise NotExplained(400, "Unable to explain payload provided: {}".format(evaluation.misread))
        try:
            models = [self._models[call.booster] for call in calls]
            outputs = [model.outputs(call.booster) for model, call in zip(models, calls)]
            if len(calls) > 1:
                values.refuse_votes([objective for _, _, objective in outputs])
            begun = time.perf_counter()
            plans = [model.plan(dmatrix, call, options) for model, call in zip(models, calls)]
            costs = (step.method.cost(step.call) for plan in plans for step in plan)
            rows, cost = dmatrix.num_row(), sum(costs, values.NOTHING)
            numbers = max(values.numbers(count, width, options) for count, width, _ in outputs)
            values.check_limits(rows, cost, numbers, self._settings.shap_seconds)
            values.check_spent(time.perf_counter() - begun, cost.seconds(rows), self._settings.shap_seconds)

            def compute(start: int, stop: int) -> List[np.ndarray]:
                arrays = [[step.compute(start, stop) for step in plan] for plan in plans]
                return [values.mean(members) for members in zip(*arrays)]

            contributions, *interactions = values.in_slices(compute, rows, cost, self._settings.shap_seconds)
            names = models[0].names(calls[0].booster)
            return Explanation(contributions, names, interactions[0] if interactions else None)
        except folder.ModelFolderError as error:
            raise NotExplained(500, "Unable to explain with this model: {}".format(error)) from error
        except ValueError as error:  # xgboost's own error is one too
            raise NotExplained(400, "Unable to explain payload provided: {}".format(error)) from error

    def native_methods(
        self, calls: Sequence[PredictCall], options: ShapOptions
    ) -> Tuple[List[List[values.Method]], int]:
        """(Those by which `explain` gets the arrays of each member, how many numbers explain a record).

        Raises Unsuitable where the native library does not explain it all, NotExplained and ValueError.
        """
        models = [self._models[call.booster] for call in calls]
        outputs = [model.outputs(call.booster) for model, call in zip(models, calls)]
        numbers = max(values.numbers(count, width, options) for count, width, _ in outputs)
        return [model.native_methods(call, options) for model, call in zip(models, calls)], numbers

    def describe(self, model: Any) -> str:
        """Which engine predicts with `model` and why, as short ASCII for a header; the log has each reason whole.

        Of an ensemble: how many members each engine has, and one reason, why a booster predicts where one does.
        """
        boosters = model if isinstance(model, list) else [model]
        choices = [self._models[booster].choice for booster in boosters if booster in self._models]
        if not choices:
            return ""
        counts = collections.Counter(choice.engine for choice in choices)
        engines = list(counts) if len(boosters) == 1 else ["{} {}".format(*item) for item in sorted(counts.items())]
        reason = min(choices, key=lambda choice: choice.engine).reason
        text = " ".join("{}; {}".format(", ".join(engines), reason).split())
        text = "".join(character if " " <= character <= "~" else "?" for character in text[: DESCRIPTION + 1])
        return text if len(text) <= DESCRIPTION else text[: DESCRIPTION - 3] + "..."


def _members(model: Any, model_format: Any) -> List[Tuple[xgboost.Booster, Any]]:
    """(booster, format) of each member of an ensemble, or of the one model."""
    return list(zip(model, model_format)) if isinstance(model, list) else [(model, model_format)]


def install(settings: Any, serve_utils: Any, encoder: Any) -> Predictor:
    """Hook the base's late-bound names once; returns the Predictor that now stands in `serve_utils.predict`."""
    standing = getattr(serve_utils.predict, "__self__", None)
    if isinstance(standing, Predictor):
        return standing
    predictor = Predictor(settings, serve_utils.predict)
    serve_utils.predict = predictor.predict
    serve_utils.get_loaded_booster = _preparing(serve_utils.get_loaded_booster, predictor)
    request_data.record(encoder, serve_utils, late=settings.accelerated)
    if settings.accelerated:
        from .native import body  # an image that does not name an engine never loads it

        serve_utils.parse_content_data = body.reading(serve_utils.parse_content_data)
    return predictor


def _preparing(load: Callable[..., Any], predictor: Predictor) -> Callable[..., Any]:
    def get_loaded_booster(model_dir: str, *arguments: Any, **named: Any) -> Any:
        model, model_format = load(model_dir, *arguments, **named)
        predictor.prepare(model, model_format, model_dir)
        return model, model_format

    return get_loaded_booster
