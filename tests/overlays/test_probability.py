"""Values in probability space: they add up to the probability, or are refused with the next step."""

import sys
from unittest import mock

import numpy as np
import pytest
from xgbpatch_overlays.model import folder as model_folder
from xgbpatch_overlays.settings import PROBABILITY, ShapOptions
from xgbpatch_overlays.shap import probability
from xgbpatch_overlays.shap.values import NotExplained

from support.overlays import explaining, forks, zoo

OPTIONS = ShapOptions(space=PROBABILITY)
EXACT = [
    "binary",
    "binary-base-score",
    "reg-logistic",
    "dart-binary",
    "early-stopping",
    "early-stopping-forest",
    "missing-binary",
    "named-pickled",
    "hundred-trees",
    "one-feature-pickled",
    "lossguide",
]


def with_background(folder, name, rows=30):
    """Background rows of that model beside it, some cells missing; returns them."""
    specimen = zoo.SPECIMENS[name]
    background = zoo.inputs_of(specimen, rows=rows, seed=21).astype(np.float32)
    background[::7, 0] = np.nan
    np.save(explaining.beside(folder, model_folder.BACKGROUND), background)
    return background


@pytest.mark.parametrize("name", EXACT)
def test_values_add_up_to_the_probability_from_the_backgrounds_mean(tmp_path, name):
    background = with_background(tmp_path, name)
    served = explaining.serve(tmp_path, name)
    x = zoo.inputs_of(zoo.SPECIMENS[name], rows=20).astype(np.float32)
    predicted, explanation = served.explain(x, OPTIONS)
    assert np.max(np.abs(explanation.values.sum(axis=1) - predicted)) <= 1e-4
    mean = np.mean(served.explain(background)[0], dtype=float)
    assert np.max(np.abs(explanation.values[:, -1] - mean)) <= 1e-4
    assert explanation.values.dtype == np.float32


@pytest.mark.parametrize("name", ["binary-base-score", "dart-binary", "missing-binary"])
def test_values_are_those_of_the_definition(tmp_path, name):
    """Each background row: Shapley values of the margin over all subsets of features, scaled to probability."""
    background = with_background(tmp_path, name, rows=3)
    served = explaining.serve(tmp_path, name)
    x = zoo.inputs_of(zoo.SPECIMENS[name], rows=2).astype(np.float32)
    _, explanation = served.explain(x, OPTIONS)
    expected = [np.mean([_shapley(served, row, other) for other in background], axis=0) for row in x]
    assert np.max(np.abs(explanation.values[:, :-1] - expected)) <= 1e-5


def _shapley(served, row, other):
    """float64 (features,): by the sum over all 2^features hybrids of the two rows."""
    features = len(row)
    masks = (np.arange(2**features)[:, None] >> np.arange(features)) & 1
    margins = served.margins(np.where(masks, row, other)).astype(float)
    sizes = masks.sum(axis=1)
    weights = np.array([1.0 / (features * _choose(features - 1, size)) for size in range(features)])
    values = np.zeros(features)
    for feature in range(features):
        without = np.flatnonzero(masks[:, feature] == 0)
        values[feature] = np.sum(weights[sizes[without]] * (margins[without + 2**feature] - margins[without]))
    whole, nothing = margins[-1], margins[0]
    scale = 1.0 if whole == nothing else (_logistic(whole) - _logistic(nothing)) / (whole - nothing)
    return values * scale


def _choose(n, k):
    return float(np.prod([(n - i) / (i + 1) for i in range(k)]))


def _logistic(margin):
    return 1 / (1 + np.exp(-margin))


def test_values_are_those_of_the_shap_package(tmp_path, monkeypatch):
    """Where no cell is missing: its release 0.44 sends a missing cell of the background to the wrong side."""
    shap = _shap(monkeypatch)
    background = np.nan_to_num(with_background(tmp_path, "binary"))
    np.save(explaining.beside(tmp_path, model_folder.BACKGROUND), background)
    served = explaining.serve(tmp_path, "binary")
    x = zoo.inputs(rows=10).astype(np.float32)
    _, explanation = served.explain(x, OPTIONS)
    explainer = shap.TreeExplainer(
        served.model, background, feature_perturbation="interventional", model_output="probability"
    )
    assert np.max(np.abs(explanation.values[:, :-1] - explainer.shap_values(x))) <= 1e-5
    assert np.max(np.abs(explanation.values[:, -1] - explainer.expected_value)) <= 1e-5


@pytest.mark.skipif(zoo.XGBOOST < (1, 4), reason="the package asks for an argument of xgboost 1.4")
@pytest.mark.parametrize("name", ["regression", "binary", "softprob", "poisson", "forest"])
def test_margin_values_are_those_of_the_shap_package(tmp_path, monkeypatch, name):
    shap = _shap(monkeypatch)
    served = explaining.serve(tmp_path, name)
    x = zoo.inputs(rows=10).astype(np.float32)
    _, explanation = served.explain(x)
    values = shap.TreeExplainer(served.model).shap_values(x)
    if explanation.values.ndim == 3:
        values = np.stack(values, axis=1) if isinstance(values, list) else np.moveaxis(values, 2, 1)
    assert np.max(np.abs(explanation.values[..., :-1] - values)) <= 1e-4


