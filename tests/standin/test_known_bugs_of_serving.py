"""Known bugs of serving: see support/standin/known_bugs.py."""

import inspect
import os
import pickle
import socket
import struct
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import xgboost as xgb
from mms.service import Service
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import (
    handler_service,
    serve,
    serve_utils,
)
from sagemaker_xgboost_container.data_utils import get_content_type, get_dmatrix
from sagemaker_xgboost_container.mms_patch import model_server

from support.overlays.training_jobs import keep_to_own_folder
from support.standin.known_bugs import CLASSES, CSV, ROWS, libsvm, shows


def booster_of(objective, seed=0, labels=None):
    parameters = {"objective": objective, "max_depth": 3, "subsample": 0.6, "seed": seed, "nthread": 1}
    if objective.startswith("multi:"):
        parameters["num_class"] = 3
    labels = (CLASSES > 0) * 1.0 if labels is None else labels
    return xgb.train(parameters, xgb.DMatrix(ROWS, label=labels), 5)


def save(folder, *boosters):
    folder.mkdir(parents=True, exist_ok=True)
    for number, booster in enumerate(boosters):
        booster.save_model(str(folder / f"xgboost-model-{number}"))
    return folder


@pytest.fixture
def client(tmp_path, monkeypatch):
    """client(*boosters): Flask's client of the server in this process, with these in its model folder."""

    def start(*boosters):
        folder = save(tmp_path / "model", *boosters)
        for name, value in {"MODEL_PATH": str(folder), "booster": None, "config_json": None, "objective": None}.items():
            monkeypatch.setattr(serve.ScoringService, name, value)
        serve.load_model()
        return serve.ScoringService.app.test_client()

    return start


def post(client, accept="text/csv"):
    return client.post("/invocations", data=CSV, content_type="text/csv", headers={"Accept": accept})


def test_libsvm_skew(tmp_path):
    keep_to_own_folder(tmp_path)
    text = libsvm(CLASSES, ROWS, 1)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "rows.libsvm").write_text(text)
    trained = get_dmatrix(str(tmp_path / "train"), get_content_type("text/libsvm"))
    served, _ = serve_utils.parse_content_data(text.encode(), "text/libsvm")
    booster = xgb.train({"max_depth": 3, "nthread": 1}, trained, 8)
    scores = [booster.predict(matrix, validate_features=False) for matrix in (trained, served)]
    assert trained.num_col() == 5  # index 0 counts, and is never there
    assert served.num_col() == (4 if shows("libsvm-skew") else 5)
    assert (scores[0].tolist() != scores[1].tolist()) == shows("libsvm-skew")


def test_libsvm_zero_filled():
    """Script mode."""
    rows = np.where(ROWS > 0.7, np.nan, ROWS)
    booster = xgb.train({"max_depth": 3, "nthread": 1}, xgb.DMatrix(rows, label=np.isnan(rows[:, 1])), 5)
    scores = {
        fill: booster.predict(xgb.DMatrix(np.array([[0.3, fill, 0.2]])), validate_features=False).tolist()
        for fill in (0.0, np.nan)
    }
    assert scores[0.0] != scores[np.nan]
    predictions = booster.predict(encoder.libsvm_to_dmatrix(b"0:0.3 2:0.2"), validate_features=False).tolist()
    assert predictions == scores[0.0 if shows("libsvm-zero-filled") else np.nan]


def test_empty_rows(client):
    server = client(booster_of("reg:squarederror"))
    answers = {body: server.post("/invocations", data=body, content_type="text/libsvm") for body in (b"0 0:1\n0", b"0")}
    assert (answers[b"0 0:1\n0"].data.count(b"\n") == 1) == shows("empty-rows")
    assert (answers[b"0"].status_code == 415) == shows("empty-rows")
    rows = encoder.libsvm_to_dmatrix(b"0\n0").num_row()
    assert (rows == 0) == shows("empty-rows-in-script-mode")


def test_row_width(client):
    """Two narrow rows without a gap, and a third with one; what is missing goes left, with the small numbers."""
    rows = np.where(ROWS > 0.7, np.nan, ROWS)
    booster = xgb.train({"max_depth": 3, "nthread": 1}, xgb.DMatrix(rows, label=~(rows[:, 3] > 0.35)), 5)
    server = client(booster)
    two, three = (server.post("/invocations", data=b"1,2,3\n1,2,3" + more, content_type="text/csv")
                  for more in (b"", b"\n1,,3"))  # fmt: skip
    assert (two.status_code == three.status_code == 200) == shows("row-width")
    assert (two.data.split() != three.data.split()[:2]) == shows("gapless-rows")


@pytest.mark.parametrize("accept", ["application/jsonlines", "application/x-recordio-protobuf"])
def test_jsonlines_accept(client, accept):
    server = client(booster_of("binary:logistic"))
    assert [post(server, kind).status_code for kind in ("text/csv", "application/json")] == [200, 200]
    assert (post(server, accept).status_code == 500) == shows("jsonlines-accept")


@pytest.mark.parametrize("objective", ["multi:softmax", "binary:hinge"])
def test_ensemble_vote(client, objective):
    labels = CLASSES if objective == "multi:softmax" else None
    members = [booster_of(objective, seed, labels) for seed in range(3)]
    answer = post(client(*members))
    if shows("ensemble-vote"):
        assert answer.status_code == 500
        return
    matrix = xgb.DMatrix(np.loadtxt(CSV.split("\n"), delimiter=","))
    ballots = zip(*(member.predict(matrix) for member in members))
    majority = [min(set(ballot), key=lambda label: (-list(ballot).count(label), label)) for ballot in ballots]
    assert (answer.status_code, [float(line) for line in answer.data.split()]) == (200, majority)


