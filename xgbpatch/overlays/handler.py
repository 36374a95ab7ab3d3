"""The handler module of the model server, which wants exactly one class defined here."""

from typing import Any

from sagemaker_xgboost_container.algorithm_mode import handler_service

from . import multi_model


class HandlerService(handler_service.HandlerService):
    """The base's handler service with our inference handler inside."""

    def __init__(self) -> None:
        self.DefaultXGBoostAlgoModeInferenceHandler = multi_model.inference_handler()
        super(HandlerService, self).__init__()

    def handle(self, data: Any, context: Any) -> Any:
        """As the base's, of a request that may ask for an explanation."""
        base = super(HandlerService, self).handle
        return multi_model.handle(self.DefaultXGBoostAlgoModeInferenceHandler, context, lambda: base(data, context))
