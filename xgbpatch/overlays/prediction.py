"""The one hook of prediction: `serve_utils.predict` called with witnesses in the place of the boosters."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional, Tuple

import numpy as np
import xgboost

from . import (
    booster_json,
    contributions,
    cost,
    engine,
    limits,
    model_folder,
    request_data,
    selectable,
    shap_keys,
    witness,
)
from .contributions import Asked, NotExplained
from .explanation import Explanation, Wish
from .member import Member

logger = logging.getLogger(__name__)
_request = threading.local()


@dataclass(frozen=True)
class Evaluation:
    """One request's prediction: its matrix, and each member's booster and options, as the base used them."""

    dmatrix: Any
    members: Tuple[Asked, ...]


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
        self._members: weakref.WeakKeyDictionary[xgboost.Booster, Member] = weakref.WeakKeyDictionary()

    def predict(self, model: Any, model_format: Any, dmatrix: xgboost.DMatrix, *rest: Any, **named: Any) -> np.ndarray:
        """As the base's: same arguments, result and errors."""
        boosters = model if isinstance(model, list) else [model]
        members = [self.member(booster, form) for booster, form in zip(boosters, _each(model, model_format))]
        witnesses = [witness.Witness(booster, member.choice.answer) for booster, member in zip(boosters, members)]
        asked = witnesses if isinstance(model, list) else witnesses[0]
        prediction: np.ndarray = self._base(asked, model_format, dmatrix, *rest, **named)
        if getattr(_request, "seen", None) is not None:
            _request.seen.append(Evaluation(dmatrix, tuple(Asked(seen.booster, seen.options) for seen in witnesses)))
        return prediction

    def prepare(self, model: Any, model_format: Any, folder: Optional[str] = None) -> None:
        """Do at load what would delay a request, for every booster of a model that was loaded from `folder`."""
        for booster, form in zip(model if isinstance(model, list) else [model], _each(model, model_format)):
            self.member(booster, form, folder)

    def member(self, booster: xgboost.Booster, model_format: Any, folder: Optional[str] = None) -> Member:
        """What is known about `booster`; found out at the first call."""
        if booster not in self._members:
            self._members[booster] = self._examine(booster, model_format, folder)
        return self._members[booster]

    def _examine(self, booster: xgboost.Booster, model_format: Any, folder: Optional[str]) -> Member:
        """A model is asked to predict only where something has to be known before its first request."""
        wish = self._foreseen()
        if not self._settings.accelerated and wish is None:
            return Member(engine.choose(booster, {}, self._settings.engine), folder)
        try:
            probe = xgboost.DMatrix(np.full((1, booster_json.width(booster)), np.nan, dtype=np.float32))
            options = witness.options_of(self._base, booster, model_format, probe)
        except Exception as error:
            return Member(engine.booster_for("the model does not predict: {}".format(error)), folder)
        member = Member(engine.choose(booster, options, self._settings.engine), folder)
        if wish is not None:
            _measure(member, Asked(booster, options), wish)
        return member

    def _foreseen(self) -> Optional[Wish]:
        """The Wish of a request that asks for nothing itself, None where it is not explained."""
        keys, manner = selectable.keys(), self._settings.manner
        if not self._settings.shap and not keys:
            return None
        interactions = shap_keys.INTERACTIONS in keys if manner.interactions is None else manner.interactions
        wish: Wish = manner.wish(interactions)
        return wish

    def explain(self, evaluation: Evaluation, wish: Wish = Wish()) -> Explanation:  # noqa: B008
        """The explanation of a request that was predicted here; raises NotExplained.

        Of an ensemble: the mean of its members'.
        """
        try:
            return self._explain(evaluation, wish)
        except model_folder.ModelFolderError as error:
            raise NotExplained(500, "Unable to explain with this model: {}".format(error)) from error
        except ValueError as error:  # xgboost's own error is one too
            raise NotExplained(400, "Unable to explain payload provided: {}".format(error)) from error

    def _explain(self, evaluation: Evaluation, wish: Wish) -> Explanation:
        if len(evaluation.members) > 1:
            contributions.refuse_votes([asked.booster for asked in evaluation.members])
        members = [self._members[asked.booster] for asked in evaluation.members]
        pairs = list(zip(members, evaluation.members))
        rows = evaluation.dmatrix.num_row()
        total = sum((member.cost(rows, asked, wish) for member, asked in pairs), cost.NOTHING)
        numbers = max(contributions.numbers(asked.booster, wish) for asked in evaluation.members)
        limits.check(limits.Need(rows, total, numbers), self._settings.shap_seconds)
        found = [member.explain(evaluation.dmatrix, asked, wish) for member, asked in pairs]
        return Explanation(
            contributions.mean([values for values, _ in found]),
            members[0].names(evaluation.members[0].booster),
            contributions.mean([matrices for _, matrices in found]) if wish.interactions else None,
        )

    def describe(self, model: Any) -> str:
        """Which engine predicts with `model` and why, in one line."""
        boosters = model if isinstance(model, list) else [model]
        choices = [self._members[booster].choice for booster in boosters if booster in self._members]
        lines = ["{}; {}".format(choice.engine, choice.reason) for choice in choices]
        return " | ".join(" ".join(line.split()) for line in lines)


def _measure(member: Member, asked: Asked, wish: Wish) -> None:
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
