"""SHAP values in the responses of the single-model server."""

import json
import re

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve
from xgbpatch_overlays.shap import values as shap_values

from support.overlays import zoo
from support.overlays.endpoint import SHAP

NAMES = sorted(zoo.ZOO)


def native(matrix):
    """(margins, contributions) of the served booster, with the tree cut that the base's source spells out."""
    booster = serve.ScoringService.booster
    cut = {"ntree_limit": getattr(booster, "best_ntree_limit", 0)} if zoo.XGBOOST < (2, 0) else {}
    ask = dict(cut, validate_features=False)
    margins = booster.predict(matrix, output_margin=True, **ask)
    return margins, booster.predict(matrix, pred_contribs=True, **ask)


def explained(endpoint, x):
    """(scores, base values, SHAP values) of a JSON answer, as arrays."""
    response = endpoint.post(zoo.csv(x), accept="application/json")
    assert response.status_code == 200, response.get_data(as_text=True)
    records = json.loads(response.get_data(as_text=True))["predictions"]
    columns = zip(*((record["score"], record["base_value"], record["shap_values"]) for record in records))
    return tuple(np.array(column) for column in columns)


@pytest.mark.parametrize("name", NAMES)
def test_values_add_up_to_the_margin_and_are_xgboosts_own(server, name):
    specimen = zoo.ZOO[name]
    x = zoo.inputs(specimen.missing, rows=20)
    _, base, values = explained(server(name, **SHAP), x)
    margins, contributions = native(xgboost.DMatrix(x))
    total = base + values.sum(axis=-1)
    assert total.shape == margins.shape
    assert np.all(np.abs(total - margins) <= 1e-4 * np.maximum(1, np.abs(margins)))
    assert close(np.concatenate([values, base[..., None]], axis=-1), contributions)


def close(values, contributions):
    """The native library's double precision beside xgboost's single: sums of many values differ in their last bits."""
    return np.allclose(values, contributions, rtol=1e-5, atol=1e-5 * np.abs(contributions).max())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["csv", "libsvm"])
def test_predictions_stay_the_bases_text(server, name, form):
    specimen = zoo.ZOO[name]
    body = getattr(zoo, form)(zoo.inputs(specimen.missing, rows=9))
    if form == "libsvm":
        body += " 0:0.25"  # index 0 is there, so 3.2-0 does not shift
    plain = server(name).post(body, content_type="text/" + form)
    ours = server(name, **SHAP).post(body, content_type="text/" + form)
    assert (plain.status_code, ours.status_code) == (200, 200)
    assert ours.mimetype == plain.mimetype
    pairs = list(zip(plain.data.decode().splitlines(), ours.data.decode().splitlines()))
    assert len(pairs) == 9
    columns = specimen.classes * (zoo.FEATURES + 1)
    for before, after in pairs:
        assert after.startswith(before + ",")
        assert len(after.split(",")) == len(before.split(",")) + columns


def test_json_scores_stay_the_bases_text(server):
    body = zoo.csv(zoo.inputs(rows=5))
    plain = json.loads(server("softprob").post(body, accept="application/json").data)
    ours = json.loads(server("softprob", **SHAP).post(body, accept="application/json").data)
    assert [{"score": record["score"]} for record in ours["predictions"]] == plain["predictions"]
    assert np.array(ours["predictions"][0]["shap_values"]).shape == (3, zoo.FEATURES)
    assert len(ours["predictions"][0]["base_value"]) == 3


def test_csv_row_is_prediction_base_value_and_one_value_a_feature(server):
    x = zoo.inputs(rows=2)
    response = server("regression", **SHAP).post(zoo.csv(x))
    _, contributions = native(xgboost.DMatrix(x))
    cells = [[float(cell) for cell in line.split(",")] for line in response.data.decode().splitlines()]
    assert response.data.endswith(b"\n")
    expected = np.concatenate([contributions[:, -1:], contributions[:, :-1]], axis=1)
    assert close(np.array(cells)[:, 1:], expected)


