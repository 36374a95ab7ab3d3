"""Multi-model endpoints: the handler that `serve` (bin_serve.py) hands the model server, which explains its answers."""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import re
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

from sagemaker_inference import content_types
from sagemaker_inference.errors import BaseInferenceToolkitError
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import handler_service, serve_utils

from . import fixes, json_input, settings
from . import predictor as prediction
from .model import booster, version_guard
from .shap import response, values

RESPONSE_SIZE, RESPONSE_BYTES = "max_response_size", 6553500  # of the model server, and what it is without a line
BaseInferenceHandler: Any = handler_service.HandlerService.DefaultXGBoostAlgoModeInferenceHandler


def server_limit(environment: Mapping[str, str]) -> int:
    """Bytes of an answer that the model server takes from its worker, by the file it was started with.

    It ends a worker that answers more.
    """
    try:
        with open(environment["XGBOOST_MMS_CONFIG"], encoding="latin-1") as file:
            text = file.read()
    except (KeyError, OSError):
        return RESPONSE_BYTES
    lines = re.findall(r"^[ \t]*{}[ \t]*[=: \t][ \t]*(\S+)".format(RESPONSE_SIZE), text, re.MULTILINE)
    value = lines[-1] if lines else ""
    if value.startswith("$$"):  # it puts a variable there
        value = environment.get(value.strip("$"), "")
    return settings.count(value) or RESPONSE_BYTES


def inference_handler() -> type:
    """Hook prediction in this worker, and return the class of the inference handler it needs."""
    config = settings.read(os.environ)
    fixes.install(config.fixes, fixes.MODEL_SERVER)
    if config.guarded:
        version_guard.install(serve_utils)
    base: type = BaseInferenceHandler
    predictor = prediction.install(config, serve_utils, encoder) if config.predicts else None
    if config.explains:
        base = ExplainingHandler
    elif config.reads_json:
        base = ReadingHandler
    else:
        return base
    return type("InferenceHandler", (base,), {"predictor": predictor, "settings": config})


@dataclass
class WorkerRequest:
    """What a worker, which has one request at a time, knows of it.

    `options` are None where it is not explained; `refusal` is ours, not the base's.
    """

    context: Any
    options: Optional[settings.ResponseOptions] = None
    evaluation: Any = None
    refusal: Optional[BaseInferenceToolkitError] = None

    def refuse(self, status: int, reason: str) -> BaseInferenceToolkitError:
        """The toolkit's error, for the base to handle as its own."""
        self.refusal = BaseInferenceToolkitError(
            status, settings.without_folders(reason), http.client.responses[status]
        )
        return self.refusal


def handle(handler: type, context: Any, base: Callable[[], Any]) -> Any:
    """`base()`, of a request whose headers `handler` knows meanwhile; the base sees its own Accept.

    The base makes a 503 of every error by raising another one: a refusal of ours keeps its status and its reason.
    """
    if not issubclass(handler, ReadingHandler):
        return base()
    handler.request = request = WorkerRequest(context)
    try:
        if issubclass(handler, ExplainingHandler):
            _read(request, handler.settings)
        return base()
    except Exception:
        if request.refusal is None:
            raise
        context.set_response_status(request.refusal.status_code, request.refusal.phrase)
        context.set_response_content_type(0, settings.TEXT)
        return [request.refusal.message]
    finally:
        handler.request = WorkerRequest(None)


def _read(request: WorkerRequest, config: Any) -> None:
    """Take what is ours out of the headers; raises the refusal of a bad option."""
    headers = request.context.get_all_request_header(0)
    names = {name.lower(): name for name in headers}
    own = headers.get(names.get(settings.ATTRIBUTES.lower()))
    accept, options = settings.of_request(own, headers.get(names.get("accept")))
    if not options:
        request.options = config.response_options if config.shap or response.known_keys() else None
        return
    if "accept" in names:
        headers[names["accept"]] = accept
    try:
        request.options = settings.apply(options, config)
    except settings.BadOption as bad:
        raise request.refuse(400, str(bad)) from bad


class ReadingHandler(BaseInferenceHandler):
    """The base's inference handler; with the feature json-input it reads JSON as CSV."""

    settings: Any = None
    request = WorkerRequest(None)
    _columns: Any = None

    def default_model_fn(self, model_dir: str) -> Any:
        """The base's model, whose columns requests are held to."""
        loaded = super(ReadingHandler, self).default_model_fn(model_dir)
        if self.settings.reads_json:
            self._columns = json_input.JsonColumns(loaded[0], model_dir)
        return loaded

    def default_input_fn(self, input_data: Any, input_content_type: str) -> Any:
        """What the base makes of the body, or of its CSV; one without a record is an empty body."""
        base = super(ReadingHandler, self).default_input_fn
        if not (self.settings.reads_json and json_input.is_json(input_content_type) and input_data):
            return base(input_data, input_content_type)  # the model server hands over None for no body
        try:
            body = json_input.to_csv(input_data, input_content_type, self._columns)
        except json_input.Refused as refusal:
            raise self.request.refuse(refusal.status, refusal.reason) from refusal
        return base(body, json_input.CSV)


class ExplainingHandler(ReadingHandler):
    """The same; a request that asks for it gets SHAP values."""

    predictor: Any = None

    def default_predict_fn(self, data: Any, model: Any) -> Any:
        """The base's prediction, remembered where it is to be explained; raises what the base raises."""
        base = super(ExplainingHandler, self).default_predict_fn
        if self.request.options is None:
            return base(data, model)
        with prediction.captured() as evaluations:
            predicted = base(data, model)
        self.request.evaluation = evaluations[-1]
        return predicted

    def default_output_fn(self, prediction: Any, accept: str) -> Any:
        """The base's, or of an explained request bytes, CSV one line a record, JSON `{"predictions": [{...}]}`.

        Raises what the base raises, and the toolkit's error where there is no explanation.
        """
        encode = super(ExplainingHandler, self).default_output_fn
        text = encode(prediction, accept)
        options, evaluation = self.request.options, self.request.evaluation
        if options is None or evaluation is None:
            return text
        if handler_service.SAGEMAKER_BATCH:
            options = dataclasses.replace(options, header=False)
        explained = response.ExplainedResponse(
            lambda shap_options: self.predictor.explain(evaluation, shap_options),
            options,
            *min((self.settings.shap_bytes, "XGBPATCH_SHAP_MEGABYTES"), (server_limit(os.environ), RESPONSE_SIZE)),
        )
        is_json = accept.lower() == content_types.JSON
        try:
            if response.known_keys():
                learner = booster.configuration(evaluation.calls[0].booster)["learner"]
                body = explained.selected(prediction, learner, content_types.JSON if is_json else response.CSV)
            elif is_json:
                scores = serve_utils.encode_predictions_as_json(json.loads(text))
                body = explained.appended(scores, response.to_json)
            else:  # the base writes one line for all records; we ask it for each
                each = (encode(prediction[i : i + 1], accept).decode("utf-8") for i in range(len(prediction)))
                lines = "\n".join(line.rstrip("\n") for line in each) + "\n"
                body = explained.appended(lines, response.to_lines)
        except values.NotExplained as refusal:
            raise self.request.refuse(refusal.status, refusal.reason) from refusal
        self.request.context.set_response_header(0, settings.ATTRIBUTES, options.attributes())
        return body
