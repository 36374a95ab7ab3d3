"""For your own inference script: the explanations and the engine that algorithm mode has, as functions.

    from xgbpatch_overlays import script_mode

Nothing here hooks a server; what is not called changes nothing.
"""

from __future__ import annotations

import functools
import inspect
import os
from dataclasses import replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import xgboost
from sagemaker_containers.beta.framework import encoders
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

from . import predictor as prediction
from . import request_data, settings
from .model import booster as model_booster
from .model.accelerator import Choice, choose
from .model.booster import PredictCall
from .settings import MARGIN, Explanation, quoted
from .shap import response
from .shap.values import NotExplained

__all__ = ["Accelerated", "Explanation", "NotExplained", "accelerate", "append_csv", "append_json", "explain", "matrix"]

PREDICT = {"validate_features": False}  # as the base's own predict_fn asks
OPTIONS = ("validate_features", "output_margin", "iteration_range", "ntree_limit")  # of `predict`, that are explained
TOLERANCE = 1e-4  # of the values' size: they are single-precision numbers, and so is what they add up to


class Accelerated(model_booster.RecordingBooster):
    """A booster whose `predict` takes the proved oneDAL path where it can; everything else is the booster's.

    It can where `predict` has the options of `accelerate`, for a matrix whose numbers are known (`matrix`, or the
    base's own input_fn). `engine` and `reason` say what was chosen and why, `folder` where the model came from.
    """

    def __init__(self, booster: xgboost.Booster, choice: Choice, folder: Optional[str]):
        super(Accelerated, self).__init__(booster, choice.answer)
        self.engine = choice.engine
        self.reason = choice.reason
        self.folder = folder

    def predict(self, data: Any, **options: Any) -> np.ndarray:
        """The booster's prediction, of a DMatrix or of an array (n, features)."""
        return super(Accelerated, self).predict(data if isinstance(data, xgboost.DMatrix) else matrix(data), **options)


def accelerate(booster: xgboost.Booster, folder: Optional[str] = None, **options: Any) -> Accelerated:
    """Convert and prove a booster loaded from `folder`, for `predict(data, validate_features=False, **options)`.

    The engine is XGBPATCH_ENGINE's, "auto" where it is not set; without the feature daal4py the booster predicts.
    """
    request_data.record(encoder)
    engine = settings.read(os.environ).engine or "auto"
    return Accelerated(booster, choose(booster, dict(PREDICT, **options), engine), folder)


def matrix(data: Any, **options: Any) -> xgboost.DMatrix:
    """A DMatrix of an array or CSR matrix (n, features) that can be widened, explained and accelerated.

    `options` are those of a DMatrix, such as `base_margin` or `feature_names`. `data` is copied: a script may use its
    array again.
    """
    return request_data.RecordedDMatrix(data.copy() if hasattr(data, "copy") else data, **options)


def explain(model: Any, dmatrix: xgboost.DMatrix, folder: Optional[str] = None, **shap_options: Any) -> Explanation:
    """Exact tree SHAP of what `model.predict(dmatrix)` returns; `model`: a booster, xgboost's estimator, Accelerated.

    A list of them is explained by the mean. Of an estimator, such as XGBClassifier, the rounds are explained with which
    it predicts, its best iteration where it has one. `shap_options`: `space`, `approximate` (XGBPATCH_SHAP_* where
    they are not given), `interactions`, and `options`, a dict of what else `predict` is asked with (`iteration_range`,
    `ntree_limit`). Feature names and background rows are read in `folder`, where the model was loaded from. Raises
    NotExplained with an HTTP status and a reason, always where the values would not add up to what is predicted.
    """
    if not isinstance(dmatrix, xgboost.DMatrix):
        reason = "the rows are a {}: give matrix(rows), or a DMatrix".format(type(dmatrix).__name__)
        raise NotExplained(400, "Unable to explain: " + reason)
    predict_options = shap_options.pop("options", {})
    unknown = [name for name in predict_options if name not in OPTIONS]
    if unknown:
        reason = "predict with {} has no explanation; explained: {}".format(quoted(unknown[0]), ", ".join(OPTIONS))
        raise NotExplained(400, "Unable to explain: " + reason)
    calls = []
    for member in model if isinstance(model, list) else [model]:
        booster, cut = _booster(member)
        _predictor().model(booster, serve_utils.XGB_FORMAT, folder or getattr(member, "folder", None))
        calls.append(PredictCall(booster, dict(PREDICT, **dict(cut, **predict_options))))
    defaults = settings.read(os.environ).response_options.shap_options(interactions=False)
    options = replace(defaults, **shap_options)
    explanation = _predictor().explain(prediction.Evaluation(dmatrix, tuple(calls)), options)
    _hold_to_predictions(explanation.values, dmatrix, calls, output_margin=options.space == MARGIN)
    return replace(explanation, names=_names(explanation.names, dmatrix, [call.booster for call in calls]))


