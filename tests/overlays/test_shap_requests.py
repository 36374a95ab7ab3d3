"""What one request may ask, by a SageMaker header or by parameters of Accept, and what it then gets."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve
from xgbpatch_overlays import settings

from support.overlays import zoo
from support.overlays.endpoint import FEATURES, SHAP

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
BODY = zoo.csv(zoo.inputs(rows=4))
KEYS = dict(FEATURES, SAGEMAKER_INFERENCE_OUTPUT="predicted_score,base_value,shap_values")


def asked(endpoint, options, body=BODY, accept="text/csv"):
    """The response to a request with `options` in the SageMaker header."""
    return endpoint.post(body, accept=accept, **{ATTRIBUTES: options})


def answer(response):
    """Everything that a client sees."""
    return response.status_code, response.data, sorted(response.headers.items())


@pytest.mark.parametrize("name", ["regression", "softprob"])
@pytest.mark.parametrize("accept", ["text/csv", "application/json"])
def test_one_request_asks_and_the_next_is_the_bases(server, name, accept):
    plain = answer(server(name).post(BODY, accept=accept))
    configured = server(name, **SHAP).post(BODY, accept=accept).data
    endpoint = server(name, **FEATURES)
    assert asked(endpoint, "shap=on", accept=accept).data == configured
    assert endpoint.post(BODY, accept=accept + ";shap=on").data == configured
    assert answer(endpoint.post(BODY, accept=accept)) == plain
    assert answer(asked(endpoint, "shap=off", accept=accept)) == plain


@pytest.mark.parametrize("environment", [SHAP, KEYS], ids=["layout", "keys"])
def test_shap_off_gives_the_bases_answer_whatever_is_configured(server, environment):
    base = {name: value for name, value in environment.items() if name == "SAGEMAKER_INFERENCE_OUTPUT"}
    plain = answer(server("regression", **base).post(BODY))
    endpoint = server("regression", **environment)
    assert answer(asked(endpoint, "shap=off")) == plain
    assert answer(endpoint.post(BODY, accept="text/csv; shap=off")) == plain
    assert answer(endpoint.post(BODY)) != plain


@pytest.mark.parametrize(
    "text",
    ["trace=1;top_k=5", "top_k=many", "shapely=on;space=nowhere", "space=mars; header=present", "{}", "=;=", "shap"],
)
def test_what_is_not_ours_is_someone_elses(server, text):
    plain = server("regression")
    expected = answer(plain.post(BODY)), answer(plain.post(BODY, accept="text/csv;" + text))
    endpoint = server("regression", **FEATURES)
    assert (answer(asked(endpoint, text)), answer(endpoint.post(BODY, accept="text/csv;" + text))) == expected


def test_the_base_sees_its_accept_without_our_parameters(server):
    plain = server("regression")
    endpoint = server("regression", **FEATURES)
    for accept in ("text/csv;q=0.9", "text/plain", "application/json, text/csv", "*/*", ""):
        ours = endpoint.post(BODY, accept=accept + ";shap=off;top_k=2")
        assert answer(ours) == answer(plain.post(BODY, accept=accept)), accept


@pytest.mark.parametrize(
    ("accept", "base_sees", "options"),
    [
        (None, None, {}),
        ("text/csv ;q=1", "text/csv ;q=1", {}),
        ("text/csv; top_k=3", "text/csv; top_k=3", {}),
        ("text/csv; shap=on", "text/csv", {"shap": "on"}),
        ('text/csv;SHAP="On";charset=utf-8;top_k=3', "text/csv;charset=utf-8", {"shap": "On", "top_k": "3"}),
        ("text/csv;shap=on, */*;q=0.1", "text/csv, */*;q=0.1", {"shap": "on"}),
    ],
)
def test_accept_is_read(accept, base_sees, options):
    assert settings.of_request(None, accept) == (base_sees, options)


def test_accept_counts_more_than_the_header():
    options = settings.of_request("trace=7; shap=on ; top_k=2", "text/csv;shap=off;header=on")
    assert options == ("text/csv", {"shap": "off", "top_k": "2", "header": "on"})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("shap=yes", 'shap="yes" is not allowed; allowed: on, off'),
        ("shap=", 'shap="" is not allowed; allowed: on, off'),
        ("shap=on;top_k=0", 'top_k="0" is not allowed; allowed: a whole number above 0'),
        ("shap=on;top_k=²", "is not allowed; allowed: a whole number above 0"),
        ("shap=on;top_k=" + "9" * 5000, "is not allowed; allowed: a whole number above 0"),
        ("shap=on;interactions=1", 'interactions="1" is not allowed; allowed: on, off'),
        ("shap=on;approximate=maybe", 'approximate="maybe" is not allowed; allowed: on, off'),
        ("shap=on;space=log", 'space="log" is not allowed; allowed: margin, probability'),
        ("shap=off;header=yes", 'header="yes" is not allowed; allowed: on, off'),
        ("shap=on;space=probability", "shap-probability"),
    ],
)
def test_a_bad_value_is_400_with_what_is_allowed(server, options, message):
    response = server("regression", **FEATURES).post(BODY, accept="text/csv;" + options)
    assert response.status_code == 400
    assert message in response.get_data(as_text=True)
    assert len(response.data) < 300


def test_a_refusal_is_plain_text_without_what_a_browser_would_run(server):
    endpoint = server("regression", **FEATURES)
    refusals = [
        endpoint.post(BODY, accept="text/csv;shap=<script>alert(1)</script>"),
        endpoint.post(BODY, accept="text/csv;shap=on;space=\u00fc<b>"),
    ]
    for refusal in refusals:
        assert (refusal.status_code, refusal.content_type) == (400, "text/plain; charset=utf-8")
        assert not set(refusal.data) & set(b"<>\xfc")
        assert b"&lt;" in refusal.data


def test_a_refusal_holds_no_path_of_the_container(server):
    endpoint = server("regression", **FEATURES)
    folder = Path(serve.ScoringService.MODEL_PATH, "xgbpatch")
    folder.mkdir()
    (folder / "feature_names.json").write_text('["one"]')
    refusal = asked(endpoint, "shap=on")
    assert (refusal.status_code, refusal.content_type) == (500, "text/plain; charset=utf-8")
    assert b'"feature_names.json" names 1 features, the model has 6' in refusal.data
    assert str(folder).encode() not in refusal.data


def test_top_k_in_csv_is_name_and_value(server):
    x = zoo.inputs(rows=3)
    response = asked(server("regression", **FEATURES), "shap=on;top_k=2", zoo.csv(x))
    contributions = serve.ScoringService.booster.predict(xgboost.DMatrix(x), pred_contribs=True)
    for line, vector in zip(response.data.decode().splitlines(), contributions):
        _, base, *pairs = line.split(",")
        strongest = np.argsort(-np.abs(vector[:-1]), kind="stable")[:2]
        assert np.isclose(np.float32(base), vector[-1], rtol=1e-5)
        assert [pair.split("=")[0] for pair in pairs] == [f"f{feature}" for feature in strongest]
        assert np.allclose([float(pair.split("=")[1]) for pair in pairs], vector[strongest], rtol=1e-5)


def test_top_k_in_json_is_name_and_value_for_each_class(server):
    response = asked(server("softprob", **FEATURES), "shap=on;top_k=2", accept="application/json")
    record = json.loads(response.data)["predictions"][0]
    assert list(record) == ["score", "base_value", "shap_top_k"]
    assert len(record["base_value"]) == len(record["shap_top_k"]) == 3
    assert all(set(top) == {"feature", "value"} for vector in record["shap_top_k"] for top in vector)


def test_a_response_says_in_which_space_its_values_are(server):
    endpoint = server("regression", **FEATURES)
    assert asked(endpoint, "shap=on").headers[ATTRIBUTES] == "shap=on;space=margin;approximate=off"
    approximate = asked(endpoint, "shap=on;approximate=on")
    assert approximate.headers[ATTRIBUTES] == "shap=on;space=margin;approximate=on"
    assert ATTRIBUTES not in endpoint.post(BODY).headers


def test_approximate_is_xgboosts_own(server):
    x = zoo.inputs(rows=5)
    response = asked(server("deep", **FEATURES), "shap=on;approximate=on", zoo.csv(x))
    expected = serve.ScoringService.booster.predict(xgboost.DMatrix(x), pred_contribs=True, approx_contribs=True)
    cells = np.array([[float(cell) for cell in line.split(",")] for line in response.data.decode().splitlines()])
    assert np.array_equal(cells[:, 2:].astype(np.float32), expected[:, :-1])
    exact = serve.ScoringService.booster.predict(xgboost.DMatrix(x), pred_contribs=True)
    assert not np.array_equal(exact, expected)


def beside_the_model(name):
    """Where a file of that name stands for the model that is served."""
    folder = Path(serve.ScoringService.MODEL_PATH) / "xgbpatch"
    folder.mkdir(exist_ok=True)
    return folder / name


@pytest.mark.parametrize("accept", ["text/csv", "application/json"])
def test_probability_is_asked_for(server, accept):
    endpoint = server("binary", XGBPATCH_FEATURES="shap,shap-probability")
    np.save(str(beside_the_model("background.npy")), zoo.inputs(rows=20, seed=9).astype(np.float32))
    response = asked(endpoint, "shap=on;space=probability", accept=accept)
    assert response.headers[ATTRIBUTES] == "shap=on;space=probability;approximate=off"
    if accept == "text/csv":
        rows = [[float(cell) for cell in line.split(",")] for line in response.data.decode().splitlines()]
    else:
        records = json.loads(response.data)["predictions"]
        rows = [[record["score"], record["base_value"], *record["shap_values"]] for record in records]
    assert [row[0] for row in rows] == pytest.approx([sum(row[1:]) for row in rows], abs=1e-4)


def test_probability_without_background_is_refused_with_the_reason(server):
    response = asked(server("binary", XGBPATCH_FEATURES="shap,shap-probability"), "shap=on;space=probability")
    assert (response.status_code, b"there are no background rows" in response.data) == (400, True)


def test_names_beside_the_model_are_used(server):
    endpoint = server("regression", **FEATURES)
    beside_the_model("feature_names.json").write_text(json.dumps(["a", "b", "c", "d", "e", "last, of all"]))
    names = next(csv.reader([asked(endpoint, "shap=on;header=on").data.decode().split("\n")[0]]))
    assert names == ["prediction", "base_value", "a", "b", "c", "d", "e", "last, of all"]


def test_interactions_are_asked_for(server):
    endpoint = server("regression", **FEATURES)
    record = json.loads(asked(endpoint, "shap=on;interactions=on", accept="application/json").data)["predictions"][0]
    assert np.array(record["shap_interactions"]).shape == (zoo.FEATURES + 1, zoo.FEATURES + 1)
    line = asked(endpoint, "shap=on;interactions=on;header=on").data.decode().splitlines()
    names, cells = list(csv.reader(line[:2]))
    assert len(names) == len(cells) == 2 + zoo.FEATURES + (zoo.FEATURES + 1) ** 2
    assert (names[8], names[9], names[-1]) == ("f0*f0", "f0*f1", "base_value*base_value")
    assert [float(cell) for cell in cells[8:]] == np.ravel(record["shap_interactions"]).tolist()


def test_options_change_the_selected_keys(server):
    endpoint = server("regression", **KEYS)
    records = [
        json.loads(asked(endpoint, options, zoo.csv(zoo.inputs(rows=1)), accept="application/jsonlines").data)
        for options in ("shap=on", "shap=on;interactions=on", "shap=on;interactions=off")
    ]
    base = ["predicted_score", "base_value", "shap_values"]
    assert [list(record) for record in records] == [base, [*base, "shap_interactions"], base]


def test_shap_on_beside_the_bases_own_keys_appends(server):
    endpoint = server("binary", **dict(FEATURES, SAGEMAKER_INFERENCE_OUTPUT="predicted_label,probability"))
    assert len(endpoint.post(BODY).data.decode().split("\n")[0].split(",")) == 2
    names, *lines = asked(endpoint, "shap=on;header=on").data.decode().split("\n")
    assert names.split(",")[:4] == ["predicted_label", "probability", "base_value", "f0"]
    assert {len(line.split(",")) for line in lines} == {3 + zoo.FEATURES}


def test_a_header_line_names_the_columns(server):
    plain = server("regression", **SHAP).post(BODY).data
    names, _, rest = server("regression", **dict(SHAP, XGBPATCH_SHAP_HEADER="on")).post(BODY).data.partition(b"\n")
    assert names.decode() == "prediction,base_value,f0,f1,f2,f3,f4,f5"
    assert rest == plain


def test_a_header_line_names_the_columns_of_each_class(server):
    names, line = asked(server("softprob", **FEATURES), "shap=on;header=on").data.decode().splitlines()[:2]
    assert names.startswith("prediction_0,prediction_1,prediction_2,base_value_0,f0_0,f1_0,")
    assert names.endswith(",base_value_2,f0_2,f1_2,f2_2,f3_2,f4_2,f5_2")
    assert len(names.split(",")) == len(line.split(","))


def test_a_header_line_names_the_keys(server):
    names = asked(server("regression", **KEYS), "shap=on;header=on").data.decode().split("\n")[0]
    assert names == "predicted_score,base_value,shap_values"


def test_names_are_quoted_as_csv_wants_it(server, tmp_path):
    named = ["age", "income, gross", 'so "called"', "a=b", "line", "é"]
    booster = zoo.train(zoo.ZOO["regression"])
    booster.feature_names = named
    path = tmp_path / "named"
    path.write_bytes(pickle.dumps(booster))  # older model files hold no names
    endpoint = server(path, **FEATURES)
    names = next(csv.reader([asked(endpoint, "shap=on;header=on").data.decode().split("\n")[0]]))
    assert names == ["prediction", "base_value", *named]
    (cells,) = csv.reader([asked(endpoint, "shap=on;top_k=6", zoo.csv(zoo.inputs(rows=1))).data.decode().strip()])
    cell_names = {cell.partition("=")[0] for cell in cells[2:]}
    assert cell_names == {"age", "income%2C gross", "so %22called%22", "a%3Db", "line", "é"}


@pytest.mark.parametrize("options", ["shap=on;header=on", "shap=on;header=on;top_k=2"])
def test_batch_transform_never_gets_a_header_line(server, options):
    endpoint = server("regression", SAGEMAKER_BATCH="true", **FEATURES)
    plain = endpoint.post(BODY).data.decode().splitlines()
    lines = asked(endpoint, options).data.decode().splitlines()
    assert len(lines) == 4
    assert all(line.startswith(before + ",") for before, line in zip(plain, lines))


def test_an_accept_that_cannot_carry_values_is_406_for_that_request(server):
    endpoint = server("regression", **dict(FEATURES, SAGEMAKER_INFERENCE_OUTPUT="predicted_score"))
    accept = "application/x-recordio-protobuf"
    assert endpoint.post(BODY, accept=accept).status_code == 200
    response = endpoint.post(BODY, accept=accept + ";shap=on")
    assert (response.status_code, b"cannot carry SHAP values" in response.data) == (406, True)


def test_an_image_without_shap_does_not_know_the_option(server):
    plain = answer(server("regression").post(BODY, accept="text/csv;shap=on"))
    endpoint = server("regression", XGBPATCH_FEATURES="daal4py", XGBPATCH_ENGINE="booster")
    assert answer(endpoint.post(BODY, accept="text/csv;shap=on")) == plain
