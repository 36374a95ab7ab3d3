"""Multi-model endpoints of a base hold to their contract, on the real Multi Model Server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from support.standin.served_base import Endpoint, Zoo, served
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import Mount, Run

CSV = "0.1,0.2,0.3,0.4\n0.9,0.8,0.7,0.6\n0.5,0.1,0.9,0.2"
FAILED = {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}


@pytest.fixture(scope="module")
def endpoint(engine: Engine, image: str, zoo: Zoo) -> Iterator[Endpoint]:
    """Two models are loaded: one that serves and one that is no model, which loads with 200 all the same."""
    mounts = (Mount(zoo.folder, "/opt/ml/models/zoo"),)
    environment = {"SAGEMAKER_MULTI_MODEL": "false", "SAGEMAKER_MAX_REQUEST_SIZE": str(7 << 20)}
    run = Run(image, ("serve",), environment=environment, mounts=mounts, ports=(8080,))
    with served(engine, run) as started:
        for model in ("logistic", "junk"):
            answer = load(started, model, model)
            assert (answer.status_code, answer.json()) == (200, {"status": "Workers scaled"})
        yield started


def load(endpoint: Endpoint, name: str, model: str):
    body = json.dumps({"model_name": name, "url": f"/opt/ml/models/zoo/{model}"}).encode()
    return endpoint.request("POST", "/models", body, content_type="application/json")


def invoke(endpoint: Endpoint, body: str, model: str = "logistic", **headers: str):
    return endpoint.request("POST", f"/models/{model}/invoke", body.encode(), **headers)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json"])
def test_json_is_a_bare_list(endpoint, zoo, accept):
    headers = {"accept": accept} if accept else {}
    answer = invoke(endpoint, CSV, content_type="text/csv", **headers)
    assert (answer.status_code, answer.text) == (200, json.dumps(zoo.scores("logistic", "rows")))
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("accept", ["text/csv", "csv"])
def test_csv_is_one_line(endpoint, zoo, accept):
    answer = invoke(endpoint, CSV, content_type="text/csv", accept=accept)
    assert (answer.status_code, answer.text) == (200, ",".join(map(str, zoo.scores("logistic", "rows"))))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        pytest.param("", {"content_type": "text/csv"}, id="empty"),
        pytest.param(CSV, {"content_type": "text/plain"}, id="unknown-type"),
        pytest.param("a,b", {"content_type": "text/csv"}, id="unreadable"),
        pytest.param("1,2,3,4,5", {"content_type": "text/csv"}, id="wide"),
        pytest.param(CSV, {"content_type": "text/csv", "accept": "text/plain"}, id="accept"),
        pytest.param(CSV, {"content_type": "text/csv", "accept": "json"}, id="accept-json"),
        pytest.param(CSV, {"content_type": "text/csv", "accept": "application/jsonlines"}, id="accept-jsonlines"),
        pytest.param(CSV, {"content_type": "text/csv", "model": "junk"}, id="no-model"),
    ],
)
def test_every_failure_is_the_same_503(endpoint, body, headers):
    answer = invoke(endpoint, body, **headers)
    assert (answer.status_code, answer.json()) == (503, FAILED)


def test_limits_are_what_the_environment_says(endpoint):
    limits = endpoint.request("GET", "/execution-parameters").json()
    assert limits == {"MaxConcurrentTransforms": 1, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 7}


def test_models_are_listed_refused_twice_and_unloaded(endpoint):
    assert load(endpoint, "again", "logistic").status_code == 200
    assert load(endpoint, "again", "logistic").status_code == 409
    models = endpoint.request("GET", "/models").json()["models"]
    assert {"modelName": "again", "modelUrl": "/opt/ml/models/zoo/logistic"} in models
    assert endpoint.request("DELETE", "/models/again").status_code == 200
    assert endpoint.request("GET", "/models/again").status_code == 404
    assert invoke(endpoint, CSV, model="again", content_type="text/csv").status_code == 404


def test_a_start_that_is_held_up_finds_its_model_server(engine, image):
    """The launcher has ended long before the toolkit looks for Java's process, as happens on a busy machine."""
    held_up = """
import time
from sagemaker_xgboost_container import serving
from sagemaker_xgboost_container.mms_patch import model_server

look = model_server._retrieve_mms_server_process

def late():
    time.sleep(5)
    process = look()
    print("its server is", next(word for word in process.cmdline() if word.endswith("ModelServer")), flush=True)
    return process

model_server._retrieve_mms_server_process = late
serving.serving_entrypoint()
"""
    run = Run(image, ("python3", "-c", held_up), environment={"SAGEMAKER_MULTI_MODEL": "true"})
    with engine.container(run) as container:
        deadline = time.monotonic() + 300
        while container.running and time.monotonic() < deadline and "its server" not in container.stdout():
            time.sleep(0.5)
        assert "its server is com.amazonaws.ml.mms.ModelServer" in container.stdout(), container.stderr()
