"""Our keys in the base's selectable inference: every objective of the zoo in every encoding."""

import csv
import io
import json
import math

import numpy as np
import pytest
import xgboost
from sagemaker_containers._recordio import _read_recordio
from sagemaker_containers.record_pb2 import Record
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils

from support.overlays import zoo
from support.overlays.endpoint import FEATURES

NAMES = sorted(zoo.ZOO)
THEIRS = "predicted_label,probabilities,raw_score,predicted_score"
OURS = "base_value,shap_values,shap_top_k"
JSON_LINES = "application/jsonlines"
RECORDIO = "application/x-recordio-protobuf"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The model file of a name, trained once."""
    folder, paths = tmp_path_factory.mktemp("models"), {}

    def path(name):
        if name not in paths:
            paths[name] = zoo.save(zoo.ZOO[name], folder, name)
        return paths[name]

    return path


def selecting(keys):
    return dict(FEATURES, SAGEMAKER_INFERENCE_OUTPUT=keys)


def answers(endpoint, x):
    """The four encodings of the predictions for `x`, as bytes by type; with the refusal of the first that fails."""
    types = ("text/csv", "application/json", JSON_LINES, RECORDIO)
    answers = {accept: endpoint.post(zoo.csv(x), accept=accept) for accept in types}
    return {accept: (response.status_code, response.data) for accept, response in answers.items()}


def margins(x):
    booster = serve.ScoringService.booster
    cut = {"ntree_limit": getattr(booster, "best_ntree_limit", 0)} if zoo.XGBOOST < (2, 0) else {}
    return booster.predict(xgboost.DMatrix(x), output_margin=True, validate_features=False, **cut)


def decoded(body):
    """The records of a recordio-protobuf body, each a dict of lists, as the base's own readers see them."""
    records = []
    for frame in _read_recordio(io.BytesIO(body)):
        record = Record()
        record.ParseFromString(frame)
        records.append({key: list(record.label[key].float32_tensor.values) for key in record.label})
    return records


def same(one, other):
    return repr(one) == repr(other)  # NaN equals NaN


def selected(models, server, name, rows=6):
    """(x, base's answers or None where it refuses, ours) for one model."""
    x = zoo.inputs(zoo.ZOO[name].missing, rows=rows)
    plain = answers(server(models(name), SAGEMAKER_INFERENCE_OUTPUT=THEIRS), x)
    ours = answers(server(models(name), **selecting(THEIRS + "," + OURS)), x)
    assert {status for status, _ in ours.values()} == {200}, ours
    refused = plain["text/csv"][0] != 200
    assert refused == (serve.ScoringService.objective not in serve_utils.VALID_OBJECTIVES)
    bodies = {accept: body for accept, (_, body) in ours.items()}
    return x, None if refused else {accept: body for accept, (_, body) in plain.items()}, bodies


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_in_every_encoding(models, server, name):
    x, plain, ours = selected(models, server, name)
    records = [json.loads(line) for line in ours[JSON_LINES].splitlines()]
    if plain is None:
        assert [record["predicted_score"] for record in records] == scores(server(models(name)), x)
        assert all(math.isnan(record["probabilities"]) for record in records)
    else:
        assert_theirs_first(plain, ours)
    server(models(name))
    serve.load_model()
    check_sums(records, margins(x))
    assert same(json.loads(ours["application/json"])["predictions"], records)
    check_csv(ours["text/csv"], records)
    check_recordio(ours[RECORDIO], records)


def scores(endpoint, x):
    answer = json.loads(endpoint.post(zoo.csv(x), accept="application/json").data)
    return [record["score"] for record in answer["predictions"]]


