"""What keeps a long explanation within its time, and the worker free for others meanwhile."""

import itertools
import math
import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from test_serve import answer, gunicorn
from xgbpatch_overlays import request_data
from xgbpatch_overlays.settings import ShapOptions
from xgbpatch_overlays.shap import values
from xgbpatch_overlays.shap.values import Cost, NotExplained

from support.overlays import explaining, zoo
from support.overlays.endpoint import SHAP

SECOND = Cost(0.0, 1.0)  # a record

# An application whose explanations have a slice a record, each of which blocks the worker until a /ping was answered.
HELD = """
import os
from gevent import monkey
from xgbpatch_overlays.serve import main as served
from xgbpatch_overlays.shap import values

answered, block, in_slices, os.cpu_count = [], monkey.get_original("time", "sleep"), values.in_slices, lambda: 1

def main(environ, start_response):
    response = served(environ, start_response)
    if environ["QUERY_STRING"] == "now":
        answered.append(1)
    return response

def held_in_slices(compute, rows, cost, seconds):
    def held(start, stop):
        if not answered:
            block(0.05)
        print("slice", start, "after" if answered else "before", "the ping", flush=True)
        return compute(start, stop)
    return in_slices(held, rows, values.Cost(0.0, 1.0), seconds)

values.in_slices = held_in_slices
"""


def test_a_ping_and_a_short_explanation_are_answered_while_a_batch_is_explained(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    zoo.save(zoo.ZOO["binary"], tmp_path / "model")
    (tmp_path / "held.py").write_text(HELD)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ['PYTHONPATH']}")
    body, explained = zoo.csv(zoo.inputs(rows=600)), []
    with gunicorn("held:main", tmp_path / "model", forked=False, **SHAP) as (port, log):
        batch = threading.Thread(target=lambda: explained.append(answer(port, body=body)))
        batch.start()
        while batch.is_alive() and "slice 0" not in log.read_text():
            batch.join(0.02)
        short = answer(port, body=body.splitlines()[7])
        assert answer(port, path="/ping?now")[0] == 200
        batch.join()
        assert "slice 599 after the ping" in log.read_text()
    (status, headers, text), *_ = explained
    assert (status, text.count(b"\n")) == (200, 600)
    assert (short[0], sorted(short[1])) == (200, sorted(headers))
    assert np.allclose(*(np.array(line.split(b","), dtype=float) for line in (short[2], text.splitlines()[7])))


