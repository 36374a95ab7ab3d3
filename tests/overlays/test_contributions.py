"""Contributions of every kind of model: exact, cut as the prediction, refused with a reason where there are none."""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
import xgboost
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from xgbpatch_overlays import predictor as prediction
from xgbpatch_overlays import request_data
from xgbpatch_overlays.model import booster
from xgbpatch_overlays.settings import ShapOptions
from xgbpatch_overlays.shap import values
from xgbpatch_overlays.shap import values as shap_values
from xgbpatch_overlays.shap.values import NotExplained

from support.overlays import explaining, zoo

INTERACTIONS = ShapOptions(interactions=True)
NONE = [name for name in ("vector-leaves",) if name in zoo.SPECIMENS]
HEAVY = {"thousand-trees", "thousand-trees-softprob", "twenty-classes", "deep-large"}
KINDS = sorted(set(zoo.SPECIMENS) - set(NONE) - HEAVY)


def close(values, expected):
    return np.all(np.abs(values - expected) <= 1e-4 * np.maximum(1, np.abs(expected)))


@pytest.mark.parametrize("name", KINDS)
def test_values_add_up_to_the_margin_and_are_xgboosts_own(tmp_path, name):
    served = explaining.serve(tmp_path, name)
    x = zoo.inputs_of(zoo.SPECIMENS[name], rows=12).astype(np.float32)
    _, explanation = served.explain(x)
    assert close(explanation.values.sum(axis=-1), served.margins(x))
    assert explanation.values.shape[-1] == x.shape[1] + 1 == len(explanation.names) + 1
    assert explanation.interactions is None
    cut = {"ntree_limit": getattr(served.model, "best_ntree_limit", 0)} if zoo.XGBOOST < (2, 0) else {}
    native = served.model.predict(xgboost.DMatrix(x), pred_contribs=True, validate_features=False, **cut)
    assert close(explanation.values, native)
    assert used(served) == ("booster" if name.startswith("gblinear") else "native")


def used(served):
    """Who computes the values of the model."""
    accelerator = next(iter(served.member._native.values()))
    return "booster" if accelerator is None else accelerator.name


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"thousand-features", "forty-features"}))
def test_interactions_add_up_to_the_values(tmp_path, name):
    served = explaining.serve(tmp_path, name)
    x = zoo.inputs_of(zoo.SPECIMENS[name], rows=3).astype(np.float32)
    _, explanation = served.explain(x, INTERACTIONS)
    assert explanation.interactions.shape == explanation.values.shape + explanation.values.shape[-1:]
    assert close(explanation.interactions.sum(axis=-1), explanation.values)
    assert close(explanation.interactions.sum(axis=(-1, -2)), served.margins(x))


@pytest.mark.parametrize("name", ["regression", "softprob", "dart", "gblinear", "early-stopping", "missing"])
def test_approximate_values_are_xgboosts_and_add_up(tmp_path, name):
    served = explaining.serve(tmp_path, name)
    x = zoo.inputs_of(zoo.SPECIMENS[name], rows=12).astype(np.float32)
    _, explanation = served.explain(x, ShapOptions(approximate=True))
    assert close(explanation.values.sum(axis=-1), served.margins(x))
    exact = served.explain(x)[1].values
    assert (explanation.values.tobytes() == exact.tobytes()) == (name == "gblinear")


@pytest.mark.parametrize("name", NONE)
@pytest.mark.parametrize("options", [ShapOptions(), INTERACTIONS], ids=["values", "interactions"])
def test_vector_leaves_are_refused_where_xgboost_answers_nonsense_too(tmp_path, name, options):
    served = explaining.serve(tmp_path, name)
    with pytest.raises(NotExplained) as refusal:
        served.explain(zoo.inputs_of(zoo.SPECIMENS[name], rows=2).astype(np.float32), options)
    assert refusal.value.status == 400
    assert "Unable to explain" in refusal.value.reason


@pytest.mark.parametrize("name", ["regression", "softprob", "dart", "gblinear"])
@pytest.mark.parametrize(
    "options", [ShapOptions(), ShapOptions(approximate=True), INTERACTIONS], ids=["exact", "approximate", "pairs"]
)
def test_narrow_sparse_records_are_explained_as_missing(tmp_path, name, options):
    served = explaining.serve(tmp_path, name)
    x = zoo.inputs(rows=4).astype(np.float32)
    x[:, -2:] = np.nan
    x[0, 0] = np.nan  # a gap: xgboost 3.2 takes what has none for dense
    _, narrow = served.explain(explaining.parsed(zoo.libsvm(x[:, :-2]).encode(), "text/libsvm"), options)
    _, wide = served.explain(x, options)
    assert np.array_equal(narrow.values, wide.values)
    assert options != INTERACTIONS or np.array_equal(narrow.interactions, wide.interactions)