def _booster(model: Any) -> Tuple[xgboost.Booster, Dict[str, Any]]:
    """The booster of a model, and the options with which an estimator asks it to predict; raises NotExplained."""
    if isinstance(model, Accelerated):
        return model.booster, {}
    if isinstance(model, xgboost.Booster):
        return model, {}
    if not isinstance(model, xgboost.XGBModel):
        reason = "a {} is neither a booster nor an estimator of xgboost".format(type(model).__name__)
        if hasattr(model, "steps"):
            reason += "; transform the rows by the steps before its last, and explain the last, `pipeline[-1]`"
        raise NotExplained(400, "Unable to explain: " + reason)
    try:
        booster = model.get_booster()
    except Exception as error:
        raise NotExplained(400, "Unable to explain: {}".format(error)) from error
    if hasattr(model, "_get_iteration_range"):
        return booster, {"iteration_range": model._get_iteration_range(None)}
    limit = inspect.signature(model.predict).parameters["ntree_limit"].default  # before 1.4; of XGBRanker 0, all
    return booster, {"ntree_limit": getattr(model, "best_ntree_limit", 0) if limit is None else limit}


def _hold_to_predictions(
    contributions: np.ndarray, dmatrix: xgboost.DMatrix, calls: Sequence[PredictCall], output_margin: bool
) -> None:
    """Raise NotExplained (400) where the values of a row do not add up to what is predicted of it.

    xgboost 3 for one predicts rows that are narrower than the model otherwise than their cells say.
    """
    options = {"output_margin": True} if output_margin else {}
    predicted = [call.booster.predict(dmatrix, **dict(call.options, **options)) for call in calls]
    expected = np.mean(predicted, axis=0, dtype=np.float64)
    sums = contributions.sum(axis=-1, dtype=np.float64)
    allowed = TOLERANCE * np.maximum(1, np.abs(contributions).sum(axis=-1, dtype=np.float64))
    if sums.shape != expected.shape or not np.all(np.abs(sums - expected) <= allowed):
        width, columns = model_booster.width(calls[0].booster), dmatrix.num_col()
        reason = "SHAP values of these rows do not add up to what xgboost predicts of them"
        if columns < width:
            reason += "; they have {} columns, and the model has {}: send all of them".format(columns, width)
        raise NotExplained(400, "Unable to explain: " + reason)


def _names(names: Tuple[str, ...], dmatrix: xgboost.DMatrix, boosters: List[xgboost.Booster]) -> Tuple[str, ...]:
    """`names` of the model, or those that the rows carry where it has none; raises NotExplained (400) where they clash.

    Prediction goes by position, so columns in another order than the model's are misread.
    """
    numbered = tuple("f{}".format(number) for number in range(len(names)))
    carried = tuple(dmatrix.feature_names or ())
    if not carried or carried == numbered[: len(carried)]:
        return names
    if names == numbered:
        return carried + numbered[len(carried) :]
    own = any(tuple(booster.feature_names or ()) == names for booster in boosters)
    if carried != names[: len(carried)] and (own or set(carried) <= set(names)):
        first = next(number for number, pair in enumerate(zip(carried, names)) if pair[0] != pair[1])
        reason = "column {} of the rows is {}, the model's is {}".format(
            first, quoted(carried[first]), quoted(names[first])
        )
        raise NotExplained(400, "Unable to explain: " + reason)
    return names


def append_csv(predictions: Any, explanation: Explanation, top_k: Optional[int] = None, header: bool = False) -> str:
    """The layout append: `prediction,base_value,phi_1,...` a record. `predictions` (n,), (n, K), or CSV text."""
    text = predictions if isinstance(predictions, str) else encoders.encode(predictions, "text/csv")
    write = response.to_lines(text, _appended_keys(explanation, top_k, header))
    return write(len(explanation.values)).decode("utf-8")


def append_json(predictions: Any, explanation: Explanation, top_k: Optional[int] = None) -> str:
    """`{"predictions": [{"score", "base_value", "shap_values"}]}`; `predictions` (n,) or (n, K)."""
    text = serve_utils.encode_predictions_as_json(np.asarray(predictions).tolist())
    write = response.to_json(text, _appended_keys(explanation, top_k))
    return write(len(explanation.values)).decode("utf-8")


def _appended_keys(explanation: Explanation, top_k: Optional[int], header: bool = False) -> response.AppendedKeys:
    keys = [response.BASE_VALUE, response.TOP_K if top_k else response.VALUES]
    if explanation.interactions is not None:
        keys.append(response.INTERACTIONS)
    return response.AppendedKeys(response.KeyValues(explanation, top_k), tuple(keys), header)


@functools.lru_cache(maxsize=None)
def _predictor() -> prediction.Predictor:
    """It explains and never converts: `accelerate` does that, once, where it is called."""
    return prediction.Predictor(replace(settings.read(os.environ), shap=False, engine=None), serve_utils.predict)
