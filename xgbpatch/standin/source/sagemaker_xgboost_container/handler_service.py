"""Multi-model endpoints in script mode: the user's module behind the toolkit's own transformer."""

from sagemaker_containers.beta.framework import content_types, encoders
from sagemaker_inference import default_inference_handler
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.transformer import Transformer

from sagemaker_xgboost_container import encoder as xgb_encoders


class HandlerService(DefaultHandlerService):
    """What the model server runs; it must be the only class that this module defines."""

    class DefaultXGBoostUserModuleInferenceHandler(default_inference_handler.DefaultInferenceHandler):
        """What stands in for functions that the user's module does not define; model_fn has no stand-in."""

        def default_input_fn(self, input_data, content_type):
            """The body as a DMatrix; raises UnsupportedFormatError for other content types."""
            return xgb_encoders.decode(input_data, content_type)

        def default_predict_fn(self, input_data, model):
            """The model's predictions, whatever the features are called."""
            return model.predict(input_data, validate_features=False)

        def default_output_fn(self, prediction, accept):
            """The predictions as CSV (bytes), JSON (text) or NPY; raises UnsupportedFormatError for other types."""
            encoded = encoders.encode(prediction, accept)
            return encoded.encode("utf-8") if accept == content_types.CSV else encoded

    def __init__(self):
        super().__init__(Transformer(default_inference_handler=self.DefaultXGBoostUserModuleInferenceHandler()))