def assert_theirs_first(plain, ours):
    """The base's bytes of each record stand in ours, before what we add."""
    for before, after in zip(plain[JSON_LINES].splitlines(), ours[JSON_LINES].splitlines()):
        assert after.startswith(before[:-1] + b", ")
    for before, after in zip(plain["text/csv"].splitlines(), ours["text/csv"].splitlines()):
        assert after.startswith(before + b",")
    own_keys = [{key: record[key] for key in THEIRS.split(",")} for record in decoded(ours[RECORDIO])]
    assert same(own_keys, [{key: record[key] for key in THEIRS.split(",")} for record in decoded(plain[RECORDIO])])


def check_sums(records, expected):
    total = np.array([record["base_value"] for record in records])
    total = total + np.array([record["shap_values"] for record in records]).sum(axis=-1)
    assert total.shape == expected.shape
    assert np.all(np.abs(total - expected) <= 1e-4 * np.maximum(1, np.abs(expected)))


def check_csv(body, records):
    """Lists are quoted, keys in the order in which they were selected, and no newline ends the text."""
    lines = body.decode().split("\n")
    assert len(lines) == len(records)
    for line, record in zip(lines, records):
        (cells,) = csv.reader([line])
        assert len(cells) == 7
        assert json.loads(cells[4]) == record["base_value"]
        assert json.loads(cells[5]) == record["shap_values"]
        assert cells[6] == pairs(record["shap_top_k"])


def pairs(top):
    if isinstance(top[0], list):
        return "[" + ", ".join(pairs(each) for each in top) + "]"
    return "[" + ", ".join("{}={}".format(each["feature"], each["value"]) for each in top) + "]"


def check_recordio(body, records):
    frames = decoded(body)
    assert len(frames) == len(records)
    for frame, record in zip(frames, records):
        assert frame["base_value"] == np.ravel(np.float32(record["base_value"])).tolist()
        assert frame["shap_values"] == np.ravel(np.float32(record["shap_values"])).tolist()
        top = [each for vector in _vectors(record["shap_top_k"]) for each in vector]
        assert frame["shap_top_k"] == np.float32([each["value"] for each in top]).tolist()
        assert frame["shap_top_k_index"] == [int(each["feature"][1:]) for each in top]


def _vectors(top):
    return top if isinstance(top[0], list) else [top]


@pytest.mark.parametrize("name", ["regression", "softprob", "gblinear", "early-stopping"])
def test_interactions_add_up_to_the_values(models, server, name):
    x = zoo.inputs(rows=4)
    endpoint = server(models(name), **selecting("shap_interactions,base_value,shap_values"))
    bodies = {accept: body for accept, (status, body) in answers(endpoint, x).items() if status == 200}
    records = [json.loads(line) for line in bodies[JSON_LINES].splitlines()]
    for record, frame, line in zip(
        records, decoded(bodies[RECORDIO]), csv.reader(bodies["text/csv"].decode().split("\n"))
    ):
        matrix = np.array(record["shap_interactions"])
        vector = np.concatenate([record["shap_values"], np.array(record["base_value"])[..., None]], axis=-1)
        assert matrix.shape == vector.shape + vector.shape[-1:]
        assert np.allclose(matrix.sum(axis=-1), vector, atol=1e-4)
        assert np.allclose(matrix, np.swapaxes(matrix, -1, -2), atol=1e-4)
        assert frame["shap_interactions"] == matrix.ravel().astype(np.float32).tolist()
        assert json.loads(line[0]) == record["shap_interactions"]


def test_top_k_is_the_strongest_by_value_and_name(models, server):
    x = zoo.inputs(rows=5)
    endpoint = server(models("softprob"), XGBPATCH_SHAP_TOP_K="2", **selecting("shap_values,shap_top_k"))
    for record in json.loads(endpoint.post(zoo.csv(x), accept="application/json").data)["predictions"]:
        for values, top in zip(record["shap_values"], record["shap_top_k"]):
            strongest = sorted(range(zoo.FEATURES), key=lambda feature: -abs(values[feature]))[:2]
            assert top == [{"feature": f"f{feature}", "value": values[feature]} for feature in strongest]


