"""The one hook of prediction: `serve_utils.predict` called with witnesses in the place of the boosters."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Mapping, Tuple

import numpy as np
import xgboost

from . import booster_json, contributions, cost, engine, request_data, witness

logger = logging.getLogger(__name__)
_request = threading.local()


@dataclass(frozen=True)
class Evaluation:
    """One request's prediction: its matrix, and each member's booster and options, as the base used them."""

    dmatrix: Any
    members: Tuple[Any, ...]


@dataclass(frozen=True)
class Member:
    """What was found out about a booster when it was loaded."""

    choice: engine.Choice
    cost: Any


@contextlib.contextmanager
def captured() -> Iterator[List[Evaluation]]:
    """A list that holds the Evaluation of the request handled inside the block, if it came to a prediction."""
    _request.seen = seen = []
    try:
        yield seen
    finally:
        _request.seen = None


class Predictor(object):
    """The base's prediction with what the settings ask for. Boosters are known weakly: unloading one forgets it."""

    def __init__(self, settings: Any, base_predict: Callable[..., Any]):
        self._settings = settings
        self._base = base_predict
        self._members = weakref.WeakKeyDictionary()

    def predict(self, model: Any, model_format: Any, dmatrix: xgboost.DMatrix, *rest, **named) -> np.ndarray:
        """As the base's: same arguments, result and errors."""
        boosters = model if isinstance(model, list) else [model]
        members = [self.member(booster, form) for booster, form in zip(boosters, _each(model, model_format))]
        witnesses = [witness.Witness(booster, member.choice.answer) for booster, member in zip(boosters, members)]
        asked = witnesses if isinstance(model, list) else witnesses[0]
        prediction = self._base(asked, model_format, dmatrix, *rest, **named)
        if getattr(_request, "seen", None) is not None:
            _request.seen.append(Evaluation(dmatrix, tuple((seen.booster, seen.options) for seen in witnesses)))
        return prediction

    def prepare(self, model: Any, model_format: Any) -> None:
        """Do the work of `member` for every booster of a model that has just been loaded."""
        for booster, form in zip(model if isinstance(model, list) else [model], _each(model, model_format)):
            self.member(booster, form)

    def member(self, booster: xgboost.Booster, model_format: Any) -> Member:
        """What is known about `booster`; found out at the first call."""
        if booster not in self._members:
            self._members[booster] = self._examine(booster, model_format)
        return self._members[booster]

    def _examine(self, booster: xgboost.Booster, model_format: Any):
        try:
            probe = xgboost.DMatrix(np.full((1, booster_json.width(booster)), np.nan, dtype=np.float32))
            options = witness.options_of(self._base, booster, model_format, probe)
        except Exception as error:
            return Member(engine.booster_for("the model does not predict: {}".format(error)), None)
        return Member(engine.choose(booster, options, self._settings.engine), self._cost(booster, options))

    def _cost(self, booster: xgboost.Booster, options: Mapping[str, Any]):
        """None where contributions are off, or fail: then the request says why."""
        try:
            return cost.measure(booster, options) if self._settings.shap else None
        except Exception as error:
            logger.warning("No contributions for this model: %s", error)
            return None

    def explain(self, evaluation: Any) -> np.ndarray:
        """The contributions of a request that was predicted here; raises NotExplained."""
        costs = [self._members[booster].cost for booster, _ in evaluation.members]
        if all(costs):
            contributions.check_time(evaluation, costs, self._settings.shap_seconds)
        return contributions.contributions(evaluation)

    def describe(self, model: Any) -> str:
        """Which engine predicts with `model` and why, in one line."""
        boosters = model if isinstance(model, list) else [model]
        choices = [self._members[booster].choice for booster in boosters if booster in self._members]
        lines = ["{}; {}".format(choice.engine, choice.reason) for choice in choices]
        return " | ".join(" ".join(line.split()) for line in lines)


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


def _preparing(load: Callable[..., Any], predictor: Predictor):
    def get_loaded_booster(*arguments, **named):
        model, model_format = load(*arguments, **named)
        predictor.prepare(model, model_format)
        return model, model_format

    return get_loaded_booster


def _each(model: Any, model_format: Any):
    return model_format if isinstance(model, list) else [model_format]
