"""oneDAL's predictions: proved, and the booster's bytes."""

import itertools
import os
import re
import sys

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils
from xgbpatch_overlays import onedal, request_data
from xgbpatch_overlays.model import accelerator, booster
from xgbpatch_overlays.model import booster as model_booster

from support.overlays import forks, zoo
from support.overlays.endpoint import FEATURES

ENGINE = dict(FEATURES, XGBPATCH_ENGINE="daal4py")
BOOSTER_ONLY = {"gblinear": 'the booster is "gblinear"'}
if zoo.XGBOOST == (1, 3):  # it adds a dart model's trees in another order
    BOOSTER_ONLY["dart"] = "margins differ in"
ACCELERATED = sorted(set(zoo.ZOO) - set(BOOSTER_ONLY))


def choice():
    """What was chosen for the served model."""
    predictor = serve_utils.predict.__self__
    return predictor.model(serve.ScoringService.booster, serve.ScoringService.format).choice


def counted(monkeypatch):
    """The list of row counts that oneDAL is asked for."""
    calls = []
    margins = onedal.OnedalModel.margins

    def counting(self, rows):
        calls.append(len(rows))
        return margins(self, rows)

    monkeypatch.setattr(onedal.OnedalModel, "margins", counting)
    return calls


@pytest.mark.parametrize("form", ["csv", "libsvm"])
@pytest.mark.parametrize("name", ACCELERATED)
def test_onedal_answers_with_the_bases_bytes(server, monkeypatch, name, form):
    body = getattr(zoo, form)(zoo.inputs(zoo.ZOO[name].missing, rows=40)) + (" 0:0.5" if form == "libsvm" else "")
    plain = server(name).post(body, content_type="text/" + form)
    endpoint = server(name, **ENGINE)
    assert (choice().engine, plain.status_code) == ("daal4py", 200), choice().reason
    calls = counted(monkeypatch)
    assert endpoint.post(body, content_type="text/" + form).data == plain.data
    assert set(calls) == {40}


@pytest.mark.parametrize("name", ACCELERATED)
def test_requests_at_the_thresholds_keep_the_bases_bytes(server, monkeypatch, name):
    server(name, **ENGINE)
    booster = serve.ScoringService.booster
    rows = accelerator.proof_rows(model_booster.forest(model_booster.document(booster), {}))[:200]
    rows = np.where(np.abs(rows) > 1e30, np.nan, rows)
    body = zoo.csv(np.random.RandomState(1).permutation(rows))
    ours = server(name, **ENGINE)
    calls = counted(monkeypatch)
    answer = ours.post(body).data
    assert calls
    assert answer == server(name).post(body).data


@pytest.mark.parametrize("name", sorted(BOOSTER_ONLY))
def test_other_models_stay_with_the_booster(server, name):
    body = zoo.csv(zoo.inputs(rows=5))
    plain = server(name).post(body).data
    endpoint = server(name, **ENGINE)
    assert BOOSTER_ONLY[name] in choice().reason
    assert endpoint.post(body).data == plain
    assert BOOSTER_ONLY[name] in endpoint.ping().headers["X-Xgbpatch-Engine"]


@pytest.mark.parametrize("engine_name", ["auto", "daal4py"])
def test_ping_names_the_engine_and_its_proof(server, engine_name):
    header = server("binary", **dict(FEATURES, XGBPATCH_ENGINE=engine_name)).ping().headers["X-Xgbpatch-Engine"]
    assert header.startswith("daal4py; converted in ")
    assert "proved equal on" in header
    assert ("faster from" in header) == (engine_name == "auto")


def test_engine_named_booster_is_shown_and_converts_nothing(server, monkeypatch):
    monkeypatch.setattr(onedal, "load", lambda: pytest.fail("daal4py was imported"))
    header = server("binary", **dict(FEATURES, XGBPATCH_ENGINE="booster")).ping().headers["X-Xgbpatch-Engine"]
    assert header == "booster; XGBPATCH_ENGINE=booster"