def test_multiclass_csv_row_is_all_predictions_then_each_class(server):
    x = zoo.inputs(rows=2)
    line = server("softprob", **SHAP).post(zoo.csv(x)).data.decode().splitlines()[0]
    _, contributions = native(xgboost.DMatrix(x))
    expected = [number for vector in contributions[0] for number in [vector[-1], *list(vector[:-1])]]
    assert close(np.float32(line.split(",")[3:]), expected)


@pytest.mark.parametrize("name", ["regression", "softprob"])
@pytest.mark.parametrize("accept", ["text/csv", "application/json"])
def test_batch_transform_answers_one_line_a_record(server, name, accept):
    body = zoo.csv(zoo.inputs(rows=4))
    plain = server(name, SAGEMAKER_BATCH="true").post(body, accept=accept).data.decode()
    ours = server(name, SAGEMAKER_BATCH="true", **SHAP).post(body, accept=accept).data.decode()
    assert ours.count("\n") == plain.count("\n") == 4
    for before, after in zip(plain.splitlines(), ours.splitlines()):
        assert after.startswith(before + ",")
        assert len(json.loads("[" + after + "]")) == 1 + zoo.ZOO[name].classes * (zoo.FEATURES + 1)


def test_narrow_sparse_records_are_explained_as_missing(server):
    x = zoo.inputs(rows=6)
    x[0, 0] = np.nan  # a gap: xgboost 3.2 takes what has none for dense
    wide = x.copy()
    wide[:, -2:] = np.nan
    response = server("regression", **SHAP).post(zoo.libsvm(x[:, :-2]), content_type="text/libsvm")
    assert response.status_code == 200
    _, contributions = native(xgboost.DMatrix(wide))
    cells = np.array([[float(cell) for cell in line.split(",")] for line in response.data.decode().splitlines()])
    assert close(cells[:, 2:], contributions[:, :-1])


@pytest.mark.parametrize("form", ["csv", "libsvm"])
def test_misread_records_are_predicted_as_the_base_does_and_not_explained(server, form):
    """A row of CSV does not say which cell it lacks; xgboost 3.2 itself misreads narrow libsvm rows without a gap."""
    x, kind = zoo.inputs(rows=6), "text/" + form
    body = getattr(zoo, form)(x[:, :-2])
    plain = server("missing").post(body, content_type=kind)
    endpoint = server("missing", **SHAP)
    assert endpoint.post(body, accept="text/csv; shap=off", content_type=kind).data == plain.data
    answer = endpoint.post(body, content_type=kind)
    if form == "libsvm" and zoo.XGBOOST < (3, 2):
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.mimetype) == (400, "text/plain")
        assert answer.data.decode().startswith("Unable to explain payload provided: the records have 4 columns")
        assert "the model has 6" in answer.data.decode()
    one = endpoint.post(body.split("\n")[0], content_type=kind)
    assert one.status_code == (400 if form == "csv" else 200)


def test_mean_ensemble_is_explained_by_the_mean(server):
    x = zoo.inputs(rows=5)
    _, base, values = explained(server("regression", "regression-base-score", **SHAP), x)
    members = [member.predict(xgboost.DMatrix(x), pred_contribs=True) for member in serve.ScoringService.booster]
    expected = np.mean(members, axis=0)
    assert close(values, expected[:, :-1])
    assert close(base, expected[:, -1])


@pytest.mark.skipif(zoo.XGBOOST >= (3, 0), reason="3.x answers 500 to a voting ensemble itself")
def test_voting_ensemble_is_refused_with_the_reason(server):
    response = server("softmax", "softmax", **SHAP).post(zoo.csv(zoo.inputs(rows=2)))
    assert response.status_code == 400
    assert "votes" in response.data.decode()


