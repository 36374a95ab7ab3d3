"""The single-model server (Flask under gunicorn): the base's views, wrapped where something was asked for."""

from __future__ import annotations

import functools
from typing import Any, Callable

import flask
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils

from . import contributions, prediction, shap_output

ENGINE_HEADER = "X-Xgbpatch-Engine"


def install(settings: Any) -> None:
    """Hook prediction, and the routes of what is on. The model may be loaded by now: gunicorn's import has done it."""
    predictor = prediction.install(settings, serve_utils, encoder)
    service = serve.ScoringService
    if service.booster is not None:
        predictor.prepare(service.booster, service.format)
    views = service.app.view_functions  # routes are bound to functions early: serve.invocations is not asked again
    if settings.shap:
        views["invocations"] = explained(views["invocations"], predictor)
    if settings.engine is not None:
        views["ping"] = announced(views["ping"], predictor)


def explained(view: Callable[..., Any], predictor: Any) -> Callable[..., Any]:
    """`view`, whose successful responses get SHAP values. Its errors, and 204, pass through as they are."""

    @functools.wraps(view)
    def invocations():
        with prediction.captured() as seen:
            response = view()
        if response.status_code != 200 or not seen:
            return response
        try:
            append = _layout(response)
            response.set_data(append(response.get_data(as_text=True), predictor.explain(seen[-1])))
            return response
        except contributions.NotExplained as refusal:
            return flask.Response(response=refusal.reason, status=refusal.status)

    return invocations


def announced(view: Callable[..., Any], predictor: Any) -> Callable[..., Any]:
    """`view`, with a header that says which engine serves and why."""

    @functools.wraps(view)
    def ping():
        response = view()
        response.headers[ENGINE_HEADER] = predictor.describe(serve.ScoringService.booster)
        return response

    return ping


def _layout(response: Any):
    """How SHAP values are put into the base's response. In batch transform it is lines whatever its type says."""
    selectable = serve_utils.is_selectable_inference_output()
    if serve.SAGEMAKER_BATCH and not selectable:
        return shap_output.append_to_lines
    layouts = {
        "text/csv": shap_output.append_to_lines,
        "application/json": shap_output.append_to_json,
        "application/jsonlines": shap_output.append_to_json_lines,
    }
    if response.mimetype not in layouts:
        raise contributions.NotExplained(
            406,
            "Accept type {} cannot carry SHAP values. Please use one of: {}, or set XGBPATCH_SHAP_LAYOUT=off.".format(
                response.mimetype, ", ".join(sorted(layouts))
            ),
        )
    return layouts[response.mimetype]
