"""The feature fast: what its application answers, against the base's own on the same requests, and its server."""

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import sys
import threading
import time

import numpy as np
import pytest
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils
from xgbpatch_overlays import settings
from xgbpatch_overlays.fast import application, command, short, wsgi
from xgbpatch_overlays.model.booster import Unsuitable

from support.overlays import forks, zoo

FAST = {"XGBPATCH_FEATURES": "fast"}
ROWS = zoo.inputs(rows=4)
CSV, LIBSVM, MISSING = zoo.csv(ROWS), zoo.libsvm(ROWS), zoo.csv(zoo.inputs(missing=True, rows=5))
WIDE = "\n".join(line + ",1" for line in CSV.split("\n"))
# (content type, body): those that the short way takes first
SHORT = [("text/csv", CSV), ("text/csv; charset=utf-8", MISSING), ("csv", CSV + "\n")]
OTHER = [
    ("text/libsvm", LIBSVM), (None, LIBSVM), ("text/x-libsvm", "1:1 3:2"), ("text/csv", ""), ("text/csv", "a,b"),
    ("text/csv", "1,2"), ("text/csv", WIDE), ("text/csv", CSV.replace(",", ";")), ("text/csv", "1,2,3\n4,5"),
    ("text/csv", ",".join(["inf"] * 6)), ("text/csv", ",".join(["1e39"] * 6)), ("text/csv", "\u00e9,1"),
    ("text/csv;label_size=2", CSV), ("application/json", "[1]"), ("application/x-www-form-urlencoded", CSV),
    ("application/x-parquet", CSV), ("application/x-recordio-protobuf", "x"), ("text/csv", CSV * 40000),
]  # fmt: skip
ACCEPTS = (None, "*/*", "text/csv", "application/json", "TEXT/CSV", "application/jsonlines", "text/plain")
MODELS = ("regression", "binary", "softprob", "softmax")


def scope_of(method="POST", path="/invocations", **headers):
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items() if value]
    return {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": named,
    }  # fmt: skip