@pytest.mark.parametrize("count", ["1", "6", "99"])
def test_top_k_is_never_more_than_the_features(models, server, count):
    endpoint = server(models("regression"), XGBPATCH_SHAP_TOP_K=count, **selecting("shap_top_k"))
    record = json.loads(endpoint.post(zoo.csv(zoo.inputs(rows=1)), accept=JSON_LINES).data)
    assert len(record["shap_top_k"]) == min(int(count), zoo.FEATURES)


def comparable(answers):
    """Old protobufs write the keys of a record in no defined order."""
    status, body = answers.pop(RECORDIO)
    return repr((sorted(answers.items()), status, [sorted(record.items()) for record in decoded(body)]))


def test_without_a_key_of_ours_the_bases_bytes(models, server):
    x = zoo.inputs(rows=5)
    plain = answers(server(models("binary"), SAGEMAKER_INFERENCE_OUTPUT=THEIRS + ",unknown"), x)
    ours = answers(server(models("binary"), **selecting(THEIRS + ",unknown")), x)
    assert comparable(ours) == comparable(plain)
    refused = answers(server(models("poisson"), SAGEMAKER_INFERENCE_OUTPUT=THEIRS), x)
    assert answers(server(models("poisson"), **selecting(THEIRS)), x) == refused
    assert refused["text/csv"][0] == 500


def test_an_image_without_the_feature_answers_as_the_base(models, server):
    x = zoo.inputs(rows=5)
    plain = answers(server(models("regression"), SAGEMAKER_INFERENCE_OUTPUT=OURS), x)
    other = {"XGBPATCH_FEATURES": "daal4py", "XGBPATCH_ENGINE": "booster", "SAGEMAKER_INFERENCE_OUTPUT": OURS}
    assert b"nan" in plain["text/csv"][1]
    assert comparable(answers(server(models("regression"), **other), x)) == comparable(plain)


def test_batch_transform_ends_each_record_with_a_newline(models, server):
    x = zoo.inputs(rows=5)
    endpoint = server(models("softprob"), SAGEMAKER_BATCH="true", XGBPATCH_SHAP_HEADER="on", **selecting(OURS))
    assert endpoint.post(zoo.csv(x)).data.decode().count("\n") == 5


def test_a_mean_ensemble_is_explained_by_the_mean(models, server):
    x = zoo.inputs(rows=5)
    endpoint = server(models("regression"), models("dart"), **selecting("predicted_score,base_value,shap_values"))
    records = json.loads(endpoint.post(zoo.csv(x), accept="application/json").data)["predictions"]
    check_sums(records, np.array([record["predicted_score"] for record in records]))


def test_a_voting_ensemble_is_refused_with_the_reason(models, server):
    response = server(models("softmax"), models("softmax"), **selecting(OURS)).post(zoo.csv(zoo.inputs(rows=2)))
    assert (response.status_code, b"votes" in response.data) == (400, True)


def test_keys_win_over_the_layout_append(models, server):
    endpoint = server(models("regression"), XGBPATCH_SHAP_LAYOUT="append", **selecting("base_value,shap_values"))
    (line,) = csv.reader([endpoint.post(zoo.csv(zoo.inputs(rows=1))).data.decode()])
    assert len(line) == 2


def test_the_bases_refusals_pass(models, server):
    plain = server(models("regression"), SAGEMAKER_INFERENCE_OUTPUT=THEIRS)
    requests = [
        ("", "text/csv"),
        ("a,b", "text/csv"),
        (zoo.csv(zoo.inputs(rows=1)), "text/plain"),
        ("1,2\n3", "text/csv"),
    ]
    expected = [_status_and_text(plain.post(body, accept=accept)) for body, accept in requests]
    ours = server(models("regression"), **selecting(OURS))
    assert [_status_and_text(ours.post(body, accept=accept)) for body, accept in requests] == expected
    assert {status for status, _ in expected} >= {204, 406, 415}


def _status_and_text(response):
    return response.status_code, response.data
