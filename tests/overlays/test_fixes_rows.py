"""Fixes of how serving reads rows: `row-width` and `empty-rows`, each bug seen on the base first."""

import json

import numpy as np
import pytest
from sagemaker_containers import _recordio
from sagemaker_containers.record_pb2 import Record
from sagemaker_xgboost_container import encoder
from test_fixes_serving import (  # noqa: F401  fixtures
    RECORDIO,
    _base_afterwards,
    model_server,
    needed,
    not_needed,
    scores,
    trained_on_one_based,
)

from support.overlays import zoo
from support.overlays.endpoint import SHAP

LIBSVM = "text/libsvm"
X = zoo.inputs(rows=4)


def recordio(rows, sparse=False):
    """A record a row: dense, or with keys and without a shape."""
    body = b""
    for row in rows:
        record = Record()
        tensor = record.features["values"].float32_tensor
        tensor.values.extend(float(value) for value in row)
        if sparse:
            tensor.keys.extend(range(len(row)))
        payload = record.SerializeToString()
        body += np.array([_recordio._kmagic, len(payload)], dtype="<u4").tobytes() + payload
        body += b"\0" * (-len(payload) % 4)
    return body


def both(columns, record="the records have"):
    """What a refusal says of a model of the zoo."""
    return "{} {} column{}, the model has {}".format(record, columns, "" if columns == 1 else "s", zoo.FEATURES)


TABS = zoo.csv(X).replace(",", "\t")
MISREAD = {  # what the base answers, and what is said
    "one column short": (zoo.csv(X[:, :-1]), 200, both(5)),
    "one row": (zoo.csv(X[:1, :3]), 200, both(3)),
    "one cell": ("0.5", 200, both(1)),
    "no cell but empty ones": (",,", 200, both(3)),
    "a leading tab, which is stripped": ("\t" + TABS.split("\n")[0].partition("\t")[2], 200, both(5)),
    "wide": (zoo.csv(np.hstack([X, X[:, :1]])), 400, both(7)),
    "the first row short": (zoo.csv(X[:1, :5]) + "\n" + zoo.csv(X), 415, both(5, "record 1 has")),
    "the last row long": (zoo.csv(X) + "\n" + zoo.csv(X[:1]) + ",", 415, both(7, "record 5 has")),
    "a blank line": (zoo.csv(X) + "\n\n" + zoo.csv(X), 415, both(1, "record 5 has")),
    "recordio, short": (recordio(X[:, :4]), 200, both(4)),
    "recordio, wide": (recordio(np.hstack([X, X])), 400, both(12)),
}


@pytest.mark.parametrize("model", ["regression", "softprob", "gblinear", "pickled", ("regression", "dart")])
def test_row_width(server, model):
    endpoint = server(*[model] if isinstance(model, str) else model)
    bodies = [(body, "text/csv" if isinstance(body, str) else RECORDIO) for body, _, _ in MISREAD.values()]
    before = [endpoint.post(body, content_type=kind).status_code for body, kind in bodies]
    if model != "pickled":  # the base itself refuses some of those
        assert before == [status for _, status, _ in MISREAD.values()]
    assert before[0] == 200
    assert needed("row-width")
    assert not_needed("row-width")
    answers = [endpoint.post(body, content_type=kind) for body, kind in bodies]
    for name, answer in zip(MISREAD, answers):
        assert (name, answer.status_code) == (name, 400)
        assert MISREAD[name][2] + ": send one cell a column" in answer.data.decode()


SOUND = {
    "csv": (zoo.csv(X), "text/csv"),
    "empty cells at the end": ("1,2,,,,\n1,2,3,,,", "text/csv"),
    "CRLF, and a newline at the end": (zoo.csv(X).replace("\n", "\r\n") + "\n", "text/csv; label_size=1"),
    "tabs": (TABS, "csv"),
    "no CSV": ("a,b\n1", "text/csv"),
    "libsvm in the place of CSV": (zoo.libsvm(X), "text/csv"),
    "narrow libsvm with gaps": ("0 0:1 2:1\n1 1:3", LIBSVM),
    "recordio": (recordio(X), RECORDIO),
    "sparse records without a feature": (recordio(X[:2, :0], sparse=True), RECORDIO),
    "unknown type": ("1,2", "text/plain"),
}


@pytest.mark.parametrize("model", ["missing", "pickled"])
@pytest.mark.parametrize(("body", "kind"), SOUND.values(), ids=SOUND)
def test_row_width_changes_nothing_else(server, model, body, kind):
    endpoint = server(model)
    before = endpoint.post(body, content_type=kind)
    needed("row-width")
    after = endpoint.post(body, content_type=kind)
    assert (after.status_code, after.data) == (before.status_code, before.data)


