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
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils
from xgbpatch_overlays import settings
from xgbpatch_overlays.fast import application, command, short, wsgi
from xgbpatch_overlays.fixes import answers
from xgbpatch_overlays.model.booster import Unsuitable

from support.overlays import forks, zoo

FAST = {"XGBPATCH_FEATURES": "fast"}
CUSTOM = "x_amzn_sagemaker_custom_attributes"
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
    ("application/x-parquet", CSV), ("application/x-recordio-protobuf", "x"),
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
    messages = []

    async def receive():
        return parts.pop(0)

    async def send(message):
        messages.append(message)

    await app.asgi(scope, receive, send)
    return messages[0]["status"], dict(messages[0]["headers"]), messages[1]["body"]


def ask(app, scope, body=b""):
    return asyncio.new_event_loop().run_until_complete(asked(app, scope, body))


def same_as_the_base(app, scope, body):
    ours, theirs = ask(app, scope, body), expected(scope, body)
    theirs[1].pop(b"content-length", None)
    ours[1].pop(b"content-length", None)
    volatile = ours[0] >= 400 and b"0x" in ours[2]  # addresses of a stack, and the clock
    assert (ours[0], ours[1]) == (theirs[0], theirs[1]), (scope, body[:80])
    assert volatile or ours[2] == theirs[2], (scope, body[:80])


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
    count = 0
    for content_type, text in SHORT + OTHER:
        for accept in ACCEPTS:
            scope = scope_of(content_type=content_type, accept=accept)
            body = text.encode("latin-1")
            same_as_the_base(app, scope, body)
            count += way.answer(scope["headers"], body) is not None
    assert count >= 3 * len(SHORT), "the short way is hardly taken"


def test_a_body_of_megabytes_is_answered_as_the_base_does(server):
    app, _ = started(server, "regression")
    same_as_the_base(app, scope_of(content_type="text/csv"), (CSV * 40000).encode())


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
    with pytest.raises(Unsuitable, match="another way"):
        started(server, "regression", XGBPATCH_SHAP_APPROXIMATE="on", **APPEND)
    with pytest.raises(Unsuitable, match="booster"):
        started(server, "regression", XGBPATCH_ENGINE="booster")
    if hasattr(serve_utils, "is_ensemble_enabled"):
        with pytest.raises(Unsuitable):
            started(server, "softmax", "softmax")


ON_REQUEST = {"XGBPATCH_FEATURES": "shap,fast"}
APPEND = dict(ON_REQUEST, XGBPATCH_SHAP_LAYOUT="append")
ATTRIBUTES = (
    None, "shap=on", "trace=1;shap=on;top_k=2", "shap=on;interactions=on", "shap=on;header=on", "shap=off",
    "shap=on;approximate=on", "trace=1", "shap=maybe", "shap=on;space=probability",
)  # fmt: skip
EXPLAINED = [
    (("regression",), ON_REQUEST), (("softprob",), ON_REQUEST), (("binary", "regression"), ON_REQUEST),
    (("binary",), APPEND), (("regression",), dict(APPEND, XGBPATCH_SHAP_TOP_K="2", XGBPATCH_SHAP_HEADER="on")),
    (("softmax",), dict(APPEND, SAGEMAKER_BATCH="true", XGBPATCH_SHAP_HEADER="on")),
    (("regression",), dict(APPEND, XGBPATCH_SHAP_MEGABYTES="0.004")),
]  # fmt: skip


def proved(app):
    """Wait until nothing is left to be proved of the requests so far."""
    app._base_thread.submit(int).result(120)