def test_an_ensemble_is_explained_by_the_mean_of_its_members(tmp_path):
    served = explaining.serve(tmp_path, "regression", "regression-base-score", "dart")
    x = zoo.inputs(rows=5).astype(np.float32)
    predicted, explanation = served.explain(x, INTERACTIONS)
    assert close(explanation.values.sum(axis=-1), predicted)
    assert close(explanation.interactions.sum(axis=-1), explanation.values)


@pytest.mark.parametrize("names", [("regression", "softprob"), ("regression", "one-feature")], ids="-".join)
def test_members_of_different_shape_are_refused(tmp_path, names):
    served = explaining.serve(tmp_path, *names)
    x = zoo.inputs(rows=2).astype(np.float32)
    evaluation = prediction.Evaluation(
        request_data.RecordedDMatrix(x[:, :1]),
        tuple(shap_values.PredictCall(booster, {"validate_features": False}) for booster in served.boosters),
    )
    with pytest.raises(NotExplained, match="different features or classes"):
        served.predictor.explain(evaluation)


def test_names_are_the_models_then_those_beside_it_then_numbers(tmp_path):
    x = zoo.inputs(rows=1).astype(np.float32)
    plain, own = tmp_path / "plain", tmp_path / "own"
    plain.mkdir()
    own.mkdir()
    assert explaining.serve(plain, "regression").explain(x)[1].names == ("f0", "f1", "f2", "f3", "f4", "f5")
    for folder in (plain, own):
        with open(explaining.beside(folder, "feature_names.json"), "w") as file:
            file.write('["a", "b", "c", "d", "e", "ö"]')
    assert explaining.serve(plain, "regression").explain(x)[1].names == ("a", "b", "c", "d", "e", "ö")
    carries = explaining.serve(own, "named-pickled").explain(x)[1].names
    assert carries == tuple(f"feature {letter}" for letter in "abcdef")


@pytest.mark.parametrize("text", ['["a", "b"]', "{}", "["], ids=["few", "object", "broken"])
def test_names_that_do_not_fit_fail_the_explanation_and_not_the_prediction(tmp_path, text):
    with open(explaining.beside(tmp_path, "feature_names.json"), "w") as file:
        file.write(text)
    served = explaining.serve(tmp_path, "regression")
    x = zoo.inputs(rows=1).astype(np.float32)
    with pytest.raises(NotExplained, match=r"feature_names\.json") as refusal:
        served.explain(x)
    assert refusal.value.status == 500
    assert served.predictor.predict(served.model, served.form, xgboost.DMatrix(x), "text/csv").shape == (1,)


def test_a_model_that_nobody_asks_about_is_neither_run_nor_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(values, "measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(booster, "options_of", lambda *_: pytest.fail("asked to predict"))
    served = explaining.serve(tmp_path, "regression")
    x = zoo.inputs(rows=2).astype(np.float32)
    predicted = served.predictor.predict(served.model, served.form, xgboost.DMatrix(x), "text/csv")
    assert predicted.tobytes() == served.model.predict(xgboost.DMatrix(x)).tobytes()


def test_costs_are_measured_at_load_where_every_response_is_explained(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(values, "measure", lambda *_: calls.append(1) or values.Cost(0.0, 1e-6))
    explaining.serve(tmp_path, "regression", XGBPATCH_FEATURES="shap", XGBPATCH_SHAP_LAYOUT="append")
    assert calls == [1]  # the native library's; xgboost's own where a request needs it


def test_the_boosters_own_cost_is_measured_once_where_a_request_is_not_for_the_native_library(tmp_path, monkeypatch):
    served = explaining.serve(tmp_path, "regression", XGBPATCH_FEATURES="shap", XGBPATCH_SHAP_LAYOUT="append")
    calls = []
    monkeypatch.setattr(values, "measure", lambda *_: calls.append(1) or values.Cost(0.0, 1.1))
    monkeypatch.setattr(values, "slowness", lambda: 1.0)

    def carrying(rows):
        matrix = request_data.RecordedDMatrix(zoo.inputs(rows=rows).astype(np.float32))
        matrix.set_base_margin(np.ones(rows, dtype=np.float32))
        return matrix

    assert len(served.explain(zoo.inputs(rows=100).astype(np.float32))[1].values) == 100
    assert calls == []
    for _ in range(2):
        assert len(served.explain(carrying(rows=3))[1].values) == 3
        with pytest.raises(NotExplained, match=r"about 66 s, the limit is 50 s.*at most 36 records"):
            served.explain(carrying(rows=60))
    assert calls == [1]


@pytest.mark.parametrize("options", [ShapOptions(), INTERACTIONS], ids=["values", "interactions"])
def test_too_many_records_are_refused_with_the_number_that_fits(tmp_path, monkeypatch, options):
    monkeypatch.setattr(values, "measure", lambda *_: values.Cost(0.0, 1e-3))  # on a busy machine not one record fits
    monkeypatch.setattr(values, "slowness", lambda: 1.0)
    served = explaining.serve(tmp_path, "forest-softprob", XGBPATCH_FEATURES="shap", XGBPATCH_SHAP_SECONDS="5")
    x = zoo.inputs(rows=40000).astype(np.float32)
    with pytest.raises(NotExplained) as refusal:
        served.explain(x, options)
    assert refusal.value.status == 413
    fit = int(refusal.value.reason.split("send at most ")[1].split()[0])
    assert 0 < fit < 40000
    assert len(served.explain(x[:fit], options)[1].values) == fit


def test_a_first_request_that_has_spent_its_time_on_measuring_is_sent_again(tmp_path, monkeypatch):
    clock = itertools.chain([0.0, 45.0], itertools.count(100.0, 0.001))
    monkeypatch.setattr(values, "slowness", lambda: 1.0)
    served = explaining.serve(tmp_path, "regression")
    monkeypatch.setattr(prediction, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(values, "methods", lambda *_: (method(values.Cost(0.0, 6.0)),))
    x = zoo.inputs(rows=1).astype(np.float32)
    with pytest.raises(NotExplained, match=r"measured the model for 45 s.*the limit is 50 s.*send it again") as refusal:
        served.explain(x)
    assert refusal.value.status == 503
    assert served.explain(x)[1].values.shape == (1, 7)


def method(cost):
    return values.Method(
        lambda matrix, _: matrix,
        lambda matrix, call: values.by_booster(matrix, call, ShapOptions()),
        values.known(cost),
    )


def test_writing_the_values_counts(monkeypatch):
    monkeypatch.setattr(shap_values, "slowness", lambda: 1.0)
    shap_values.check_limits(10, values.Cost(0.0, 1.0), 1000, 19.0)
    monkeypatch.setattr(shap_values, "written", lambda: 0.001)
    with pytest.raises(NotExplained, match=r"about 20 s.*at most 7 records"):
        shap_values.check_limits(10, values.Cost(0.0, 1.0), 1000, 19.0)


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, float("inf")),
        ({"cpu.max": "max 100000\n"}, float("inf")),
        ({"cpu.max": "40000 100000\n"}, 0.4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, float("inf")),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
    ],
    ids=["unknown", "v2-without-limit", "v2", "v1-without-limit", "v1"],
)
def test_the_cpus_of_the_container_are_read(tmp_path, files, cpus):
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert shap_values.cpus(str(tmp_path)) == cpus