def _shap(monkeypatch):
    """The whole package; its compiler, which trees do not use, is absent like in an image."""
    for name in ("numba", "numba.typed", "numba.core", "numba.core.errors"):
        absent = mock.MagicMock(NumbaPendingDeprecationWarning=PendingDeprecationWarning)
        monkeypatch.setitem(sys.modules, name, absent)
    import shap

    return shap


def test_an_ensemble_adds_up_to_its_mean_probability(tmp_path):
    with_background(tmp_path, "binary")
    served = explaining.serve(tmp_path, "binary", "binary-base-score", "dart-binary")
    predicted, explanation = served.explain(zoo.inputs(rows=6).astype(np.float32), OPTIONS)
    assert np.max(np.abs(explanation.values.sum(axis=1) - predicted)) <= 1e-4


def test_narrow_sparse_records_are_explained_as_missing(tmp_path):
    with_background(tmp_path, "binary")
    served = explaining.serve(tmp_path, "binary")
    x = zoo.inputs(rows=4).astype(np.float32)
    x[:, -2:] = np.nan
    x[0, 0] = np.nan  # a gap: xgboost 3.2 takes what has none for dense
    matrix = explaining.parsed(zoo.libsvm(x[:, :-2]).encode(), "text/libsvm")
    assert np.array_equal(served.explain(matrix, OPTIONS)[1].values, served.explain(x, OPTIONS)[1].values)


REFUSED = {
    "regression": 'the objective is "reg:squarederror"',
    "softprob": 'the objective is "multi:softprob"',
    "logitraw": 'the objective is "binary:logitraw"',
    "gblinear-binary": 'the booster is "gblinear"',
    "categorical-binary": "the model has categorical splits",
}


@pytest.mark.parametrize("name", sorted(set(REFUSED) & set(zoo.SPECIMENS)))
def test_other_models_are_refused_with_the_reason(tmp_path, name):
    with_background(tmp_path, name)
    served = explaining.serve(tmp_path, name)
    with pytest.raises(NotExplained) as refusal:
        served.explain(zoo.inputs_of(zoo.SPECIMENS[name], rows=1).astype(np.float32), OPTIONS)
    assert refusal.value.status == 400
    assert REFUSED[name] in refusal.value.reason
    assert "space=margin" in refusal.value.reason


@pytest.mark.parametrize(
    "options", [ShapOptions(PROBABILITY, True), ShapOptions(PROBABILITY, False, True)], ids=["approximate", "pairs"]
)
def test_what_exists_in_margin_space_only_is_refused(tmp_path, options):
    with_background(tmp_path, "binary")
    with pytest.raises(NotExplained, match="in margin space only") as refusal:
        explaining.serve(tmp_path, "binary").explain(zoo.inputs(rows=1).astype(np.float32), options)
    assert refusal.value.status == 400


def test_without_background_rows_the_refusal_names_the_next_step(tmp_path):
    with pytest.raises(NotExplained) as refusal:
        explaining.serve(tmp_path, "binary").explain(zoo.inputs(rows=1).astype(np.float32), OPTIONS)
    assert refusal.value.status == 400
    for step in ("feature training", "xgbpatch/background.npy", "space=margin"):
        assert step in refusal.value.reason


def test_background_of_another_width_is_the_models_fault(tmp_path):
    with_background(tmp_path, "one-feature")
    with pytest.raises(NotExplained, match="has 1 features, the model has 6") as refusal:
        explaining.serve(tmp_path, "binary").explain(zoo.inputs(rows=1).astype(np.float32), OPTIONS)
    assert refusal.value.status == 500


def test_without_the_package_the_refusal_names_the_feature(tmp_path, monkeypatch):
    with_background(tmp_path, "binary")
    monkeypatch.setattr(probability.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(NotExplained, match="--feature shap-probability"):
        explaining.serve(tmp_path, "binary").explain(zoo.inputs(rows=1).astype(np.float32), OPTIONS)


def test_values_that_do_not_add_up_are_refused(tmp_path, monkeypatch):
    with_background(tmp_path, "binary")
    values = probability.ProbabilityExplainer.values
    monkeypatch.setattr(probability.ProbabilityExplainer, "values", lambda self, rows: values(self, rows) * 1.01)
    with pytest.raises(NotExplained, match="miss the probability of a background row"):
        explaining.serve(tmp_path, "binary").explain(zoo.inputs(rows=1).astype(np.float32), OPTIONS)


def test_it_is_built_once_a_model(tmp_path, monkeypatch):
    with_background(tmp_path, "binary")
    built = []
    monkeypatch.setattr(probability, "check", lambda *_: built.append(1) or "")
    served = explaining.serve(tmp_path, "binary")
    for _ in range(3):
        served.explain(zoo.inputs(rows=1).astype(np.float32), OPTIONS)
    assert built == [1]


def test_too_deep_trees_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(probability, "DEEPEST", 3)
    with_background(tmp_path, "binary")
    with pytest.raises(NotExplained, match="trees of depth 4 are too deep"):
        explaining.serve(tmp_path, "binary").explain(zoo.inputs(rows=1).astype(np.float32), OPTIONS)


def test_loading_it_loads_no_compiler_and_leaves_the_root_logger_alone():
    program = (
        "import logging, sys, threading; from xgbpatch_overlays.shap import probability; probability.compiled();"
        "print(logging.root.handlers, 'numba' in sys.modules, 'shap' in sys.modules, threading.active_count())"
    )
    completed = forks.run(program)
    assert completed.stdout.split() == ["[]", "False", "False", "1"], completed.stderr