@pytest.mark.parametrize(("models", "environment"), [each for each in EXPLAINED if zoo.SPECIMENS.keys() >= {*each[0]}])
def test_explained_requests_are_answered_as_the_base_does(server, monkeypatch, models, environment):
    fixed = hasattr(encoder, "json_to_jsonlines")
    if fixed:
        monkeypatch.setattr(serve, "encoders", answers._Encoders(serve.encoders))
    app, way = started(server, *models, **environment)
    cases, refused = set(), 0
    accepts = (None, "text/csv", "application/json", "application/jsonlines", "text/csv;shap=on;top_k=1", "text/plain")
    for attributes in ATTRIBUTES:
        for accept in accepts:
            for content_type, text in (*SHORT[:2], ("text/csv", 30 * (CSV + "\n"))):
                scope = scope_of(content_type=content_type, accept=accept, **{CUSTOM: attributes})
                body = text.encode("latin-1")
                way_takes = way.answer(scope["headers"], body)
                ours, theirs = ask(app, scope, body), expected(scope, body)
                theirs[1].pop(b"content-length", None)
                ours[1].pop(b"content-length", None)
                assert ours == theirs, (scope, text[:80])
                proved(app)
                if way_takes and way_takes[0] == 200:
                    cases.add((attributes, accept))
                refused += bool(way_takes and way_takes[0] == 413)
    for accept in (None, "text/csv", "application/json", "application/jsonlines")[: 4 if fixed else 3]:
        for attributes in (None, "shap=on", "shap=on;interactions=on", "shap=off", "trace=1"):
            assert (attributes, accept) in cases or refused, (attributes, accept)
    assert ("shap=on;approximate=on", "text/csv") not in cases
    assert bool(refused) == ("XGBPATCH_SHAP_MEGABYTES" in environment)


def test_values_that_differ_are_not_taken(server, monkeypatch):
    from xgbpatch_overlays.fast import explained

    exact = explained.Explained.behind
    monkeypatch.setattr(explained.Explained, "behind", lambda *arguments: exact(*arguments) + b" ")
    _, way = started(server, "regression", **ON_REQUEST)
    headers = scope_of(content_type="text/csv", **{CUSTOM: "shap=on"})["headers"]
    assert way.unproved(headers) == (None, "shap=on")
    way.prove(None, "shap=on")
    assert way.unproved(headers) is None
    assert way.answer(headers, CSV.encode()) is None


def test_kinds_that_are_proved_have_an_end(server):
    _, way = started(server, "regression", **ON_REQUEST)
    for count in range(1, 2 * short.MOST_FORMATS):
        headers = scope_of(content_type="text/csv", **{CUSTOM: f"shap=on;top_k={count}"})["headers"]
        if way.unproved(headers):
            way._formats[way._kind(None, f"shap=on;top_k={count}")] = None
    assert len(way._formats) == short.MOST_FORMATS


def test_predictions_that_differ_in_one_bit_are_not_taken(server, monkeypatch):
    exact = short.ProvedModel.predictions
    monkeypatch.setattr(
        short.ProvedModel, "predictions", lambda *arguments: np.nextafter(exact(*arguments), np.float32(9))
    )
    with pytest.raises(Unsuitable, match="not the base's"):
        started(server, "binary")


@pytest.mark.parametrize("short_way", [False, True])
def test_ping_is_answered_while_a_request_is_computed(server, monkeypatch, short_way):
    from xgbpatch_overlays.fast import explained

    goes_on, runs = threading.Event(), threading.Event()

    def slowly(call):
        def slow(*arguments):
            runs.set()
            assert goes_on.wait(120)
            return call(*arguments)

        return slow

    app, _ = started(server, "regression", **APPEND)
    if short_way:
        monkeypatch.setattr(application, "AT_ONCE", 0)
        monkeypatch.setattr(explained.Explained, "behind", slowly(explained.Explained.behind))
    else:
        app._way = None
        monkeypatch.setattr(serve_utils, "parse_content_data", slowly(serve_utils.parse_content_data))

    async def both():
        long = asyncio.ensure_future(asked(app, scope_of(content_type="text/csv"), CSV.encode()))
        while not runs.is_set():
            await asyncio.sleep(0.01)
        ping = await asked(app, scope_of("GET", "/ping"), b"")
        goes_on.set()
        return ping[0], (await long)[0]

    assert asyncio.new_event_loop().run_until_complete(asyncio.wait_for(both(), 300)) == (200, 200)


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


HANGS = """
import time
from xgbpatch_overlays.fast import worker
from sagemaker_xgboost_container.algorithm_mode import serve_utils
parse, worker.PATIENCE = serve_utils.parse_content_data, 1
def slow(body, kind):
    if b"|" in body:
        time.sleep(600)
    return parse(body, kind)
serve_utils.parse_content_data = slow
"""