def test_the_header_of_ping_stays_short_whatever_the_reasons_of_200_members(server, monkeypatch, caplog):
    trace = "\r\n  File \u00e9\u4e2d\x00\n".join(f"frame {number}" for number in range(200))
    answers = itertools.cycle([choice_of("daal4py", "proved"), RuntimeError(trace)])

    def accelerate(*_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(onedal, "accelerate", accelerate)
    caplog.set_level("INFO")
    header = server(*["one-stump"] * 200, **ENGINE).ping().headers["X-Xgbpatch-Engine"]
    assert re.fullmatch(r"booster 100, daal4py 100; RuntimeError: frame 0 File \?\?\? frame 1 [ -~]+\.\.\.", header)
    assert len(header) <= 300
    assert trace in caplog.text


def choice_of(name, reason):
    return accelerator.Choice(None, name, reason)


def _flip_default(forest):
    tree = _first_split_tree(forest)
    tree.default_left[0] = not tree.default_left[0]


def _move_threshold(forest):
    tree = _first_split_tree(forest)
    tree.condition[0] = np.nextafter(tree.condition[0], np.float32(np.inf))


def _change_leaf(forest):
    tree = _first_split_tree(forest)
    leaf = tree.left.index(-1)
    tree.condition[leaf] = tree.condition[leaf] * np.float32(1.0001) + np.float32(1e-4)


def _swap_children(forest):
    tree = _first_split_tree(forest)
    tree.left[0], tree.right[0] = tree.right[0], tree.left[0]


def _other_feature(forest):
    tree = _first_split_tree(forest)
    tree.feature[0] = (tree.feature[0] + 1) % forest.features


def _first_split_tree(forest):
    return next(tree for tree in forest.trees if tree.left[0] != -1)


DAMAGE = [_flip_default, _move_threshold, _change_leaf, _swap_children, _other_feature]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__.strip("_"))
@pytest.mark.parametrize("name", ["regression", "softprob", "dart"])
def test_a_damaged_model_is_found_by_the_proof(server, monkeypatch, name, damage):
    whole = model_booster.forest
    body = zoo.csv(zoo.inputs(rows=30))
    plain = server(name).post(body).data

    def damaged(document, options):
        forest = whole(document, options)
        damage(forest)
        return forest

    monkeypatch.setattr(booster, "forest", damaged)
    endpoint = server(name, **ENGINE)
    assert choice().engine == "booster"
    assert "differ in" in choice().reason
    assert endpoint.post(body).data == plain


def test_without_the_proof_a_damaged_model_would_answer(server, monkeypatch):
    whole = model_booster.forest

    def damaged(document, options):
        forest = whole(document, options)
        _swap_children(forest)
        return forest

    body = zoo.csv(zoo.inputs(rows=30))
    plain = server("regression").post(body).data
    monkeypatch.setattr(booster, "forest", damaged)
    monkeypatch.setattr(accelerator, "prove", lambda *_: "")
    assert server("regression", **ENGINE).post(body).data != plain


def test_a_link_that_differs_is_found_by_the_proof(server, monkeypatch):
    def numpy_sigmoid(self, margins, dmatrix):
        return (1 / (1 + np.exp(-margins.astype(np.float64)))).astype(np.float64).astype(np.float32) * np.float32(
            1.0000001
        )

    monkeypatch.setattr(accelerator.MarginLink, "predictions", numpy_sigmoid)
    server("binary", **ENGINE)
    assert choice().reason.startswith("predictions differ in")


def test_a_daal4py_that_does_not_import_leaves_the_booster(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "daal4py", None)
    body = zoo.csv(zoo.inputs(rows=3))
    endpoint = server("regression", **ENGINE)
    assert "daal4py cannot be imported" in endpoint.ping().headers["X-Xgbpatch-Engine"]
    assert endpoint.post(body).data == server("regression").post(body).data


