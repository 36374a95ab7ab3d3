"""The one hook of prediction: who predicts, and who explains, for each model of a server."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import numpy as np
import xgboost

from . import request_data, witness
from .model import booster as model_booster
from .model import choice as model_choice
from .model import folder
from .model.choice import Choice
from .shap import methods, response, values
from .shap.request import Explanation, ShapOptions
from .shap.values import NotExplained, PredictCall


class LoadedModel(object):
    """Of a booster in `folder` (None: not known), which it must not hold: nothing would ever be unloaded."""

    def __init__(self, choice: Choice, folder: Optional[str] = None):
        self.choice = choice
        self.folder = folder
        self._names: Optional[Tuple[str, ...]] = None
        self._ways: Dict[ShapOptions, Tuple[methods.Method, ...]] = {}
        self._refusals: Dict[ShapOptions, Tuple[int, str]] = {}

    def names(self, booster: Any) -> Tuple[str, ...]:
        """The features' names; raises model_folder.ModelFolderError."""
        if self._names is None:
            self._names = folder.feature_names_of(booster, self.folder)
        return self._names

    def cost(self, rows: int, asked: PredictCall, wish: ShapOptions) -> values.Cost:
        """The Cost of explaining `rows` records, measured at the first call; raises what `explain` raises."""
        return sum((self._way(rows, asked, array).cost for array in _arrays(wish)), values.NOTHING)

    def explain(self, dmatrix: Any, asked: PredictCall, wish: ShapOptions) -> Tuple[np.ndarray, Any]:
        """(values, interactions or None) as in an Explanation.

        Raises ValueError, NotExplained and model_folder.ModelFolderError.
        """
        found = [self._array(dmatrix, asked, array) for array in _arrays(wish)]
        return found[0], found[1] if wish.interactions else None

    def _array(self, dmatrix: Any, asked: PredictCall, array: ShapOptions) -> np.ndarray:
        found = self._way(dmatrix.num_row(), asked, array).compute(dmatrix, asked)
        return methods.native(dmatrix, asked, array) if found is None else found

    def _way(self, rows: int, asked: PredictCall, array: ShapOptions) -> methods.Method:
        if array in self._refusals:
            raise NotExplained(*self._refusals[array])
        if array not in self._ways:
            self._ways[array] = self._found(asked, array)
        return min(self._ways[array], key=lambda way: way.cost.seconds(rows))

    def _found(self, asked: PredictCall, array: ShapOptions) -> Tuple[methods.Method, ...]:
        """What cannot be explained is found out once, too: reading the whole model takes its time."""
        try:
            return methods.methods(methods._Candidates(self.choice.accelerator, self.folder), asked, array)
        except NotExplained as refusal:
            self._refusals[array] = (refusal.status, refusal.reason)
            raise


def _arrays(wish: ShapOptions) -> List[ShapOptions]:
    """One wish for each array of the explanation."""
    alone = replace(wish, interactions=False)
    return [alone, wish] if wish.interactions else [alone]


# The one hook of prediction: `serve_utils.predict` called with recording boosters in the place of the boosters.


logger = logging.getLogger(__name__)
_request = threading.local()


@dataclass(frozen=True)
class Evaluation:
    """One request's prediction: its matrix, and each member's booster and options, as the base used them."""

    dmatrix: Any
    members: Tuple[PredictCall, ...]


@contextlib.contextmanager
def captured() -> Iterator[List[Evaluation]]:
    """A list that holds the Evaluation of the request handled inside the block, if it came to a prediction."""
    seen: List[Evaluation] = []
    _request.seen = seen
    try:
        yield seen
    finally:
        _request.seen = None


