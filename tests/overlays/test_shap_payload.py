"""An explained response is held to SageMaker's payload limit, and a refusal says what would fit."""

import re

import pytest

from support.overlays import zoo
from support.overlays.endpoint import FEATURES, SHAP

KEYS = dict(FEATURES, SAGEMAKER_INFERENCE_OUTPUT="predicted_score,base_value,shap_values")
RECORDIO = "application/x-recordio-protobuf"
REFUSAL = re.compile(
    r"SHAP values of (\d+) records make a response of (?:about )?(\d+) bytes, the limit is (\d+) bytes "
    r"\(XGBPATCH_SHAP_MEGABYTES\): send at most (\d+) records a request, or ask for fewer features \(top_k\)"
)
LAYOUTS = {
    "append csv": (SHAP, "text/csv"),
    "append json": (SHAP, "application/json"),
    "keys csv": (KEYS, "text/csv"),
    "keys json": (KEYS, "application/json"),
    "keys json lines": (KEYS, "application/jsonlines"),
    "keys recordio": (KEYS, RECORDIO),
    "batch": (dict(SHAP, SAGEMAKER_BATCH="true"), "text/csv"),
}


@pytest.mark.parametrize("rows", [100, 600], ids=["made and refused", "refused by a sample"])
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_response_above_the_limit_is_refused_with_what_fits(server, layout, rows):
    environment, accept = LAYOUTS[layout]
    x = zoo.inputs(rows=rows)
    limit = 8000
    endpoint = server("regression", XGBPATCH_SHAP_MEGABYTES=str(limit / 1024**2), **environment)
    response = endpoint.post(zoo.csv(x), accept=accept)
    assert response.status_code == 413
    records, size, stated, fit = map(int, REFUSAL.match(response.data.decode()).groups())
    assert (records, stated, size > limit) == (rows, limit, True)
    assert 0 < fit < rows
    inside = endpoint.post(zoo.csv(x[:fit]), accept=accept)
    assert (inside.status_code, len(inside.data) <= limit) == (200, True)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"keys recordio"}))
def test_what_fits_is_nearly_all_that_fits(server, layout):
    environment, accept = LAYOUTS[layout]
    x = zoo.inputs(rows=600)
    endpoint = server("regression", XGBPATCH_SHAP_MEGABYTES=str(20000 / 1024**2), **environment)
    refusal = endpoint.post(zoo.csv(x), accept=accept).data.decode()
    fit = int(REFUSAL.match(refusal).group(4))
    assert endpoint.post(zoo.csv(x[: int(fit * 1.2)]), accept=accept).status_code == 413


def test_a_single_record_above_the_limit_is_told_so(server):
    endpoint = server("regression", XGBPATCH_SHAP_MEGABYTES="0.00005", **SHAP)
    response = endpoint.post(zoo.csv(zoo.inputs(rows=1)))
    assert response.status_code == 413
    assert b"not even one record fits, or ask for fewer features (top_k)" in response.data


def test_fewer_features_make_a_response_fit(server):
    body = zoo.csv(zoo.inputs(rows=300))
    endpoint = server("forest-softprob", XGBPATCH_SHAP_MEGABYTES=str(60000 / 1024**2), **FEATURES)
    assert endpoint.post(body, accept="text/csv;shap=on").status_code == 413
    assert endpoint.post(body, accept="text/csv;shap=on;top_k=1").status_code == 200


def test_the_limit_is_not_for_plain_responses(server):
    x = zoo.inputs(rows=400)
    plain = server("regression").post(zoo.csv(x))
    endpoint = server("regression", XGBPATCH_SHAP_MEGABYTES="0.0001", **FEATURES)
    assert endpoint.post(zoo.csv(x)).data == plain.data
