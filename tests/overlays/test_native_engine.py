"""XGBPATCH_ENGINE=native: the base's bytes from the native library, and no matrix of xgboost's where none is needed."""

import re
import sys

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils
from xgbpatch_overlays import native, request_data
from xgbpatch_overlays.model import accelerator, booster
from xgbpatch_overlays.native import engine

from support.overlays import zoo
from support.overlays.endpoint import FEATURES

ENGINE = dict(FEATURES, XGBPATCH_ENGINE="native")
NATIVE = sorted(set(zoo.ZOO) - {"gblinear"})
PICKLED = {name for name in zoo.ZOO if name.startswith("pickled")}  # of these the base itself asks for the matrix


def choice():
    return serve_utils.predict.__self__.model(serve.ScoringService.booster, serve.ScoringService.format).choice


@pytest.fixture
def matrices(monkeypatch):
    """A list of what became a matrix of xgboost's."""
    calls = []
    make = request_data.LateDMatrix._make
    monkeypatch.setattr(request_data.LateDMatrix, "_make", lambda self: calls.append(1) or make(self))
    return calls


@pytest.mark.parametrize("name", NATIVE)
def test_native_answers_with_the_bases_bytes(server, matrices, name):
    x = zoo.inputs(zoo.ZOO[name].missing, rows=40)
    bodies = [(getattr(zoo, form)(x), "text/" + form) for form in ("csv", "libsvm")]
    plain = server(name)
    expected = [plain.post(body, content_type=kind).data for body, kind in bodies]
    endpoint = server(name, **ENGINE)
    assert choice().engine == "native", choice().reason
    assert [endpoint.post(body, content_type=kind).data for body, kind in bodies] == expected
    assert not matrices or name in PICKLED
    assert endpoint.ping().headers["X-Xgbpatch-Engine"].startswith("native; converted in ")


@pytest.mark.parametrize("name", NATIVE)
def test_requests_at_the_thresholds_keep_the_bases_bytes(server, name):
    server(name, **ENGINE)
    served = serve.ScoringService.booster
    rows = accelerator.proof_rows(booster.forest(booster.document(served), {}))[:200]
    body = zoo.csv(np.random.RandomState(1).permutation(np.where(np.abs(rows) > 1e30, np.nan, rows)))
    assert server(name, **ENGINE).post(body).data == server(name).post(body).data


BODIES = [
    "inf,1,2,3,4,5",
    "1e39,1,2,3,4,5",
    ",,,,,",
    "1,2,3",
    "1,2,3,4,5,6,7",
    "a,b,c,d,e,f",
    "1,2,3,4,5,6\n1,2",
    "1",
    "",
    "1;2;3;4;5;6",
    "1,2,3,4,5,0x6",
    '"1",2,3,4,5,6',
    "1,2,3,4,5,6\r\n\r\n6,5,4,3,2,1",
    "\ufeff1,2,3,4,5,6",
    b"1,2,3,4,5,\xff",
]


@pytest.mark.parametrize("body", BODIES)
def test_unusual_bodies_get_the_bases_answer(server, body):
    plain = server("binary").post(body)
    ours = server("binary", **ENGINE).post(body)
    assert (ours.status_code, timeless(ours.data), ours.mimetype) == (
        plain.status_code,
        timeless(plain.data),
        plain.mimetype,
    )


def timeless(body):
    """Without the time of day and the addresses that xgboost's errors hold."""
    return re.sub(rb"\[\d\d:\d\d:\d\d\]|0x[0-9a-f]+", b"", body)


def test_the_library_reads_plain_csv_and_the_base_all_else(server, monkeypatch):
    plain, more = zoo.csv(zoo.inputs(missing=True, rows=20)), "1;2;3;4;5;6\n1;2;3;4;5;6"
    base = server("binary")
    expected = [base.post(body).data for body in (plain, more)]
    endpoint, texts, parse = server("binary", **ENGINE), [], encoder.csv_to_dmatrix
    endpoint.post("1,2,3,4,5,6")  # the proof of the parser
    monkeypatch.setattr(encoder, "csv_to_dmatrix", lambda text, **named: texts.append(text) or parse(text, **named))
    assert [endpoint.post(body).data for body in (plain, more)] == expected
    assert texts == [more]


@pytest.mark.parametrize("name", ["binary", "poisson", "softprob"])
def test_a_link_needs_no_booster(name):
    document = booster.document(zoo.train(zoo.ZOO[name]))
    assert accelerator.MarginLink(document)._variant is not None


