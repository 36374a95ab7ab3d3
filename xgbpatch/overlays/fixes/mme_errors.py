"""mme-errors: the client of a multi-model endpoint gets the status and the message of what went wrong."""

from __future__ import annotations

import functools
import http
import logging
import re
from types import SimpleNamespace
from typing import Any, Callable, List, Optional

from sagemaker_inference.errors import BaseInferenceToolkitError
from sagemaker_xgboost_container.algorithm_mode import handler_service
from sagemaker_xgboost_container.algorithm_mode.inference_errors import UnsupportedMediaTypeInferenceError
from sagemaker_xgboost_container.mms_patch.mms_transformer import XGBMMSTransformer

from .. import settings

TWICE = re.compile(r"\A([^:\n]+: )\1+")  # of a model that does not load, the base says two times that it does not


def mme_errors_not_needed() -> str:
    """Whether an error with status 415 that is raised inside a request comes out as 415."""
    request = _Request()
    transformer = XGBMMSTransformer()
    transformer._initialized = True
    transformer._environment = SimpleNamespace(default_accept="text/csv")
    transformer._transform_fn = request.fail
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the base logs every error, and this one is no news
    try:
        transformer.transform([{"body": b"1"}], request)
    except Exception:
        return ""
    finally:
        logging.disable(disabled)
    return "the base's errors reach the client" if request.status == 415 else ""


def install_mme_errors() -> None:
    """Hand statuses to the model server, and give reading and writing those of the single-model server."""
    XGBMMSTransformer.handle_error = staticmethod(_handle_error)
    handler = handler_service.HandlerService.DefaultXGBoostAlgoModeInferenceHandler
    handler.default_input_fn = _reading(handler.default_input_fn)
    handler.default_output_fn = _writing(handler.default_output_fn)
    service = handler_service.HandlerService
    service.handle = _answering(service.handle)


def _handle_error(context: Any, status_code: int, message: str) -> List[str]:
    """The signature that the base calls; a request without content gets none."""
    status = http.HTTPStatus(status_code)
    context.set_response_status(code=status.value, phrase=status.phrase)
    context.set_response_content_type(0, settings.TEXT)
    return [settings.without_folders(TWICE.sub(r"\1", message))]


def _answering(handle: Callable[..., Any]) -> Callable[..., Any]:
    """`handle`, which in 1.2-2 loads the model itself, before anything looks at what is raised."""

    @functools.wraps(handle)
    def answering(self: Any, data: Any, context: Any) -> Any:
        try:
            return handle(self, data, context)
        except BaseInferenceToolkitError as error:
            return _handle_error(context, error.status_code, error.message)

    return answering


def _reading(read: Callable[..., Any]) -> Callable[..., Any]:
    """`read`, whose unforeseen errors are 415 as in the single-model server: the base raises those of its parsers."""

    @functools.wraps(read)
    def default_input_fn(self: Any, input_data: Any, input_content_type: Any) -> Any:
        try:
            return read(self, input_data or b"", input_content_type)  # the model server hands over None for no body
        except BaseInferenceToolkitError:
            raise
        except Exception as error:
            raise UnsupportedMediaTypeInferenceError(str(error)) from error

    return default_input_fn


def _writing(write: Callable[..., Any]) -> Callable[..., Any]:
    """`write`, whose 415 is a 406: what it refuses is the type that the client accepts, not the one that it sends."""

    @functools.wraps(write)
    def default_output_fn(self: Any, prediction: Any, accept: str) -> Any:
        try:
            return write(self, prediction, accept)
        except UnsupportedMediaTypeInferenceError as error:
            status = http.HTTPStatus.NOT_ACCEPTABLE
            raise BaseInferenceToolkitError(status, error.message, error.message) from error

    return default_output_fn


class _Request(object):
    """A context of the model server with one request that fails, as much as the base asks for."""

    def __init__(self) -> None:
        self.status: Optional[int] = None
        self._system_properties = self.system_properties = {"model_dir": "/"}
        self.request_processor = [SimpleNamespace(get_request_properties=lambda: {"Content-Type": "text/csv"})]

    def fail(self, *_: Any) -> None:
        """In the place of reading, predicting and writing."""
        raise BaseInferenceToolkitError(415, "probe", "probe")

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.status = int(code)

    def set_response_content_type(self, idx: int, value: str) -> None:
        pass