@pytest.mark.parametrize(("write", "kind"), [(zoo.libsvm, LIBSVM), (lambda x: recordio(x, sparse=True), RECORDIO)])
def test_row_width_reads_what_sparse_rows_leave_out_as_missing(server, write, kind):
    """xgboost 3.2 takes such rows for dense ones where they have no gap, and answers two otherwise than one."""
    endpoint, narrow = server("missing"), write(X[:, :3])
    wide = X.copy()
    wide[:, 3:] = np.nan
    truth = scores(endpoint.post(zoo.csv(wide)))
    wrong = bool(np.any(scores(endpoint.post(narrow, content_type=kind)) != truth))
    assert wrong == (zoo.XGBOOST >= (3, 2))
    needed("row-width")
    assert np.array_equal(scores(endpoint.post(narrow, content_type=kind)), truth)


def test_row_width_lets_sparse_records_be_narrower_for_a_pickled_model(server):
    endpoint, body = server("pickled"), recordio(X[:1, :3], sparse=True)
    truth = scores(endpoint.post(zoo.csv(X[:1, :3]) + ",,,"))
    assert endpoint.post(body, content_type=RECORDIO).status_code == 400
    needed("row-width")
    assert np.array_equal(scores(endpoint.post(body, content_type=RECORDIO)), truth)


