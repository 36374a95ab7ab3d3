"""`xgbpatch_overlays.serve:main` under the base's real gunicorn, in a process of its own."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from support.overlays import forks, zoo
from support.overlays.endpoint import FEATURES, SHAP

MODULES = {"base": "sagemaker_xgboost_container.serving:main", "ours": "xgbpatch_overlays.serve:main"}
GUNICORN = "import runpy; runpy.run_module('gunicorn.app.wsgiapp', run_name='__main__', alter_sys=True)"


@contextlib.contextmanager
def gunicorn(module, folder, forked=True, **environment):
    """A worker of one of MODULES, or of another application; yields (port on 127.0.0.1, the file of its log).

    One that is not forked imports everything after gevent's patches, as the image's do.
    """
    with _reserved_port() as port:
        log = folder.parent / f"{time.time()}.log"
        known = dict(os.environ, SM_MODEL_DIR=str(folder), OMP_NUM_THREADS="1", PYTHONHASHSEED="0", **environment)
        arguments = ["-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{port}", MODULES.get(module, module)]
        if forked:
            process = forks.start(GUNICORN, *arguments, environment=known, stdout=log, stderr=log)
        else:
            command = [sys.executable, "-W", "ignore", "-c", GUNICORN, *arguments]
            with log.open("wb") as sink:
                process = subprocess.Popen(command, env=known, stdout=sink, stderr=sink)
        try:
            _wait(process, port, log)
            yield port, log
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(120)


def answer(port, path="/invocations", body=None, accept="text/csv"):
    """(status, headers without the date, body)"""
    headers = {"Accept": accept, "Content-Type": "text/csv"} if body is not None else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body and body.encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            answer = response
            text = response.read()
    except urllib.error.HTTPError as error:
        answer, text = error, error.read()
    return answer.getcode(), {key: value for key, value in answer.headers.items() if key != "Date"}, text


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    zoo.save(zoo.ZOO["binary"], folder)
    return folder


REQUESTS = [
    {"path": "/ping"},
    {"path": "/execution-parameters"},
    {"body": zoo.csv(zoo.inputs(rows=3))},
    {"body": zoo.csv(zoo.inputs(rows=3)), "accept": "application/json"},
    {"body": zoo.csv(zoo.inputs(rows=1)), "accept": "text/plain"},
    {"body": "a,b"},
    {"path": "/nowhere"},
    {"path": "/invocations"},
]


def test_off_every_answer_is_the_bases(model):
    answers = {}
    for module in MODULES:
        with gunicorn(module, model, **FEATURES) as (port, _):
            answers[module] = [answer(port, **request) for request in REQUESTS]
    assert answers["ours"] == answers["base"]
    assert {status for status, _, _ in answers["base"]} >= {200, 404, 405, 406, 415}


def test_on_the_model_that_was_loaded_early_is_explained_by_either_engine(model):
    body = zoo.csv(zoo.inputs(rows=3))
    with gunicorn("base", model) as (port, _):
        plain = answer(port, body=body)[2].decode().splitlines()
    with gunicorn("ours", model, forked=False, XGBPATCH_ENGINE="daal4py", **SHAP) as (port, log):
        status, _, text = answer(port, body=body)
        assert answer(port, path="/ping")[1]["X-Xgbpatch-Engine"].startswith("daal4py; ")
        assert "Engine: daal4py" in log.read_text()  # found out when the worker started, before any request
    assert status == 200
    assert [line.split(",")[0] for line in text.decode().splitlines()] == plain
    assert {len(line.split(",")) for line in text.decode().splitlines()} == {2 + zoo.FEATURES}


def test_batch_transform_gets_a_line_a_record(model):
    with gunicorn("ours", model, SAGEMAKER_BATCH="true", **SHAP) as (port, _):
        text = answer(port, body=zoo.csv(zoo.inputs(rows=3)), accept="application/json")[2].decode()
    assert text.count("\n") == 3
    assert {len(line.split(",")) for line in text.splitlines()} == {2 + zoo.FEATURES}


def test_a_feature_the_image_does_not_carry_stops_the_worker(model):
    with pytest.raises(RuntimeError, match="--feature shap"), gunicorn("ours", model, XGBPATCH_SHAP_LAYOUT="append"):
        pass


def test_a_model_that_does_not_load_stops_the_worker_as_in_the_base(model):
    (model / "xgboost-model").write_bytes(b"garbage")
    with pytest.raises(RuntimeError, match="Worker failed to boot"), gunicorn("ours", model, **SHAP):
        pass


@contextlib.contextmanager
def _reserved_port():
    """A port that gunicorn, which sets SO_REUSEADDR, can bind and that the system gives to nobody else meanwhile."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def _wait(process, port, log):
    deadline = time.time() + 300
    while time.time() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if answer(port, path="/ping")[0] == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(log.read_text())
