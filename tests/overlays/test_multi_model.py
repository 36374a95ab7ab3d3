"""The handler under the model server's own loader, and the command `serve`."""

import csv
import importlib
import json
import os

import numpy as np
import pytest
import xgboost
from mms.model_loader import MmsModelLoader, ModelLoader
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from xgbpatch_overlays import multi_model

from support.overlays import forks, zoo
from support.overlays.endpoint import FEATURES, SHAP

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
OURS = "xgbpatch_overlays.handler"
BASES = "sagemaker_xgboost_container.algorithm_mode.handler_service"


class Worker:
    """A worker of the model server, without its sockets: its loader, its service, its context."""

    def __init__(self, folder, handler):
        self.headers = {}
        self._service = MmsModelLoader().load("model", str(folder), handler, None, 1)

    def post(self, body, accept="application/json", content_type="text/csv", **headers):
        """(status, body)"""
        from mms.context import RequestProcessor

        context = self._service.context
        all_headers = dict({"Content-Type": content_type, "Accept": accept}, **headers)
        context.request_processor = [RequestProcessor(all_headers)]
        try:
            answer = self._service._entry_point([{"body": None if body is None else body.encode()}], context)
        except Exception as error:  # the model server makes its 503 of it
            return 503, str(error)
        text = answer[0].decode() if isinstance(answer[0], bytes) else answer[0]
        self.headers = context.get_response_headers(0)
        return context.request_processor[0].get_response_status_code(), text