def test_a_short_run_counts_as_one_that_goes_on_under_the_containers_limit(monkeypatch):
    monkeypatch.setattr(shap_values, "cpus", lambda root: 0.001)
    spent = []

    def work():
        begun = time.process_time()
        while time.process_time() < begun + 0.01:
            pass
        spent.append(1)

    assert shap_values._seconds(work) >= 10.0
    assert spent == [1]


def test_more_values_than_memory_are_refused_with_the_number_that_fits(tmp_path, monkeypatch):
    served = explaining.serve(tmp_path, "softprob")
    values = 3 * 7 * (1 + 7) * 4
    assert shap_values.numbers(*served.member.outputs(served.model)[:2], INTERACTIONS) * 4 == values
    monkeypatch.setattr(shap_values, "MEMORY_LIMIT", 10 * values)
    x = zoo.inputs(rows=11).astype(np.float32)
    with pytest.raises(NotExplained, match="at most 10 records") as refusal:
        served.explain(x, INTERACTIONS)
    assert refusal.value.status == 413
    assert len(served.explain(x[:10], INTERACTIONS)[1].values) == 10


def test_interactions_too_dear_to_be_timed_are_bounded_by_the_values(tmp_path, monkeypatch):
    served = explaining.serve(tmp_path, "thousand-features")
    call = shap_values.PredictCall(served.model, {})
    monkeypatch.setattr(values, "DEAR", 1e-6)
    monkeypatch.setattr(shap_values, "interactions", lambda *_: pytest.fail("they were timed"))
    assert values.booster_cost(call, INTERACTIONS).row > values.DEAR * 1000
    assert booster.width(served.model) == 1000


def test_costs_are_measured_at_load_where_a_key_of_ours_is_selected(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(values, "measure", lambda *_: calls.append(1) or values.Cost(0.0, 1e-6))
    monkeypatch.setenv("SAGEMAKER_INFERENCE_OUTPUT", "predicted_score,shap_values,shap_interactions")
    monkeypatch.setattr(serve_utils, "SAGEMAKER_INFERENCE_OUTPUT", "predicted_score,shap_values,shap_interactions")
    served = explaining.serve(tmp_path, "regression")
    assert {options for options, _ in served.member._methods} == {ShapOptions(), INTERACTIONS}


def test_a_refusal_is_found_out_once(tmp_path, monkeypatch):
    served = explaining.serve(tmp_path, "regression")
    calls = []
    refuse = NotExplained(400, "for a reason")

    def refusing(*_):
        calls.append(1)
        raise refuse

    monkeypatch.setattr(values, "methods", refusing)
    for _ in range(3):
        with pytest.raises(NotExplained, match="for a reason"):
            served.explain(zoo.inputs(rows=1).astype(np.float32))
    assert calls == [1]
