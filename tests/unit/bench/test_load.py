"""The load of `xgbpatch bench` against a server whose answers are known: good ones count, wrong ones are told."""

from __future__ import annotations

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from xgbpatch.bench import cases, load, runner

GOOD, WRONG = b"0.5", b"0.6"


@pytest.fixture
def server():
    """Answers every third request with another body; yields its address and what it was asked."""
    calls = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append((self.path, self.headers["Content-Type"], body))
            answer = WRONG if len(calls) % 3 == 0 else GOOD
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}/invocations", calls
    served.shutdown()
    served.server_close()


@pytest.mark.parametrize("way", ["wrk", "aiohttp", "open loop"])
def test_answers_that_differ_are_counted_as_wrong_and_no_requests(server, way):
    url, requests = server
    if way == "wrk" and not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    if way == "open loop":
        figures = load.opened(url, b"1,2", GOOD, rate=50, seconds=0.3)
    else:
        figures = load.closed(
            url, b"1,2", GOOD, clients=1, seconds=1, one=0.1, wrk=load.client_of(0.001 if way == "wrk" else 1.0)
        )
    assert figures.requests > 0
    assert figures.wrong > 0
    assert abs(figures.requests - 2 * figures.wrong) <= 3
    assert abs(figures.requests + figures.wrong - len(requests)) <= 1  # wrk's last may be under way at its end
    assert set(requests) == {("/invocations", "text/csv", b"1,2")}


@pytest.mark.parametrize("explained", [False, True])
def test_predictions_are_told_from_values(explained):
    answer = b"0.5,1,2\n0.25,3,4\n" if explained else b"0.5\n0.25\n"
    assert cases.predictions(answer, explained) == [b"0.5", b"0.25"]


def test_a_job_sends_its_requests_one_after_the_other_and_no_more(server):
    url, requests = server
    figures = load.job(url, b"1,2", GOOD, 7)
    assert (figures.requests, figures.wrong, len(requests)) == (5, 2, 7)


def test_a_batch_is_cut_into_payloads_of_six_megabytes():
    million = cases.Case(cases.BATCH, "F", 1_000_000, True)
    assert str(million) == "batch, F, rows: 1,000,000 in 30 requests, SHAP"
    assert 1_000_000 <= million.payloads * million.rows_each < 1_000_100
    small = cases.Case(cases.BATCH, "F", 50_000, False)
    assert small.payloads == 2
    assert len(cases.body(small)) <= cases.PAYLOAD
    assert cases.Case(cases.SINGLE, "F", 50_000, False).payloads == 1


@pytest.mark.parametrize(
    ("texts", "same"),
    [([b"0.50001", b"1000.01"], True), ([b"0.51", b"1000"], False), ([b"0.5"], False), ([b"[0.5", b"1000]"], False)],
)
def test_a_peer_has_to_predict_the_same_but_not_in_the_same_text(texts, same):
    assert runner.near(texts, [b"0.5", b"1000"]) is same


def test_a_body_is_the_same_each_time_and_as_wide_as_the_model():
    case = cases.Case(cases.SINGLE, "A", 3, False)
    assert cases.body(case) == cases.body(case)
    assert [len(line.split(b",")) for line in cases.body(case).split(b"\n")] == [8, 8, 8]
