"""Multi-model endpoints: `serve` hands the model server our handler, and the handler explains its answers."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from sagemaker_containers.beta.framework import env
from sagemaker_inference import content_types
from sagemaker_inference.errors import BaseInferenceToolkitError
from sagemaker_xgboost_container import encoder, serving, serving_mms
from sagemaker_xgboost_container.algorithm_mode import handler_service, serve_utils

from . import contributions, prediction, settings, shap_output

HANDLER = __name__.rpartition(".")[0] + ".handler"
BaseInferenceHandler = handler_service.HandlerService.DefaultXGBoostAlgoModeInferenceHandler


def main() -> Any:
    """The command `serve`: the base's, with our handler where a feature is on in a multi-model endpoint."""
    try:
        asked = settings.read(os.environ)
    except settings.SettingsError as error:
        sys.exit(str(error))
    if asked.active and serving.is_multi_model() and env.ServingEnv().module_name is None:
        serving_mms.ALGO_HANDLER_SERVICE = HANDLER
    return serving.serving_entrypoint()


@dataclass(frozen=True)
class Explained:
    """A prediction and its contributions, between two functions of the handler."""

    prediction: Any
    values: Any


def inference_handler() -> type:
    """Hook prediction in this worker, and return the class of the inference handler it needs."""
    asked = settings.read(os.environ)
    predictor = prediction.install(asked, serve_utils, encoder)
    if not asked.shap:
        return BaseInferenceHandler
    return type("InferenceHandler", (ExplainingHandler,), {"predictor": predictor})


class ExplainingHandler(BaseInferenceHandler):
    """The base's inference handler; SHAP values follow the base's own text of each record."""

    predictor = None

    def default_predict_fn(self, data: Any, model: Any) -> Explained:
        """An Explained; raises what the base raises, and the toolkit's error where there is no explanation."""
        with prediction.captured() as seen:
            predicted = super(ExplainingHandler, self).default_predict_fn(data, model)
        try:
            return Explained(predicted, self.predictor.explain(seen[-1]))
        except contributions.NotExplained as refusal:
            raise BaseInferenceToolkitError(refusal.status, refusal.reason, refusal.reason) from refusal

    def default_output_fn(self, prediction: Any, accept: str) -> bytes:
        """CSV: one line a record. JSON: `{"predictions": [{"score", "base_value", "shap_values"}]}`. bytes."""
        encode = super(ExplainingHandler, self).default_output_fn
        if accept.lower() == content_types.JSON:
            scores = json.loads(encode(prediction.prediction, accept))
            text = serve_utils.encode_predictions_as_json(scores)
            return shap_output.append_to_json(text, prediction.values).encode("utf-8")
        records = range(len(prediction.prediction))
        lines = [encode(prediction.prediction[i : i + 1], accept).decode("utf-8").rstrip("\n") for i in records]
        return shap_output.append_to_lines("\n".join(lines) + "\n", prediction.values).encode("utf-8")