def test_too_many_records_are_refused_with_the_number_that_fits(server, monkeypatch):
    cost = shap_values.Cost(0.0, 1e-3)  # measured on a busy machine, not one record fits
    monkeypatch.setattr(shap_values, "measure", lambda *_: cost)
    monkeypatch.setattr(shap_values, "slowness", lambda: 1.0)
    x = zoo.inputs(rows=20000)
    endpoint = server("forest-softprob", XGBPATCH_SHAP_SECONDS="5", **SHAP)
    response = endpoint.post(zoo.csv(x))
    assert response.status_code == 413
    fit = int(response.data.decode().split("send at most ")[1].split()[0])
    assert 0 < fit < 20000
    assert endpoint.post(zoo.csv(x[: fit // 4])).status_code == 200


def test_accept_that_cannot_carry_values_is_406(server):
    selected = dict(SHAP, SAGEMAKER_INFERENCE_OUTPUT="predicted_score")
    response = server("regression", **selected).post(
        zoo.csv(zoo.inputs(rows=2)), accept="application/x-recordio-protobuf"
    )
    assert response.status_code == 406
    assert b"application/x-recordio-protobuf cannot carry SHAP values" in response.data


def test_selectable_keys_stay_beside_the_values(server):
    selected = dict(SHAP, SAGEMAKER_INFERENCE_OUTPUT="predicted_label,probability")
    endpoint = server("binary", **selected)
    body = zoo.csv(zoo.inputs(rows=2))
    record = json.loads(endpoint.post(body, accept="application/jsonlines").data.decode().splitlines()[0])
    assert list(record) == ["predicted_label", "probability", "base_value", "shap_values"]
    assert len(endpoint.post(body).data.decode().splitlines()[0].split(",")) == 2 + 1 + zoo.FEATURES


BAD_REQUESTS = {
    "empty": ("", "text/csv", "text/csv"),
    "words": ("a,b\nc,d", "text/csv", "text/csv"),
    "ragged": ("1,2\n3", "text/csv", "text/csv"),
    "unknown type": ("1,2", "text/plain", "text/csv"),
    "unknown accept": (zoo.csv(zoo.inputs(rows=1)), "text/csv", "text/plain"),
    "too wide": ("1,2,3,4,5,6,7,8", "text/csv", "text/csv"),
    "infinite": ("inf,2,3,4,5,6", "text/csv", "text/csv"),
}


def test_errors_stay_the_bases(server):
    plain = server("regression")
    answers = {name: _answer(plain, request) for name, request in BAD_REQUESTS.items()}
    errors = {name: answer for name, answer in answers.items() if answer[0] != 200}  # infinities pass before 1.5
    ours = server("regression", **dict(SHAP, XGBPATCH_ENGINE="daal4py"))
    assert {name: _answer(ours, BAD_REQUESTS[name]) for name in errors} == errors
    assert {status for status, _ in errors.values()} >= {204, 400, 406, 415}


def test_a_feature_without_shap_leaves_the_base_untouched(server):
    from sagemaker_xgboost_container import encoder
    from sagemaker_xgboost_container.algorithm_mode import serve_utils

    names = (serve_utils.predict, serve_utils.get_loaded_booster, serve_utils.xgb, encoder.xgb)
    views = dict(serve.ScoringService.app.view_functions)
    endpoint = server("regression", XGBPATCH_FEATURES="daal4py")
    assert names == (serve_utils.predict, serve_utils.get_loaded_booster, serve_utils.xgb, encoder.xgb)
    assert views == serve.ScoringService.app.view_functions
    assert "X-Xgbpatch-Engine" not in endpoint.ping().headers


def _answer(endpoint, request):
    body, content_type, accept = request
    response = endpoint.post(body, content_type=content_type, accept=accept)
    return response.status_code, _without_addresses(response.data.decode())


def _without_addresses(text):
    """xgboost prints the time, and a C stack with addresses, which differ from call to call."""
    return re.sub(r"\[\d\d:\d\d:\d\d\]", "[time]", text.split("Stack trace")[0])