class Predictor(object):
    """The base's prediction with what the settings ask for. Boosters are known weakly: unloading one forgets it."""

    def __init__(self, settings: Any, base_predict: Callable[..., Any]):
        self._settings = settings
        self._base = base_predict
        self._members: weakref.WeakKeyDictionary[xgboost.Booster, LoadedModel] = weakref.WeakKeyDictionary()

    def predict(self, model: Any, model_format: Any, dmatrix: xgboost.DMatrix, *rest: Any, **named: Any) -> np.ndarray:
        """As the base's: same arguments, result and errors."""
        boosters = model if isinstance(model, list) else [model]
        members = [self.member(booster, form) for booster, form in zip(boosters, _each(model, model_format))]
        witnesses = [
            witness.RecordingBooster(booster, member.choice.answer) for booster, member in zip(boosters, members)
        ]
        asked = witnesses if isinstance(model, list) else witnesses[0]
        prediction: np.ndarray = self._base(asked, model_format, dmatrix, *rest, **named)
        if getattr(_request, "seen", None) is not None:
            _request.seen.append(
                Evaluation(dmatrix, tuple(PredictCall(seen.booster, seen.options) for seen in witnesses))
            )
        return prediction

    def prepare(self, model: Any, model_format: Any, folder: Optional[str] = None) -> None:
        """Do at load what would delay a request, for every booster of a model that was loaded from `folder`."""
        for booster, form in zip(model if isinstance(model, list) else [model], _each(model, model_format)):
            self.member(booster, form, folder)

    def member(self, booster: xgboost.Booster, model_format: Any, folder: Optional[str] = None) -> LoadedModel:
        """What is known about `booster`; found out at the first call."""
        if booster not in self._members:
            self._members[booster] = self._examine(booster, model_format, folder)
        return self._members[booster]

    def _examine(self, booster: xgboost.Booster, model_format: Any, folder: Optional[str]) -> LoadedModel:
        """A model is asked to predict only where something has to be known before its first request."""
        wish = self._foreseen()
        if not self._settings.accelerated and wish is None:
            return LoadedModel(model_choice.choose(booster, {}, self._settings.engine), folder)
        try:
            probe = xgboost.DMatrix(np.full((1, model_booster.width(booster)), np.nan, dtype=np.float32))
            options = witness.options_of(self._base, booster, model_format, probe)
        except Exception as error:
            return LoadedModel(model_choice.booster_for("the model does not predict: {}".format(error)), folder)
        member = LoadedModel(model_choice.choose(booster, options, self._settings.engine), folder)
        if wish is not None:
            _measure(member, PredictCall(booster, options), wish)
        return member

    def _foreseen(self) -> Optional[ShapOptions]:
        """The ShapOptions of a request that asks for nothing itself, None where it is not explained."""
        keys, manner = response.known_keys(), self._settings.manner
        if not self._settings.shap and not keys:
            return None
        interactions = response.INTERACTIONS in keys if manner.interactions is None else manner.interactions
        wish: ShapOptions = manner.wish(interactions)
        return wish

    def explain(self, evaluation: Evaluation, wish: ShapOptions = ShapOptions()) -> Explanation:  # noqa: B008
        """The explanation of a request that was predicted here; raises NotExplained.

        Of an ensemble: the mean of its members'.
        """
        try:
            return self._explain(evaluation, wish)
        except folder.ModelFolderError as error:
            raise NotExplained(500, "Unable to explain with this model: {}".format(error)) from error
        except ValueError as error:  # xgboost's own error is one too
            raise NotExplained(400, "Unable to explain payload provided: {}".format(error)) from error

    def _explain(self, evaluation: Evaluation, wish: ShapOptions) -> Explanation:
        if len(evaluation.members) > 1:
            values.refuse_votes([asked.booster for asked in evaluation.members])
        members = [self._members[asked.booster] for asked in evaluation.members]
        pairs = list(zip(members, evaluation.members))
        rows = evaluation.dmatrix.num_row()
        total = sum((member.cost(rows, asked, wish) for member, asked in pairs), values.NOTHING)
        numbers = max(values.numbers(asked.booster, wish) for asked in evaluation.members)
        values.check_memory(values.MemoryNeed(rows, total, numbers), self._settings.shap_seconds)
        found = [member.explain(evaluation.dmatrix, asked, wish) for member, asked in pairs]
        return Explanation(
            values.mean([values for values, _ in found]),
            members[0].names(evaluation.members[0].booster),
            values.mean([matrices for _, matrices in found]) if wish.interactions else None,
        )

    def describe(self, model: Any) -> str:
        """Which engine predicts with `model` and why, in one line."""
        boosters = model if isinstance(model, list) else [model]
        choices = [self._members[booster].choice for booster in boosters if booster in self._members]
        lines = ["{}; {}".format(choice.engine, choice.reason) for choice in choices]
        return " | ".join(" ".join(line.split()) for line in lines)


def _measure(member: LoadedModel, asked: PredictCall, wish: ShapOptions) -> None:
    """Where it fails, the request says why."""
    try:
        member.cost(1, asked, wish)
    except Exception as error:
        logger.warning("No contributions for this model: %s", error)


def install(settings: Any, serve_utils: Any, encoder: Any) -> Predictor:
    """Hook the base's late-bound names once; returns the Predictor that now stands in `serve_utils.predict`."""
    standing = getattr(serve_utils.predict, "__self__", None)
    if isinstance(standing, Predictor):
        return standing
    predictor = Predictor(settings, serve_utils.predict)
    serve_utils.predict = predictor.predict
    serve_utils.get_loaded_booster = _preparing(serve_utils.get_loaded_booster, predictor)
    request_data.record(encoder, serve_utils)
    return predictor


def _preparing(load: Callable[..., Any], predictor: Predictor) -> Callable[..., Any]:
    def get_loaded_booster(model_dir: str, *arguments: Any, **named: Any) -> Any:
        model, model_format = load(model_dir, *arguments, **named)
        predictor.prepare(model, model_format, model_dir)
        return model, model_format

    return get_loaded_booster


def _each(model: Any, model_format: Any) -> Any:
    return model_format if isinstance(model, list) else [model_format]