def test_ensemble_of_probabilities_answers_the_mean(client):
    members = [booster_of("binary:logistic", seed) for seed in range(2)]
    matrix = xgb.DMatrix(np.loadtxt(CSV.split("\n"), delimiter=","))
    expected = np.mean([member.predict(matrix) for member in members], axis=0)
    assert [float(line) for line in post(client(*members)).data.split()] == pytest.approx(expected.tolist(), abs=1e-6)


def test_recordio_growth():
    rows = [{"predicted_score": 1.5}] * 3
    body = serve_utils.encode_selected_predictions(rows, ["predicted_score"], "application/x-recordio-protobuf")
    lengths, at = [], 0
    while at < len(body):
        (length,) = struct.unpack("<I", body[at + 4 : at + 8])
        lengths.append(length)
        at += 8 + length + -length % 4
    assert lengths == [(number if shows("recordio-growth") else 1) * lengths[0] for number in (1, 2, 3)]


MULTI_MODEL = {  # the status that the handler means, and never sends
    "empty": (b"", "text/csv", "application/json"),
    "unknown-type": (b"1,2,3,4", "text/plain", "application/json"),
    "unreadable": (b"a,b", "text/csv", "application/json"),
    "too-wide": (b"1,2,3,4,5", "text/csv", "application/json"),
    "accept": (b"1,2,3,4", "text/csv", "text/plain"),
}


def invoked(service, body, content_type, accept):
    """(status, message) that the model server's worker reports."""
    named = [("Content-Type", content_type), ("Accept", accept)]
    request = {
        "requestId": b"one",
        "headers": [{"name": name.encode(), "value": value.encode()} for name, value in named],
        "parameters": [{"name": "body", "value": body, "contentType": content_type}],
    }
    answer = bytes(service.predict([request]))
    status, length = struct.unpack("!ii", answer[:8])
    return status, answer[8 : 8 + length].decode()


@pytest.fixture
def service(tmp_path):
    handler = handler_service.HandlerService()
    service = Service("one", str(save(tmp_path / "one", booster_of("binary:logistic"))), {}, handler.handle, None, 1)
    handler.initialize(service.context)
    return service


@pytest.mark.parametrize("name", MULTI_MODEL)
def test_mme_errors(service, name):
    assert invoked(service, b"1,2,3,4", "text/csv", "application/json")[0] == 200
    assert (invoked(service, *MULTI_MODEL[name]) == (503, "Prediction failed")) == shows("mme-errors")


def test_dotfile_loaded(tmp_path):
    save(tmp_path, booster_of("binary:logistic"))
    (tmp_path / ".hidden").write_text("no model")
    if shows("dotfile-loaded"):
        with pytest.raises(RuntimeError):
            serve_utils.get_loaded_booster(str(tmp_path), True)
    else:
        assert serve_utils.get_loaded_booster(str(tmp_path), True)[1] == serve_utils.XGB_FORMAT


def test_model_files(tmp_path):
    save(tmp_path, booster_of("binary:logistic"))
    (tmp_path / "requirements.txt").write_text("no model")
    assert shows("model-files")
    with pytest.raises(RuntimeError):
        serve_utils.get_loaded_booster(str(tmp_path), True)


def test_model_missing(tmp_path):
    save(tmp_path / "model", booster_of("binary:logistic"))
    assert shows("model-missing")
    with pytest.raises(IndexError, match=r"list index out of range"):
        serve_utils.get_loaded_booster(str(tmp_path), True)


def test_a_model_that_does_not_load_says_so_twice():
    handler = handler_service.HandlerService.DefaultXGBoostAlgoModeInferenceHandler()
    with pytest.raises(Exception, match=r"Unable to load model: Unable to load model: "):
        handler.default_model_fn("/nowhere")


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickle_runs_code(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "xgboost-model").write_bytes(pickle.dumps(Payload(str(tmp_path / "made"))))
    with pytest.raises((AttributeError, RuntimeError)):  # what was made is no booster
        serve_utils.get_loaded_booster(str(tmp_path / "model"))
    assert (tmp_path / "made").is_dir() == shows("pickle-runs-code")


def test_serve_exit_code(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README").write_text("no model")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    settings = {
        "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
        "SM_MODEL_DIR": str(tmp_path / "model"),
        "SAGEMAKER_BASE_DIR": str(tmp_path),
        "SAGEMAKER_BIND_TO_PORT": str(port),
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "SAGEMAKER_SERVING_MODULE": "sagemaker_xgboost_container.serving:main",
        "SAGEMAKER_USE_NGINX": "false",
    }
    code = "from sagemaker_xgboost_container import serving; serving.serving_entrypoint()"
    completed = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(os.environ, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    assert b"Worker failed to boot" in completed.stdout
    assert (completed.returncode == 0) == shows("serve-exit-code")


def test_mme_start(monkeypatch):
    """The search for the model server, beside a launcher that has ended and that nobody has waited for."""
    launcher = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, launcher.pid, os.WEXITED | os.WNOWAIT)
    java = SimpleNamespace(cmdline=lambda: [model_server.MMS_NAMESPACE])
    monkeypatch.setattr(psutil, "process_iter", lambda: iter([psutil.Process(launcher.pid), java]))
    search = inspect.unwrap(model_server._retrieve_mms_server_process)  # once, not for ten seconds
    try:
        process = search()
    except psutil.ZombieProcess:
        process = None
    finally:
        launcher.wait()
    assert (process is None) == shows("mme-start")
    assert process in (None, java)