def test_a_link_that_differs_is_left_to_a_booster(monkeypatch):
    monkeypatch.setattr(accelerator, "LIBRARY", {"binary:logistic": (2,)})
    trained = zoo.train(zoo.ZOO["binary"])
    link = accelerator.MarginLink(booster.document(trained))
    matrix = xgboost.DMatrix(zoo.inputs(rows=30))
    margins = trained.predict(matrix, output_margin=True)
    assert link._variant is None
    assert link.predictions(margins, matrix).tobytes() == trained.predict(matrix).tobytes()


def test_a_late_matrix_becomes_xgboosts_where_something_asks_for_more_than_its_shape():
    x = zoo.inputs(True, rows=7).astype(np.float32)
    late, plain = request_data.LateDMatrix(x), xgboost.DMatrix(x)
    assert (late.num_row(), late.num_col(), request_data.unmade(late)) == (7, x.shape[1], True)
    late.set_base_margin(np.arange(7, dtype=np.float32))
    assert not request_data.unmade(late)
    assert late.get_base_margin().tolist() == list(range(7))
    assert (late.feature_names, late.feature_types) == (plain.feature_names, plain.feature_types)
    assert late.slice([1, 2]).num_row() == 2
    assert not hasattr(request_data.LateDMatrix(x), "nothing of this name")


def test_a_late_matrix_that_was_made_goes_without_a_word(monkeypatch):
    ignored = []  # xgboost's `__del__` deletes the handle from 3.2 on; Python 3.7 has no such hook
    monkeypatch.setattr(sys, "unraisablehook", ignored.append, raising=False)
    late = request_data.LateDMatrix(zoo.inputs(rows=3).astype(np.float32))
    late.get_label()
    del late
    assert ignored == []


def test_a_margin_is_noticed_however_it_comes():
    x, margin = zoo.inputs(rows=3).astype(np.float32), np.ones(3, dtype=np.float32)
    ways = [
        lambda matrix: matrix.set_base_margin(margin),
        lambda matrix: matrix.set_info(base_margin=margin),
        lambda matrix: matrix.set_float_info("base_margin", margin),
        lambda matrix: matrix.set_float_info_npy2d("base_margin", margin),
    ]
    for kind in (request_data.RecordedDMatrix, request_data.LateDMatrix):
        assert accelerator.guard_margin(kind(x)) == ""
        assert accelerator.guard_margin(kind(x, base_margin=margin)) == "a base margin"
        for way in ways:
            matrix = kind(x)
            way(matrix)
            assert accelerator.guard_margin(matrix) == "a base margin"


@pytest.mark.parametrize("x", [[[np.inf]], [[1e39]], [["a"]]], ids=["infinite", "too large", "text"])
def test_what_xgboost_may_refuse_is_refused_at_once(x):
    array = np.array(x)
    outcomes = []
    for make in (xgboost.DMatrix, request_data.LateDMatrix):
        try:
            outcomes.append(make(array).num_row())
        except Exception as error:
            outcomes.append((type(error), str(error)[:60]))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("damage", [lambda margins: margins + np.float32(1e-3), lambda margins: margins[::-1]])
def test_margins_that_differ_are_found_by_the_proof(server, monkeypatch, damage):
    margins = engine.NativeModel.margins
    monkeypatch.setattr(engine.NativeModel, "margins", lambda self, rows: damage(margins(self, rows)))
    body = zoo.csv(zoo.inputs(rows=5))
    endpoint = server("binary", **ENGINE)
    assert choice().reason.startswith("margins differ in")
    assert endpoint.post(body).data == server("binary").post(body).data


def test_without_the_library_the_booster_serves_and_says_why(server, monkeypatch):
    def load():
        raise native.Unsuitable("there is no native library for linux on riscv64")

    monkeypatch.setattr(native, "load", load)
    server("binary", **ENGINE)
    assert (choice().engine, choice().reason) == ("booster", "there is no native library for linux on riscv64")


@pytest.mark.parametrize("objective", ["binary:logistic", "count:poisson"])
def test_the_margin_before_the_first_tree_is_the_boosters(objective):
    """xgboost takes logarithms in single precision, which miss the nearest number now and then."""
    matrix = xgboost.DMatrix(np.zeros((4, 1)), label=[0, 1, 0, 1])
    for score in np.linspace(0.49, 0.51, 41, dtype=np.float32):
        parameters = {"objective": objective, "base_score": float(score), "eta": 1e-30, "nthread": 1}
        trained = xgboost.train(parameters, matrix, 1)
        base = booster.forest(booster.document(trained), {}).base[0]
        assert base == trained.predict(matrix, output_margin=True)[0], score