@pytest.mark.parametrize("cells", [["inf"] * 6, ["-inf"] + ["1"] * 5], ids=["all", "one"])
def test_infinities_are_answered_as_the_base_does(server, cells):
    body = ",".join(cells)
    plain, ours = server("regression").post(body), server("regression", **ENGINE).post(body)
    assert plain.status_code == ours.status_code


@pytest.mark.parametrize("body", ["0.0\n0.0", "0.0", "1,2,3,4\n1,2,3,4\n"])
def test_narrow_requests_are_the_boosters(server, monkeypatch, body):
    """xgboost 3 predicts two dense rows that are too narrow as if their absent cells were no missing ones."""
    plain = server("missing").post(body).data
    endpoint = server("missing", **ENGINE)
    calls = counted(monkeypatch)
    assert endpoint.post(body).data == plain
    assert calls == []


def test_huge_requests_are_the_boosters(server, monkeypatch):
    x = zoo.inputs(rows=12)
    plain = server("regression").post(zoo.csv(x)).data
    endpoint = server("regression", **ENGINE)
    calls = counted(monkeypatch)
    assert endpoint.post(zoo.csv(x)).data == plain
    assert calls == [12]
    monkeypatch.setattr(accelerator, "DENSE", 12 * zoo.FEATURES * 4 - 1)
    assert endpoint.post(zoo.csv(x)).data == plain
    assert calls == [12]


def test_ensemble_members_are_all_accelerated(server, monkeypatch):
    body = zoo.csv(zoo.inputs(rows=7))
    models = ("binary", "binary-base-score", "dart-binary")
    plain = server(*models).post(body).data
    endpoint = server(*models, **ENGINE)
    calls = counted(monkeypatch)
    assert endpoint.post(body).data == plain
    assert calls == [7, 7, 7]


def test_the_booster_is_left_as_it_was(server):
    server("early-stopping", **ENGINE)
    booster = serve.ScoringService.booster
    again = xgboost.Booster()
    again.load_model(os.path.join(serve.ScoringService.MODEL_PATH, "xgboost-model-0"))
    again.set_param("nthread", 1)
    assert choice().engine == "daal4py"
    assert booster.save_raw() == again.save_raw()
    assert (booster.attributes(), booster.feature_names) == (again.attributes(), again.feature_names)


def test_importing_daal4py_leaves_the_root_logger_alone():
    program = "import logging; from xgbpatch_overlays import onedal; onedal.load(); print(logging.root.handlers)"
    completed = forks.run(program)
    assert completed.stdout.strip() == "[]", completed.stderr


def test_a_model_is_forgotten_when_it_is_unloaded(server):
    import gc

    server("regression", **ENGINE)
    predictor = serve_utils.predict.__self__
    assert len(predictor._models) == 1
    serve.ScoringService.booster = None
    gc.collect()
    assert len(predictor._models) == 0


def test_recorded_numbers_are_the_matrix(server):
    x = zoo.inputs(missing=True, rows=9)
    server("regression", **ENGINE)
    for form in ("csv", "libsvm"):
        matrix, _ = serve_utils.parse_content_data(
            getattr(zoo, form)(x).encode() + (b" 0:1" if form == "libsvm" else b""), "text/" + form
        )
        dense = request_data.dense(request_data.recorded(matrix), zoo.FEATURES)
        again = xgboost.DMatrix(dense)
        booster = serve.ScoringService.booster
        assert booster.predict(matrix).tobytes() == booster.predict(again).tobytes()


def test_a_matrix_that_keeps_its_numbers_is_of_xgboosts_own_class():
    """Code of the base, or of a user's script, may ask for the type."""
    x = zoo.inputs(rows=3)
    matrix = request_data.PlainDMatrix(x)
    assert type(matrix) is xgboost.DMatrix
    assert request_data.recorded(matrix) is x
    assert not request_data.unmade(matrix)