@contextlib.contextmanager
def served(folder, source="", timeout=60, **environment):
    """The lean server as `serve` starts it, after `source`; yields (process, port)."""
    folder.mkdir()
    zoo.save(zoo.ZOO["regression"], folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = dict(os.environ, SM_MODEL_DIR=str(folder), OMP_NUM_THREADS="1", **{**FAST, **environment})
    options = ["--preload", "-k", command.WORKER, "-w", "1", "--timeout", str(timeout), "-b", f"127.0.0.1:{port}"]
    process = forks.start(source + GUNICORN, *options, command.APPLICATION, environment=variables)
    try:
        until(lambda: connects(port), process)
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def until(condition, process):
    """Wait for `condition()`; what the server wrote is said where it does not come."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, process.stderr.read_text()
        time.sleep(0.05)


def connects(port):
    with contextlib.suppress(OSError), contextlib.closing(socket.create_connection(("127.0.0.1", port), 5)):
        return True


def on_wire(scope, body, chunked=False):
    """The bytes of a request."""
    length = [b"Transfer-Encoding: chunked"] if chunked else [b"Content-Length: %d" % len(body)] if body else []
    lines = [f"{scope['method']} {scope['path']} HTTP/1.1".encode(), b"Host: endpoint", *length]
    lines += [b"%s: %s" % header for header in scope["headers"]]
    parts = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:1], body[1:]) if part] + [b"0\r\n\r\n"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"".join(parts) if chunked else body)


def read(stream, head=False):
    """(status, headers, body) of the next answer."""
    status, headers = int(stream.readline().split()[1]), {}
    for line in iter(stream.readline, b"\r\n"):
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    return status, headers, b"" if head else stream.read(int(headers.get(b"content-length", 0)))


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("/ping", "/ping"), ("//ping", "/ping"), ("/./ping", "/ping"), ("/x/..//ping", "/ping"), ("/%70ing", "/ping"),
        ("/%2fping", "/ping"), ("/x%2f..%2Fping", "/ping"), ("/x/%2e%2E/ping", "/ping"), ("/ping/../x", "/x"),
        ("/..ping", "/..ping"), ("/%252e%252e/ping", "/%2e%2e/ping"), ("/ping/..", "/"),
        *((raw, None) for raw in ("/../ping", "/%2e%2E/ping", "/ping/../../x", "/..", "/%00", "/ping/%00", "*")),
        *((raw, None) for raw in ("/%zz", "/ping%", "/%2")),
    ],
)  # fmt: skip
def test_a_path_is_read_as_nginx_reads_it(raw, path):
    assert application.located(raw.encode()) == (path.encode() if path else None)


def test_requests_one_after_the_other_on_one_connection(server, monkeypatch, tmp_path):
    limit, nowhere = 4000, (404, {b"content-type": b"application/octet-stream"}, b"{}")
    requests = [
        (scope_of(content_type="text/csv"), CSV), (scope_of("GET", "/ping"), ""), (scope_of("HEAD", "/ping"), ""),
        (scope_of("GET", "/execution-parameters"), ""), (scope_of(content_type="text/csv"), (CSV + "\n") * 50),
        (scope_of(content_type="text/csv", accept="application/json"), CSV), (scope_of("GET", "/nowhere"), ""),
        *((scope_of(content_type="text/csv", **{CUSTOM: "shap=on"}), CSV) for _ in range(3)),
        (scope_of(content_type="text/csv", accept="text/plain"), CSV), (scope_of("HEAD", "/invocations"), ""),
        *((scope_of(method), CSV) for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND")),
        (scope_of("HEAD", "/nowhere"), ""), (scope_of("GET", "/invocations"), ""), (scope_of("POST", "/ping"), "1"),
        (scope_of("POST", "//invocations", content_type="text/csv"), CSV), (scope_of("GET", "/pingx"), ""),
        (scope_of("POST", "/invocations/", content_type="text/csv"), CSV), (scope_of(), ""), (scope_of(), "a"),
    ]  # fmt: skip
    with served(tmp_path / "lean", MAX_CONTENT_LENGTH=str(limit), **ON_REQUEST) as (_, port):
        monkeypatch.setattr(serve.ScoringService, "MAX_CONTENT_LENGTH", limit)
        monkeypatch.setattr(serve, "PARSED_MAX_CONTENT_LENGTH", limit)
        config = serve.ScoringService.app.config  # the application outlives the test
        monkeypatch.setitem(config, "MAX_CONTENT_LENGTH", limit)
        started(server, "regression", **ON_REQUEST)
        connection = socket.create_connection(("127.0.0.1", port), 120)
        wire = [on_wire(each, body.encode(), bool(body) and at % 2 > 0) for at, (each, body) in enumerate(requests)]
        connection.sendall(b"".join(wire))  # pipelined
        stream = connection.makefile("rb")
        for scope, body in requests:
            status, headers, answer = read(stream, scope["method"] == "HEAD")
            theirs = nowhere
            if application.ROUTES.match(application.located(scope["raw_path"])):
                theirs = expected(scope, body.encode())
            assert status == theirs[0], (scope, body[:80])
            assert answer == theirs[2] or scope["method"] == "HEAD", (scope, body[:80])
            assert headers.get(b"content-type") == theirs[1].get(b"content-type"), scope
            assert headers[b"connection"] == b"keep-alive", scope
        connection.close()


def test_a_client_that_stops_is_hung_up_on_and_a_request_that_takes_too_long_is_504(tmp_path):
    with served(tmp_path / "lean", HANGS, timeout=3) as (process, port):
        begun = b"POST /invocations HTTP/1.1\r\nContent-Length: 9\r\n"
        for beginning in (b"", begun, begun + b"\r\n1,"):
            silent = socket.create_connection(("127.0.0.1", port), 120)
            silent.sendall(beginning)
            assert silent.recv(100) == b"", "as nginx, it closes without an answer"
            silent.close()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        connection.request("POST", "/invocations", "1|2", {"Content-Type": "text/csv"})
        answer = connection.getresponse()
        assert (answer.status, b"<h1>504 Gateway Time-out</h1>" in answer.read()) == (504, True)
        until(lambda: "takes more than 3 s" in process.stderr.read_text(), process)

        def answered():
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.close()
                connection.request("POST", "/invocations", CSV, {"Content-Type": "text/csv"})
                return connection.getresponse().status == 200

        until(answered, process)


def test_a_request_that_waits_too_long_is_504_and_is_never_computed(server):
    server("regression")
    goes_on, runs, computed = threading.Event(), threading.Event(), []

    def slow(environ, start_response):
        runs.set()
        assert goes_on.wait(120)
        computed.append(environ["QUERY_STRING"])
        return serve.ScoringService.app(environ, start_response)

    async def all_three(app):
        scopes = [dict(scope_of(content_type="text/csv"), query_string=query) for query in (b"1", b"2", b"3")]
        long = asyncio.ensure_future(asked(app, scopes[0], CSV.encode()))
        while not runs.is_set():
            await asyncio.sleep(0.01)
        app.timeout = 0.1
        waiting = await asked(app, scopes[1], CSV.encode())
        while not app.hangs:
            await asyncio.sleep(0.01)
        app.timeout = 120
        assert not app.hangs
        goes_on.set()
        return waiting[0], (await long)[0], (await asked(app, scopes[2], CSV.encode()))[0]

    work = all_three(application.Application(slow, None))
    answers = asyncio.new_event_loop().run_until_complete(asyncio.wait_for(work, 300))
    assert answers == (504, 200, 200)
    assert computed == ["1", "3"]


def test_the_server_keeps_connections_and_finishes_what_is_in_flight(tmp_path):
    with served(tmp_path / "lean") as (process, port):
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
        until(lambda: not connects(port), process)
        half.sendall(CSV.encode())
        assert stream.readline().startswith(b"HTTP/1.1 200"), "a request in flight was dropped"
        half.close()


def test_nothing_of_the_feature_is_loaded_where_it_is_off():
    completed = forks.run("import sys, xgbpatch_overlays.multi_model\nprint([n for n in sys.modules if 'fast' in n])")
    assert "xgbpatch_overlays.fast" not in completed.stdout, sys.version
