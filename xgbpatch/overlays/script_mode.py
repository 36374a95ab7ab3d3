"""For your own inference script: the explanations and the engine that algorithm mode has, as functions.

    from xgbpatch_overlays import script_mode

Nothing here hooks a server; what is not called changes nothing.
"""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import Any, Optional

import numpy as np
import xgboost
from sagemaker_containers.beta.framework import encoders
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

from . import predictor as prediction
from . import request_data, settings
from .model import booster as model_booster
from .model import choice as model_choice
from .model.booster import PredictCall
from .shap import response
from .shap.request import Explanation
from .shap.values import NotExplained

__all__ = ["Accelerated", "Explanation", "NotExplained", "accelerate", "append_csv", "append_json", "explain", "matrix"]

PREDICT = {"validate_features": False}  # as the base's own predict_fn asks


class Accelerated(model_booster.RecordingBooster):
    """A booster whose `predict` takes the proved oneDAL path where it can; everything else is the booster's.

    It can where `predict` has the options of `accelerate`, for a matrix whose numbers are known (`matrix`, or the
    base's own input_fn). `engine` and `reason` say what was chosen and why, `folder` where the model came from.
    """

    def __init__(self, booster: xgboost.Booster, choice: model_choice.Choice, folder: Optional[str]):
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
    return Accelerated(booster, model_choice.choose(booster, dict(PREDICT, **options), engine), folder)


def matrix(data: Any) -> xgboost.DMatrix:
    """A DMatrix of an array or CSR matrix (n, features) that can be widened, explained and accelerated."""
    return request_data.RecordedDMatrix(data)


def explain(model: Any, dmatrix: xgboost.DMatrix, folder: Optional[str] = None, **shap_options: Any) -> Explanation:
    """Exact tree SHAP of what `model.predict(dmatrix)` returns; `model` is a booster or Accelerated, or a list of them.

    `shap_options`: `space`, `approximate` (XGBPATCH_SHAP_* where they are not given), `interactions`, and `options`, a
    dict of what else `predict` is asked with (`iteration_range`, `ntree_limit`). Feature names and background rows are
    read in `folder`, where the model was loaded from. Raises NotExplained with an HTTP status and a reason.
    """
    options = dict(PREDICT, **shap_options.pop("options", {}))
    calls = []
    for member in model if isinstance(model, list) else [model]:
        booster, known_folder = (member.booster, member.folder) if isinstance(member, Accelerated) else (member, None)
        _predictor().model(booster, serve_utils.XGB_FORMAT, folder or known_folder)
        calls.append(PredictCall(booster, options))
    defaults = settings.read(os.environ).response_options.shap_options(interactions=False)
    return _predictor().explain(prediction.Evaluation(dmatrix, tuple(calls)), replace(defaults, **shap_options))


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
