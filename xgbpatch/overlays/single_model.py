"""The single-model server (Flask under gunicorn): the base's views, wrapped where a feature needs it."""

from __future__ import annotations

import dataclasses
import functools
import html
import http.client
from typing import Any, Callable

import flask
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils

from . import predictor as prediction
from . import settings
from .shap import response as shap_response
from .shap import values

ENGINE_HEADER = "X-Xgbpatch-Engine"
EXPLAINED_RESPONSE = "xgbpatch_explained_response"  # of flask.g, which ends with the request
CSV_BODY = "xgbpatch_csv_body"  # likewise


def install(config: Any) -> None:
    """Hook prediction, and the routes of what is on. The model may be loaded by now: gunicorn's import has done it."""
    service = serve.ScoringService
    views = service.app.view_functions  # routes are bound to functions early: serve.invocations is not looked up again
    if config.reads_json:
        serve_utils.parse_content_data = parsing(serve_utils.parse_content_data)
        views["invocations"] = reading(views["invocations"])
    if not config.predicts:
        return
    predictor = prediction.install(config, serve_utils, encoder)
    if service.booster is not None:
        predictor.prepare(service.booster, service.format, service.MODEL_PATH)
    if config.explains:
        serve._handle_selectable_inference_response = selecting(serve._handle_selectable_inference_response)
        views["invocations"] = explained(views["invocations"], predictor, config)
    if config.engine is not None:
        views["ping"] = announced(views["ping"], predictor)


def reading(view: Callable[..., Any]) -> Callable[..., Any]:
    """`view`, for which a JSON body is CSV. A body without a record gets what the base answers to an empty one."""
    from . import json_input  # an image without the feature never loads it

    @functools.lru_cache(maxsize=None)
    def columns() -> Any:
        serve.load_model()
        return json_input.JsonColumns(serve.ScoringService.booster, serve.ScoringService.MODEL_PATH)

    @functools.wraps(view)
    def invocations() -> Any:
        content_type = flask.request.content_type
        if not json_input.is_json(content_type) or not flask.request.data:
            return view()
        try:
            body = json_input.to_csv(flask.request.data, content_type, columns())
        except json_input.Refused as refusal:
            return flask.Response(response=refusal.reason, status=refusal.status, content_type=settings.TEXT)
        if not body:
            return flask.Response(response="", status=http.client.NO_CONTENT)
        setattr(flask.g, CSV_BODY, body)
        return view()

    return invocations


def parsing(parse: Callable[..., Any]) -> Callable[..., Any]:
    """The base's parser of a body, which is given the CSV that was made of this request's."""

    @functools.wraps(parse)
    def parse_content_data(input_data: Any, input_content_type: Any) -> Any:
        body = flask.g.pop(CSV_BODY, None) if flask.has_request_context() else None
        return parse(input_data, input_content_type) if body is None else parse(body, shap_response.CSV)

    return parse_content_data


def explained(view: Callable[..., Any], predictor: Any, config: Any) -> Callable[..., Any]:
    """`view`, whose successful responses are explained where that is asked. Its errors, and 204, pass as they are."""

    @functools.wraps(view)
    def invocations() -> Any:
        try:
            options = _response_options(config)
            return view() if options is None else _explained(view, options, predictor, config)
        except settings.BadOption as bad:
            return flask.Response(response=str(bad), status=400, content_type=settings.TEXT)
        except values.NotExplained as refusal:
            reason = settings.without_folders(refusal.reason)
            return flask.Response(response=reason, status=refusal.status, content_type=settings.TEXT)

    return invocations


def selecting(handle: Callable[..., Any]) -> Callable[..., Any]:
    """The base's response of selectable inference, with our keys where the request is explained and one is selected."""

    @functools.wraps(handle)
    def _handle_selectable_inference_response(predictions: Any, accept: str) -> Any:
        explained_response = flask.g.get(EXPLAINED_RESPONSE)
        if explained_response is None or accept not in shap_response.ENCODINGS or not shap_response.known_keys():
            return handle(predictions, accept)
        learner = serve.ScoringService.get_config_json()["learner"]
        body = explained_response.selected(predictions, learner, accept)
        return flask.Response(response=body, status=200, mimetype=accept)

    return _handle_selectable_inference_response


def announced(view: Callable[..., Any], predictor: Any) -> Callable[..., Any]:
    """`view`, with a header that says which engine serves and why."""

    @functools.wraps(view)
    def ping() -> Any:
        response = view()
        response.headers[ENGINE_HEADER] = predictor.describe(serve.ScoringService.booster)
        return response

    return ping


def _response_options(config: Any) -> Any:
    """How this request is explained, or None; the base sees its Accept without our parameters."""
    headers = flask.request.headers
    accept, options = settings.of_request(headers.get(settings.ATTRIBUTES), headers.get("Accept"))
    if options:
        if accept is not None:
            flask.request.environ["HTTP_ACCEPT"] = accept
        return settings.apply(options, config)
    return config.response_options if config.shap or shap_response.known_keys() else None


def _explained(view: Callable[..., Any], options: Any, predictor: Any, config: Any) -> Any:
    if serve.SAGEMAKER_BATCH:
        options = dataclasses.replace(options, header=False)
    with prediction.captured() as evaluations:
        explained_response = shap_response.ExplainedResponse(
            lambda shap_options: predictor.explain(evaluations[-1], shap_options), options, config.shap_bytes
        )
        setattr(flask.g, EXPLAINED_RESPONSE, explained_response)
        response = view()
    if response.status_code != 200 or not evaluations:
        return response
    if not shap_response.known_keys():
        selectable = serve_utils.is_selectable_inference_output()
        write = writer(response.mimetype, selectable)
        predicted = serve_utils.get_selected_output_keys() if selectable else ()
        response.set_data(explained_response.appended(response.get_data(as_text=True), write, predicted))
    response.headers[settings.ATTRIBUTES] = options.attributes()
    return response


def writer(mimetype: str, selectable: bool) -> Callable[..., Any]:
    """How SHAP values are put into the base's response. In batch transform it is lines whatever its type says."""
    if serve.SAGEMAKER_BATCH and not selectable:
        return shap_response.to_lines
    writers = {
        "text/csv": shap_response.to_lines,
        "application/json": shap_response.to_json,
        "application/jsonlines": shap_response.to_json_lines,
    }
    if mimetype not in writers:
        raise values.NotExplained(
            406,
            "Accept type {} cannot carry SHAP values in the layout append. Please use one of: {}, or select the keys "
            "base_value and shap_values (SAGEMAKER_INFERENCE_OUTPUT).".format(
                html.escape(mimetype), ", ".join(sorted(writers))
            ),
        )
    return writers[mimetype]
