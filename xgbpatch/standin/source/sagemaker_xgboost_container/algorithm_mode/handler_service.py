"""Multi-model endpoints in algorithm mode."""

import os

from sagemaker_inference import default_inference_handler, encoder
from sagemaker_inference.default_handler_service import DefaultHandlerService

from sagemaker_xgboost_container.algorithm_mode import inference_errors, serve_utils
from sagemaker_xgboost_container.mms_patch.mms_transformer import XGBMMSTransformer

SAGEMAKER_BATCH = os.getenv("SAGEMAKER_BATCH")


class HandlerService(DefaultHandlerService):
    """What the model server runs; it must be the only class that this module defines."""

    class DefaultXGBoostAlgoModeInferenceHandler(default_inference_handler.DefaultInferenceHandler):
        """The steps of a request; every failure has an error with a status, which the transformer never delivers."""

        def default_model_fn(self, model_dir):
            """(booster, format), or two lists of an ensemble; raises an error that says twice what it is."""
            try:
                return serve_utils.get_loaded_booster(model_dir, serve_utils.is_ensemble_enabled())
            except Exception as e:
                raise inference_errors.ModelLoadInferenceError("Unable to load model: {}".format(e)) from e

        def default_input_fn(self, input_data, input_content_type):
            """(DMatrix, type); raises NoContentInferenceError or UnsupportedMediaTypeInferenceError."""
            if not input_data:
                raise inference_errors.NoContentInferenceError()
            try:
                return serve_utils.parse_content_data(input_data, input_content_type)
            except Exception as e:
                raise inference_errors.UnsupportedMediaTypeInferenceError(str(e)) from e

        def default_predict_fn(self, data, model):
            """Predictions, an ensemble's by mean whatever its objective; raises BadRequestInferenceError."""
            booster, model_format = model
            dtest, content_type = data
            try:
                return serve_utils.predict(booster, model_format, dtest, content_type)
            except Exception as e:
                raise inference_errors.BadRequestInferenceError(str(e)) from e

        def default_output_fn(self, prediction, accept):
            """A JSON array (text), or one line of CSV (bytes); batch transform gets a line a record.

            "json" passes as a type and then fails, as in the image.
            """
            kind = accept.lower()
            if kind not in ("text/csv", "csv", "application/json", "json"):
                raise inference_errors.UnsupportedMediaTypeInferenceError(
                    "Accept type {} is not supported.".format(accept)
                )
            if "csv" not in kind:
                return encoder.encode(prediction, accept)
            records = [str(record) for record in prediction.tolist()]
            text = "".join(record + "\n" for record in records) if SAGEMAKER_BATCH else ",".join(records)
            return text.encode("utf-8")

    def __init__(self):
        super().__init__(XGBMMSTransformer(default_inference_handler=self.DefaultXGBoostAlgoModeInferenceHandler()))