@pytest.mark.parametrize(
    "environment",
    [{"SAGEMAKER_BATCH": "true"}, {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_score"}, SHAP],
    ids=["batch", "selectable", "shap"],
)
def test_row_width_whatever_is_answered(server, environment):
    endpoint = server("regression", **dict(environment, XGBPATCH_FIXES="row-width"))
    needed("row-width")
    for body in (zoo.csv(X[:, :4]), zoo.csv(X) + "\n1,2"):
        answer = endpoint.post(body)
        assert (answer.status_code, "the model has 6" in answer.data.decode()) == (400, True)
    assert endpoint.post(zoo.csv(X)).status_code == 200


@pytest.mark.parametrize("fixes", [("row-width",), ("row-width", "mme-errors"), ("mme-errors", "row-width")])
@pytest.mark.parametrize("features", [{}, SHAP], ids=["plain", "shap"])
def test_row_width_on_the_model_server(model_server, monkeypatch, fixes, features):  # noqa: F811
    for name, value in dict(features, XGBPATCH_FIXES=",".join(fixes)).items():
        monkeypatch.setenv(name, value)
    worker = model_server(*fixes)
    for body, message in ((zoo.csv(X[:, :4]), both(4)), (zoo.csv(X) + "\n1,2", both(2, "record 5 has"))):
        status, text = worker.post(body)
        assert (status, message in text) == (400, True)
        assert worker.headers["content-type"].startswith("text/plain")
    assert worker.post(zoo.csv(X))[0] == 200
    assert worker.post("a,b")[0] == (415 if "mme-errors" in fixes else 503)


def test_row_width_leaves_script_mode_alone():
    needed("row-width")
    assert encoder.decode("1,2\n3,4", "text/csv").num_col() == 2
    with pytest.raises(ValueError, match=r"."):
        encoder.csv_to_dmatrix("1,2\n3", dtype=float)


# --- rows without features ------------------------------------------------------------------------------------------

A, B = (line.partition(" ")[2] for line in zoo.libsvm(X[:2]).split("\n"))
FROM_ONE = A.partition(" ")[2]
EMPTY = {  # body, and which of its records have no features
    "a label alone": ("0", [True]),
    "labels alone": ("0\n1.5\n-1\n", [True, True, True]),
    "first": ("0\n1 " + A + "\n", [True, False]),
    "in the middle": ("1 " + A + "\n0\n1 " + B, [False, True, False]),
    "last": ("1 " + A + "\n0", [False, True]),
    "several at the end": ("1 " + A + "\n0\n\n0\r\n", [False, True, True, True]),
    "blank lines": ("\n\n" + A + "\n \n" + B + "\n\n", [True, True, False, True, False, True]),
    "a newline alone": ("\n", [True]),
    "white space alone": (" ", [True]),
    "CRLF": ("\r\n" + A + "\r\n\r\n", [True, False, True]),
    "comments": ("# nothing\n1 " + A + "\n1 # a label", [True, False, True]),
    "counted from 1": ("0\n1 " + FROM_ONE + "\n0", [True, False, True]),
}


@pytest.mark.parametrize("skew", [False, True], ids=["", "libsvm-skew"])
@pytest.mark.parametrize("model", ["missing", "softprob", ("regression", "dart")])
def test_empty_rows(server, model, skew):
    endpoint = server(*[model] if isinstance(model, str) else model)
    if skew:
        needed("libsvm-skew")

    def ask(body):
        answer = endpoint.post(body, content_type=LIBSVM)
        return answer.data.decode().splitlines() if answer.status_code == 200 else None

    (nothing,) = endpoint.post("," * (zoo.FEATURES - 1)).data.decode().splitlines()
    before = {name: ask(body) for name, (body, _) in EMPTY.items()}
    alone = {name: ask(body.replace("\r", "").strip()) for name, (body, empty) in EMPTY.items() if not all(empty)}
    assert before["a label alone"] is None
    assert len(before["last"]) == 1
    assert needed("empty-rows")
    for name, (body, empty) in EMPTY.items():
        answers = ask(body)
        assert (name, [answer == nothing for answer in answers]) == (name, empty)
        if name in alone:  # the answers of rows with features are those of before
            assert [one for one in answers if one != nothing] == [one for one in alone[name] if one != nothing]


def test_empty_rows_beside_the_skew(server, trained_on_one_based):  # noqa: F811
    """Both fixes, in both orders: indices as written, a row without features where it stands."""
    path, x, truth = trained_on_one_based
    body = "0\n" + "\n".join("1 " + " ".join(f"{i + 1}:{float(v)!r}" for i, v in enumerate(row)) for row in x) + "\n0"
    for order in (("empty-rows", "libsvm-skew"), ("libsvm-skew", "empty-rows")):
        endpoint = server(path)
        for name in order:
            needed(name)
        assert np.array_equal(scores(endpoint.post(body, content_type=LIBSVM))[1:-1], truth)


REFUSED = {
    "CSV": "1,2,3\n4,5,6",
    "words": "hello",
    "a line of CSV": "0 0:1\n1,2,3\n0 0:2",
    "numbers": "0 0:1\n1 2 3",
    "no number": "0 0:x",
    "a query": "0 qid:1 0:2",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_empty_rows_refuses_what_has_neither_features_nor_a_label(server, body):
    endpoint = server("regression")
    needed("empty-rows")
    answer = endpoint.post(body, content_type=LIBSVM)
    assert (answer.status_code, b"Loading libsvm data failed" in answer.data) == (415, True)


def test_empty_rows_leaves_other_bodies_alone(server):
    endpoint = server("missing")
    body = zoo.libsvm(X)
    requests = [(body, LIBSVM), (body + "\n", None), ("\n" + zoo.csv(X) + "\n\n", "text/csv"), ("", LIBSVM)]
    before = [endpoint.post(body, content_type=kind) for body, kind in requests]
    needed("empty-rows")
    for old, (body, kind) in zip(before, requests):
        new = endpoint.post(body, content_type=kind)
        assert (new.status_code, new.data) == (old.status_code, old.data)


def test_empty_rows_are_explained(server, model_server, monkeypatch):  # noqa: F811
    endpoint = server("missing", **SHAP)
    needed("empty-rows")
    answer = endpoint.post("0\n1 0:0.5 5:2\n0", content_type=LIBSVM)
    assert answer.status_code == 200
    lines = [[float(cell) for cell in line.split(",")] for line in answer.data.decode().splitlines()]
    assert lines[0] == lines[2] != lines[1]
    for line in lines:
        assert abs(sum(line[1:]) - line[0]) <= 1e-4
    for name, value in SHAP.items():
        monkeypatch.setenv(name, value)
    status, text = model_server("empty-rows", model="missing").post("0\n1 0:0.5 5:2\n0", content_type=LIBSVM)
    assert status == 200
    assert [record["score"] for record in json.loads(text)["predictions"]] == [line[0] for line in lines]


def test_empty_rows_in_script_mode():
    wrong = encoder.decode(b"0\n0", LIBSVM).num_row() != 2
    assert wrong == (zoo.XGBOOST >= (3, 2))
    needed("empty-rows")
    booster = zoo.train(zoo.ZOO["missing"])
    matrix = encoder.decode(b"0\n0\n", LIBSVM)
    assert (matrix.num_row(), len(booster.predict(matrix, validate_features=False))) == (2, 2)
    assert encoder.decode(b"0 0:1 3:2\n0", LIBSVM).num_row() == 2
