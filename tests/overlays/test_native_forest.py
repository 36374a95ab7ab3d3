"""The native library against the xgboost at hand, on the whole zoo: margins bit for bit, SHAP values within a bound."""

import json

import numpy as np
import pytest
import xgboost
from xgbpatch_overlays.model import booster as model_booster
from xgbpatch_overlays.native import engine
from xgbpatch_overlays.native.engine import NativeForest, Unsuitable

from support.overlays import zoo

ROWS = 100
BOUND = 2e-6  # of max(1, |margin|): xgboost adds in single precision
UNSUITABLE = {"gblinear": "gblinear", "gblinear-binary": "gblinear", "gblinear-softprob": "gblinear"}
UNSUITABLE["vector-leaves"] = "vector leaves"
MODELS = sorted(set(zoo.SPECIMENS) - set(UNSUITABLE))
LARGE = ("thousand-features", "thousand-trees", "thousand-trees-softprob", "deep-large")  # theirs take seconds


def rows_of(specimen):
    """Rows of the model's kind, some of their cells missing."""
    rows = zoo.inputs_of(specimen, ROWS, seed=9).astype(np.float32)
    rows[::7, ::2] = np.nan
    return rows


def matrix(booster, rows, **more):
    types = getattr(booster, "feature_types", None)
    if "c" in (types or ()):
        more["enable_categorical"] = True
    names = getattr(booster, "feature_names", None)  # an old one that was loaded has neither
    return xgboost.DMatrix(rows, feature_names=names, feature_types=types, **more)


def native_of(booster, options=None, **more):
    return NativeForest(model_booster.forest(model_booster.document(booster, arrays=True), options or {}), **more)


def assert_equal_bytes(ours, theirs):
    assert ours.dtype == theirs.dtype
    assert ours.reshape(theirs.shape).tobytes() == theirs.tobytes()


def assert_near(ours, theirs, margins):
    scale = BOUND * max(1, np.abs(margins).max())
    np.testing.assert_allclose(ours.reshape(theirs.shape), theirs, rtol=0, atol=scale)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_every_kind(name):
    specimen = zoo.SPECIMENS[name]
    booster, rows = zoo.train(specimen), rows_of(specimen)[: 20 if name in LARGE else ROWS]
    margins = booster.predict(matrix(booster, rows), output_margin=True)
    theirs = booster.predict(matrix(booster, rows), pred_contribs=True)
    for kernel in engine.kernels():
        native = native_of(booster, kernel=kernel)
        assert_equal_bytes(native.margins(rows), margins)
        assert_equal_bytes(native.margins(rows[:3]), margins[:3])
        ours = native.contributions(rows)
        assert_near(ours, theirs, margins)
        assert_near(native.contributions(rows[:1]), theirs[:1], margins)
        if name not in LARGE:
            few = booster.predict(matrix(booster, rows[:5]), pred_interactions=True)
            assert_near(native.interactions(rows[:5]), few, margins)


def plain(value):
    """Without arrays of numpy's, and numbers in single precision."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, np.ndarray)):
        return [plain(each) for each in value]
    return float(np.float32(value)) if isinstance(value, (int, float, np.number)) else value


@pytest.mark.parametrize(
    "name", ["regression", "dart-softprob", "categorical-binary", "gblinear", "named", "root-only"]
)
def test_a_document_with_arrays_is_the_same(name):
    if name not in zoo.SPECIMENS:
        pytest.skip("this xgboost does not train it")
    booster = zoo.train(zoo.SPECIMENS[name])
    document = model_booster.document(booster, arrays=True)
    assert plain(document) == plain(model_booster.document(booster))
    if name != "gblinear":
        model_booster.model_of(document)["trees"] = []
    json.dumps(document)  # only trees have arrays


@pytest.mark.parametrize("name", sorted(set(UNSUITABLE) & set(zoo.SPECIMENS)))
def test_what_it_cannot_do_says_why(name):
    with pytest.raises(Unsuitable, match=UNSUITABLE[name]):
        native_of(zoo.train(zoo.SPECIMENS[name]))


def cut(first, last):
    return {"ntree_limit": last} if zoo.XGBOOST < (1, 4) else {"iteration_range": (first, last)}


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("name", ["binary", "softprob", "forest-softprob", "dart-softprob"])
def test_the_tree_cut(tmp_path, name, loaded):
    specimen = zoo.SPECIMENS[name]
    booster, rows = zoo.train(specimen), rows_of(specimen)
    if loaded:
        booster = xgboost.Booster(model_file=str(zoo.save(specimen, tmp_path)))
    options = cut(0, 3)
    margins = booster.predict(matrix(booster, rows), output_margin=True, **options)
    native = native_of(booster, options)
    assert_equal_bytes(native.margins(rows), margins)
    theirs = booster.predict(matrix(booster, rows), pred_contribs=True, **options)
    assert_near(native.contributions(rows), theirs, margins)


@pytest.mark.skipif(zoo.XGBOOST < (1, 4), reason="ntree_limit has no first tree")
@pytest.mark.parametrize("name", ["regression", "forest-softprob"])
def test_a_cut_that_does_not_begin_at_the_first_round(name):
    specimen = zoo.SPECIMENS[name]
    booster, rows = zoo.train(specimen), rows_of(specimen)
    options = cut(2, 5)
    margins = booster.predict(matrix(booster, rows), output_margin=True, **options)
    assert_equal_bytes(native_of(booster, options).margins(rows), margins)


@pytest.mark.parametrize("name", ["binary-base-score", "softprob", "dart"])
def test_rows_with_base_margins(name):
    specimen = zoo.SPECIMENS[name]
    booster, rows = zoo.train(specimen), rows_of(specimen)
    bases = np.random.RandomState(0).standard_normal((len(rows), specimen.classes)).astype(np.float32)
    margin_option = {"base_margin": bases if specimen.classes > 1 and zoo.XGBOOST >= (1, 6) else bases.ravel()}
    native = native_of(booster)
    margins = booster.predict(matrix(booster, rows, **margin_option), output_margin=True)
    assert_equal_bytes(native.margins(rows, bases), margins)
    theirs = booster.predict(matrix(booster, rows, **margin_option), pred_contribs=True)
    assert_near(native.contributions(rows, bases), theirs, margins)


def test_categories_that_training_did_not_see():
    if "categorical" not in zoo.SPECIMENS:
        pytest.skip("this xgboost trains no categorical splits")
    specimen = zoo.SPECIMENS["categorical"]
    booster, rows = zoo.train(specimen), rows_of(specimen)
    rows[:, 0] = np.resize([0, 1, 2, 3, 4, 5, 31, 32, 33, 64, 1000, 1e6, 0.5, 2.5, np.nan], ROWS)
    margins = booster.predict(matrix(booster, rows), output_margin=True)
    native = native_of(booster)
    assert_equal_bytes(native.margins(rows), margins)
    assert_near(native.contributions(rows), booster.predict(matrix(booster, rows), pred_contribs=True), margins)