async def asked(app, scope, body):
    """(status, headers, body) by ASGI."""
    parts = [{"type": "http.request", "body": body[:7], "more_body": True}]
    parts.append({"type": "http.request", "body": body[7:], "more_body": False})
    sent = []

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    await app.asgi(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def ask(app, scope, body=b""):
    return asyncio.new_event_loop().run_until_complete(asked(app, scope, body))


def expected(scope, body):
    """The base's answer, as its nginx sends it."""
    status, headers, answer = wsgi.called(serve.ScoringService.app, wsgi.environ_of(scope, body))
    headers = {name: value for name, value in headers if status != 204 or name != b"content-length"}
    return status, {**headers, b"connection": b"keep-alive"}, answer


def started(server, *models, **environment):
    """The application with the short way, and that way."""
    server(*models, **environment)
    serve.ScoringService.csdk_start()
    way = short.proved(serve.ScoringService.app, settings.read({**FAST, **environment}))
    return application.Application(serve.ScoringService.app, way), way


SCENES = [((name,), {}) for name in MODELS if name in zoo.SPECIMENS]
SCENES += [(("binary", "regression"), {}), (("binary",), {"SAGEMAKER_BATCH": "true"})]
SCENES += [(("regression",), {"SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "application/json"})]


@pytest.mark.parametrize(("models", "environment"), SCENES, ids=str)
def test_every_request_is_answered_as_the_base_does(server, models, environment):
    app, way = started(server, *models, **environment)
    taken = 0
    for content_type, text in SHORT + OTHER:
        for accept in ACCEPTS if len(text) < 10000 else ACCEPTS[:1]:
            scope = scope_of(content_type=content_type, accept=accept)
            body = text.encode("latin-1")
            ours, theirs = ask(app, scope, body), expected(scope, body)
            theirs[1].pop(b"content-length", None)
            ours[1].pop(b"content-length", None)
            volatile = ours[0] >= 400 and b"0x" in ours[2]  # addresses of a stack, and the clock
            assert (ours[0], ours[1]) == (theirs[0], theirs[1]), (scope, text[:80])
            assert volatile or ours[2] == theirs[2], (scope, text[:80])
            taken += way.answer(scope["headers"], body) is not None
    assert taken >= 3 * len(SHORT), "the short way is hardly taken"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/ping"), ("HEAD", "/ping"), ("GET", "/execution-parameters"), ("PUT", "/invocations"), ("GET", "/pingx")],
)
def test_other_routes_are_the_bases(server, method, path):
    app, _ = started(server, "regression")
    ours, theirs = ask(app, scope_of(method, path)), expected(scope_of(method, path), b"")
    assert ours == theirs


def test_what_the_bases_nginx_answers_itself(server):
    app, _ = started(server, "regression")
    assert ask(app, scope_of("GET", "/nowhere"))[::2] == (404, b"{}")
    status, headers, body = ask(app, scope_of("TRACE"))
    assert (status, headers[b"connection"]) == (405, b"close")
    assert b"<hr><center>nginx</center>" in body


def test_the_short_way_steps_aside_where_something_else_is_answered(server):
    keys = {"SAGEMAKER_INFERENCE_OUTPUT": "predicted_score"}
    with pytest.raises(Unsuitable, match="selectable"):
        started(server, "regression", **keys)
    appended = {"XGBPATCH_FEATURES": "shap,fast", "XGBPATCH_SHAP_LAYOUT": "append"}
    with pytest.raises(Unsuitable, match="another way"):
        started(server, "regression", **appended)
    with pytest.raises(Unsuitable, match="booster"):
        started(server, "regression", XGBPATCH_ENGINE="booster")
    if hasattr(serve_utils, "is_ensemble_enabled"):
        with pytest.raises(Unsuitable):
            started(server, "softmax", "softmax")


def test_a_request_that_asks_for_shap_values_goes_the_bases_way(server):
    _, way = started(server, "regression", XGBPATCH_FEATURES="shap,fast")
    plain, asking = scope_of(content_type="text/csv"), scope_of(content_type="text/csv")
    asking["headers"].append((b"x-amzn-sagemaker-custom-attributes", b"shap=on"))
    assert way.answer(plain["headers"], CSV.encode()) is not None
    assert way.answer(asking["headers"], CSV.encode()) is None


def test_predictions_that_differ_in_one_bit_are_not_taken(server, monkeypatch):
    exact = short.Model.predictions
    monkeypatch.setattr(short.Model, "predictions", lambda *given: np.nextafter(exact(*given), np.float32(9)))
    with pytest.raises(Unsuitable, match="not the base's"):
        started(server, "binary")


def test_ping_is_answered_while_a_request_is_computed(server):
    server("regression")
    goes_on, runs = threading.Event(), threading.Event()

    def slow(environ, start_response):
        if environ["PATH_INFO"] == "/invocations":
            runs.set()
            assert goes_on.wait(120)
        return serve.ScoringService.app(environ, start_response)

    async def both():
        app = application.Application(slow, None)
        long = asyncio.ensure_future(asked(app, scope_of(content_type="text/csv"), CSV.encode()))
        while not runs.is_set():
            await asyncio.sleep(0.01)
        ping = await asked(app, scope_of("GET", "/ping"), b"")
        goes_on.set()
        return ping[0], (await long)[0]

    assert asyncio.new_event_loop().run_until_complete(both()) == (200, 200)


def test_the_command_of_the_base_gets_another_worker_and_application(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    base = ["gunicorn", "--timeout", "60", "-k", "gevent", "-b", "0.0.0.0:8080", "-w", "2", command.OURS]
    ours = command._ours(base)
    assert ours == [
        *["gunicorn", "--preload", "--timeout", "60", "-k", command.WORKER],
        *["-b", "0.0.0.0:8080", "-w", "2", command.APPLICATION],
    ]
    assert command._ours(["nginx"]) == ["nginx"]


GUNICORN = "import runpy; runpy.run_module('gunicorn.app.wsgiapp', run_name='__main__', alter_sys=True)"


@contextlib.contextmanager
def served(folder):
    """The lean server as `serve` starts it; yields (process, port)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = dict(os.environ, SM_MODEL_DIR=str(folder), OMP_NUM_THREADS="1", **FAST)
    options = ["--preload", "-k", command.WORKER, "-w", "1", "-b", f"127.0.0.1:{port}", command.APPLICATION]
    process = forks.start(GUNICORN, *options, environment=variables)
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)):
                break
            assert time.monotonic() < deadline, process.stderr.read_text()
            time.sleep(0.05)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def test_the_server_keeps_connections_and_finishes_what_is_in_flight(tmp_path):
    pytest.importorskip("uvloop")
    folder = tmp_path / "model"
    folder.mkdir()
    zoo.save(zoo.ZOO["regression"], folder)
    with served(folder) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for _ in range(2):  # on one connection
            connection.request("POST", "/invocations", CSV, {"Content-Type": "text/csv"})
            answer = connection.getresponse()
            assert (answer.status, len(answer.read().split())) == (200, len(ROWS))
        half = socket.create_connection(("127.0.0.1", port), 120)
        half.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: text/csv\r\nExpect: 100-continue\r\n")
        half.sendall(b"Content-Length: %d\r\n\r\n" % len(CSV))
        stream = half.makefile("rb")
        assert stream.readline().startswith(b"HTTP/1.1 100")
        assert not stream.readline().strip()
        process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:  # until the port is closed
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 5).close()
                time.sleep(0.05)
                continue
            break
        half.sendall(CSV.encode())
        assert stream.readline().startswith(b"HTTP/1.1 200"), "a request in flight was dropped"
        half.close()


def test_nothing_of_the_feature_is_loaded_where_it_is_off():
    done = forks.run("import sys, xgbpatch_overlays.multi_model\nprint([n for n in sys.modules if 'fast' in n])")
    assert "xgbpatch_overlays.fast" not in done.stdout, sys.version