@pytest.mark.parametrize("models", [("binary",), ("softprob",), ("regression", "regression")], ids="-".join)
@pytest.mark.parametrize("interactions", [False, True], ids=["values", "interactions"])
def test_slices_are_what_the_whole_is(tmp_path, monkeypatch, models, interactions):
    """Of wide rows, of those that are widened, and of those with a base margin."""
    served = explaining.serve(tmp_path, *models)
    options, x = ShapOptions(interactions=interactions), zoo.inputs(missing=True, rows=23).astype(np.float32)
    body = "\n".join(f"0 {number % 2}:{row[1]}" for number, row in enumerate(np.nan_to_num(x))).encode()
    matrices = [x, explaining.parsed(body, "text/libsvm"), request_data.RecordedDMatrix(x)]
    matrices[2].set_base_margin(np.linspace(-3, 3, served.margins(x).size, dtype=np.float32))
    whole = [served.explain(each, options)[1] for each in matrices]
    slices = []
    monkeypatch.setattr(values.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(values, "in_slices", slices_of(2, values.in_slices, slices))
    for each, expected in zip(matrices, whole):
        explanation = served.explain(each, options)[1]
        assert close(explanation.values, expected.values)
        assert not interactions or close(explanation.interactions, expected.interactions)
    assert slices == [(start, min(start + 2, 23)) for start in range(0, 23, 2)] * 3
    assert not np.allclose(whole[0].values, whole[2].values)


def close(values, expected):
    """Few rows have a kernel of their own."""
    return np.allclose(values, expected, rtol=1e-6, atol=1e-7)


def slices_of(records, in_slices, slices):
    def sliced(compute, rows, cost, seconds):
        return in_slices(
            lambda *span: slices.append(span) or compute(*span), rows, Cost(0.0, values.SLICE / records), seconds
        )

    return sliced


def test_long_explanations_come_one_after_the_other(monkeypatch):
    """The second one arrives after the first slice of the first; both have three slices."""
    monkeypatch.setattr(values.os, "cpu_count", lambda: 1)
    computed, arrived = [], threading.Event()

    def compute(name):
        def one(start, stop):
            computed.append(name)
            while name == "first" and len(values._turns) < 2 and second.is_alive():
                arrived.set()
            return [np.full((stop - start, 2), start)]

        return one

    def explain(name):
        return values.in_slices(compute(name), 3, SECOND, 50.0)

    second = threading.Thread(target=lambda: arrived.wait() and explain("second"))
    second.start()
    array = explain("first")[0]
    second.join()
    assert computed == ["first"] * 3 + ["second"] * 3
    assert array.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert not values._turns


def test_an_explanation_that_takes_much_longer_ends_before_nobody_waits(monkeypatch):
    monkeypatch.setattr(values.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(values, "time", SimpleNamespace(perf_counter=itertools.count(0.0, 10.0).__next__, sleep=id))
    with pytest.raises(NotExplained, match=r"longer than was expected, the limit is 50 s.*at most 5 records") as late:
        values.in_slices(lambda start, stop: [np.zeros((1, 1))], 8, SECOND, 50.0)
    assert late.value.status == 413
    assert not values._turns
    monkeypatch.setattr(values, "time", SimpleNamespace(perf_counter=itertools.count(0.0, 100.0).__next__, sleep=id))
    with pytest.raises(NotExplained, match="send them again later") as busy:
        values.in_slices(lambda start, stop: [np.zeros((1, 1))], 8, SECOND, 50.0)
    assert busy.value.status == 503


@pytest.mark.parametrize(
    ("cpus", "wall", "processor", "seconds"),
    [
        (math.inf, 0.03, 0.02, 0.03),
        (math.inf, 0.02, 0.04, 0.02),
        (0.4, 0.02, 0.02, 0.05),
        (0.4, 0.20, 0.02, 0.05),
        (0.4, 0.02, 0.04, 0.1),
        (2.0, 0.02, 0.02, 0.02),
        (2.0, 0.02, 0.08, 0.04),
    ],
    ids=["free", "free-threads", "within-a-period", "stopped", "threads", "one-of-two", "threads-on-two"],
)
def test_a_timed_run_is_what_the_limit_allows_in_the_long_run(monkeypatch, cpus, wall, processor, seconds):
    """At 0.4 CPU 20 ms of work are done at once or take a period and more: only in the long run they are 50 ms."""
    monkeypatch.setattr(values, "cpus", lambda root: cpus)
    monkeypatch.setattr(values, "time", clock(wall=(0.0, wall), processor=(0.0, processor)))
    assert values._seconds(lambda: None) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("cpus", "used", "slowness"),
    [(math.inf, 0.4, 1), (math.inf, 0.1, 4), (0.4, 0.16, 1), (0.4, 0.04, 4), (0.4, 0.2, 1)],
)
def test_slowness_is_what_others_take(monkeypatch, cpus, used, slowness):
    monkeypatch.setattr(values, "cpus", lambda root: cpus)
    monkeypatch.setattr(values, "time", clock(wall=(0.0, 0.2, 0.4, 0.4), processor=(0.0, used)))
    assert values.slowness() == pytest.approx(slowness)


def clock(wall, processor):
    known = SimpleNamespace(perf_counter=iter(wall).__next__, process_time=iter(processor).__next__)
    known.thread_time = known.process_time
    return known


def test_a_long_request_is_held_to_what_the_machine_gives_now(monkeypatch):
    """What is advised is accepted, where the machine gives a quarter less by then, too."""
    monkeypatch.setattr(values, "written", lambda: 0.0)
    monkeypatch.setattr(values, "slowness", lambda: 4.0)
    values.check_limits(4, SECOND, 1, 50.0)  # a short one
    with pytest.raises(NotExplained, match=r"would take about 80 s.*at most 10 records"):
        values.check_limits(20, SECOND, 1, 50.0)
    monkeypatch.setattr(values, "slowness", lambda: 5.0)
    values.check_limits(10, SECOND, 1, 50.0)