@pytest.fixture
def worker(server, tmp_path, monkeypatch):
    """Starts a worker for models of the zoo with an environment; `server` restores the base's names afterwards."""

    def start(*names, **environment):
        server(names[0])  # leaves the base unhooked
        for name in [name for name in os.environ if name.startswith("XGBPATCH_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(serve_utils, "SAGEMAKER_INFERENCE_OUTPUT", environment.get("SAGEMAKER_INFERENCE_OUTPUT"))
        folder = tmp_path / "-".join(("mme", str(len(list(tmp_path.iterdir()))), *names))
        folder.mkdir()
        for number, name in enumerate(names):
            zoo.save(zoo.ZOO[name], folder, f"model-{number}")
        return Worker(folder, OURS if environment else BASES)

    return start


def test_the_model_server_finds_one_class_and_no_handle():
    module = importlib.import_module(OURS)
    base = importlib.import_module(BASES).HandlerService
    (service,) = ModelLoader.list_model_services(module)
    assert issubclass(service, base)
    assert not hasattr(module, "handle")


@pytest.mark.parametrize("name", ["regression", "binary", "softprob", "early-stopping"])
def test_json_carries_score_base_value_and_values(worker, name):
    x = zoo.inputs(rows=5)
    status, plain = worker(name).post(zoo.csv(x))
    assert status == 200
    status, text = worker(name, **SHAP).post(zoo.csv(x))
    records = json.loads(text)["predictions"]
    assert status == 200
    assert [record["score"] for record in records] == json.loads(plain)
    total = np.array([record["base_value"] for record in records]) + np.sum(
        [r["shap_values"] for r in records], axis=-1
    )
    booster = _booster(name)
    cut = {"ntree_limit": getattr(booster, "best_ntree_limit", 0)} if zoo.XGBOOST < (2, 0) else {}
    margins = booster.predict(xgboost.DMatrix(x), output_margin=True, **cut)
    assert np.all(np.abs(total - margins) <= 1e-4 * np.maximum(1, np.abs(margins)))


def test_csv_is_one_line_a_record_with_the_bases_numbers(worker):
    x = zoo.inputs(rows=4)
    _, plain = worker("binary").post(zoo.csv(x), accept="text/csv")
    _, text = worker("binary", **SHAP).post(zoo.csv(x), accept="text/csv")
    assert [line.split(",")[0] for line in text.splitlines()] == plain.split(",")
    assert {len(line.split(",")) for line in text.splitlines()} == {2 + zoo.FEATURES}


def test_records_that_may_be_misread_are_predicted_and_not_explained(worker):
    body = zoo.csv(zoo.inputs(rows=2)[:, :-1])
    plain, ours = worker("regression"), worker("regression", **SHAP)
    assert ours.post(body, accept="application/json; shap=off") == plain.post(body)
    status, text = ours.post(body)
    assert (status, "the records have 5 columns, the model has 6" in text) == (400, True)


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("name", ["regression", "softprob"])
def test_one_request_asks_and_the_next_is_the_bases(worker, name, accept):
    body = zoo.csv(zoo.inputs(rows=3))
    plain = worker(name).post(body, accept=accept)
    configured = worker(name, **SHAP).post(body, accept=accept)
    carried = worker(name, **FEATURES)
    assert carried.post(body, accept=accept, **{ATTRIBUTES.lower(): "shap=on"}) == configured
    assert carried.headers[ATTRIBUTES] == "shap=on;space=margin;approximate=off"
    assert carried.post(body, accept=accept + "; shap=on") == configured
    assert carried.headers["content-type"] == accept
    assert carried.post(body, accept=accept) == plain
    assert carried.headers == {"content-type": accept}
    assert carried.post(body, accept=accept + ";shap=off") == plain


def test_options_of_one_request(worker):
    body = zoo.csv(zoo.inputs(rows=2))
    carried = worker("binary", **FEATURES)
    _, text = carried.post(body, **{ATTRIBUTES: "shap=on;top_k=2;interactions=on"})
    (first, _) = json.loads(text)["predictions"]
    assert list(first) == ["score", "base_value", "shap_top_k", "shap_interactions"]
    _, text = carried.post(body, accept="text/csv;shap=on;header=on;top_k=1")
    assert text.splitlines()[0] == "prediction,base_value,top_1"
    assert len(text.splitlines()) == 3


def test_a_bad_option_is_refused(worker):
    carried = worker("regression", **FEATURES)
    refusal = carried.post(zoo.csv(zoo.inputs(rows=1)), accept="text/csv;shap=perhaps")
    assert refusal == (400, 'shap="perhaps" is not allowed; allowed: on, off')
    assert carried.post(zoo.csv(zoo.inputs(rows=1)))[0] == 200


@pytest.mark.parametrize("name", ["binary", "softprob", "poisson"])
def test_selected_keys_where_the_base_ignores_them(worker, name):
    x = zoo.inputs(rows=3)
    keys = {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_label,predicted_score,base_value,shap_values"}
    _, plain = worker(name).post(zoo.csv(x))
    explaining = worker(name, **dict(FEATURES, **keys))
    status, text = explaining.post(zoo.csv(x))
    records = json.loads(text)["predictions"]
    assert status == 200
    assert [set(record) for record in records] == [set(keys["SAGEMAKER_INFERENCE_OUTPUT"].split(","))] * 3
    scores = np.array(json.loads(plain))
    if name == "poisson":
        assert [record["predicted_score"] for record in records] == scores.tolist()
    else:
        labels = scores.argmax(axis=1) if scores.ndim == 2 else scores > 0.5
        assert [record["predicted_label"] for record in records] == labels.tolist()
    rows = list(csv.reader(explaining.post(zoo.csv(x), accept="text/csv")[1].split("\n")))
    assert [json.loads(row[3]) for row in rows] == [record["shap_values"] for record in records]
    assert explaining.post(zoo.csv(x), accept="application/json;shap=off") == (200, plain)


def test_the_bases_own_keys_alone_stay_ignored(worker):
    body = zoo.csv(zoo.inputs(rows=3))
    plain = worker("binary").post(body)
    assert worker("binary", **dict(FEATURES, SAGEMAKER_INFERENCE_OUTPUT="predicted_label")).post(body) == plain


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize("more", ["", ",shap"])
def test_json_input_gets_the_answer_of_its_csv(worker, more, accept):
    rows = [[0.1, None, -2.5e-7, 3, 1e21, 0.0], [1.5, 2, 3, 4, 5, 6.25]]
    body = zoo.csv(np.array(rows, dtype=float))
    layout = {"XGBPATCH_SHAP_LAYOUT": "append"} if more else {}
    base = worker("binary", XGBPATCH_FEATURES=more, **layout)
    expected, empty, absent = base.post(body, accept), base.post("", accept), base.post(None, accept)
    endpoint = worker("binary", XGBPATCH_FEATURES="json-input" + more, **layout)
    assert (expected[0], empty[0]) == (200, 503)
    assert endpoint.post(json.dumps({"instances": rows}), accept, "application/json; charset=utf-8") == expected
    assert endpoint.post("\n".join(map(json.dumps, rows)), accept, "application/jsonlines") == expected
    assert endpoint.post('{"instances": []}', accept, "application/json") == empty
    assert endpoint.post(None, accept, "application/json") == absent
    refusal = endpoint.post("[[1,2]]", accept, "application/json")
    assert refusal == (400, "Record 1 has 2 columns, the model has 6: send one value a column, or null")
    assert endpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert endpoint.post(body, accept) == expected


def test_off_json_input_changes_nothing_in_a_multi_model_endpoint(worker):
    requests = [("[[1,2,3,4,5,6]]", "text/csv", kind) for kind in ("application/json", "application/jsonlines")]
    expected = [worker("binary").post(*request) for request in requests]
    assert [worker("binary", **FEATURES).post(*request) for request in requests] == expected
    assert {status for status, _ in expected} == {503}


def test_a_response_above_the_limit_is_refused(worker):
    limited = worker("regression", XGBPATCH_SHAP_MEGABYTES="0.001", **SHAP)
    status, reason = limited.post(zoo.csv(zoo.inputs(rows=100)))
    assert (status, "the limit is 1048 bytes (XGBPATCH_SHAP_MEGABYTES)" in reason) == (413, True)


@pytest.mark.parametrize(
    ("properties", "limit"),
    [
        ("vmargs=-Xmx1m\nmax_response_size=900\n", 900),
        ("#max_response_size=5\n max_response_size : 901", 901),
        ("max_response_size=$$LIMIT$$\n", 902),
        ("max_request_size=5\n", 6553500),
        (None, 6553500),
    ],
)
def test_the_model_servers_own_limit_is_read_from_its_file(tmp_path, properties, limit):
    path = tmp_path / "config.properties"
    if properties is not None:
        path.write_text(properties)
    assert multi_model.server_limit({"XGBOOST_MMS_CONFIG": str(path), "LIMIT": "902"}) == limit
    assert multi_model.server_limit({}) == 6553500


def test_a_response_that_the_model_server_would_not_take_is_refused(worker, tmp_path):
    path = tmp_path / "config.properties"
    path.write_text("max_response_size=1000\n")
    limited = worker("regression", XGBPATCH_SHAP_MEGABYTES="100", XGBOOST_MMS_CONFIG=str(path), **SHAP)
    status, reason = limited.post(zoo.csv(zoo.inputs(rows=100)))
    assert (status, "the limit is 1000 bytes (max_response_size)" in reason) == (413, True)
    assert limited.headers["content-type"] == "text/plain; charset=utf-8"
    fit = int(reason.split("send at most ")[1].split()[0])
    status, text = limited.post(zoo.csv(zoo.inputs(rows=fit)))
    assert (status, len(text) <= 1000) == (200, True)


def test_engine_answers_with_the_bases_bytes(worker):
    x = zoo.inputs(rows=4)
    _, plain = worker("softprob").post(zoo.csv(x))
    status, text = worker("softprob", XGBPATCH_FEATURES="daal4py", XGBPATCH_ENGINE="daal4py").post(zoo.csv(x))
    assert (status, text) == (200, plain)
    (member,) = serve_utils.predict.__self__._models.values()
    assert member.choice.engine == "daal4py", member.choice.reason


@pytest.mark.parametrize(
    ("body", "accept"), [("", "text/csv"), ("a,b", "text/csv"), ("1,2,3,4,5,6", "text/plain"), ("1,2,3,4,5,6", "json")]
)
def test_errors_stay_the_bases(worker, body, accept):
    plain = worker("regression").post(body, accept=accept)
    assert worker("regression", **SHAP).post(body, accept=accept) == plain
    assert plain[0] == 503


def test_too_many_records_are_refused(worker):
    limited = worker("forest-softprob", XGBPATCH_SHAP_SECONDS="0.001", **SHAP)
    status, reason = limited.post(zoo.csv(zoo.inputs(rows=3000)))
    assert (status, "the limit is 0.001 s" in reason) == (413, True)


PROGRAM = """
import sys
from sagemaker_xgboost_container import serving, serving_mms
serving.start_mxnet_model_server = lambda: print("model server:", serving_mms.ALGO_HANDLER_SERVICE)
serving.server.start = lambda module: print("gunicorn:", module)
from xgbpatch_overlays.bin_serve import main
sys.exit(main())
"""
MANY = {"SAGEMAKER_MULTI_MODEL": "true"}


@pytest.mark.parametrize(
    ("environment", "started"),
    [
        (SHAP, "gunicorn: xgbpatch_overlays.serve:main"),
        (MANY, "model server: " + BASES),
        (dict(MANY, XGBPATCH_FEATURES="daal4py"), "model server: " + BASES),
        (dict(MANY, XGBPATCH_FEATURES="shap"), "model server: " + OURS),
        (dict(MANY, XGBPATCH_FEATURES="json-input"), "model server: " + OURS),
        (dict(MANY, **SHAP), "model server: " + OURS),
        (dict(MANY, SAGEMAKER_PROGRAM="user.py", **SHAP), "model server: " + BASES),
    ],
    ids=["one model", "nothing on", "carried but off", "requests may ask", "requests may be JSON", "on", "script mode"],
)
def test_serve_starts_the_bases_server_with_the_right_handler(environment, started):
    completed = serve(environment)
    assert completed.returncode == 0, completed.stderr
    assert started in completed.stdout


def test_serve_ends_at_once_on_a_bad_setting():
    completed = serve(dict(MANY, XGBPATCH_SHAP_LAYOUT="append"))
    assert completed.returncode == 1
    assert "--feature shap" in completed.stderr
    assert "model server" not in completed.stdout


def serve(environment):
    """The command, in a process of its own."""
    known = dict(os.environ, SAGEMAKER_SERVING_MODULE="xgbpatch_overlays.serve:main", **environment)
    return forks.run(PROGRAM, environment=known)


def _booster(name):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        zoo.save(zoo.ZOO[name], folder)
        return serve_utils.get_loaded_booster(folder)[0]
