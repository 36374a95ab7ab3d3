"""`xgbpatch.explain`: values as the package `shap` has them, of whatever stands for a model and for rows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import xgboost

import xgbpatch
from xgbpatch.explanation import Explainer
from xgbpatch.overlays.model import booster as model_booster

FEATURES = 6


def rows_of(count=40):
    random = np.random.RandomState(0)
    rows = random.standard_normal((count, FEATURES)).astype(np.float32)
    rows[random.rand(*rows.shape) < 0.1] = np.nan
    return rows


def trained(rounds=8, **parameters):
    rows = rows_of(200)
    classes = parameters.get("num_class", 2)
    label = (np.nan_to_num(rows[:, 0]) * 2).astype(int) % classes
    return xgboost.train({"max_depth": 4, "nthread": 1, **parameters}, xgboost.DMatrix(rows, label=label), rounds)


@pytest.fixture(scope="module")
def booster():
    return trained()


@pytest.fixture(scope="module")
def softprob():
    return trained(objective="multi:softprob", num_class=3)


def test_one_output_has_no_axis_of_its_own(booster):
    rows = rows_of()
    explanation = xgbpatch.explain(booster, rows)
    theirs = booster.predict(xgboost.DMatrix(rows), pred_contribs=True)
    np.testing.assert_allclose(explanation.values, theirs[:, :-1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(explanation.base_values, theirs[:, -1], rtol=0, atol=1e-6)
    assert explanation.data is not None
    assert explanation.feature_names is None


def test_several_outputs_come_last(softprob):
    rows = rows_of()
    explanation = xgbpatch.explain(softprob, rows)
    theirs = softprob.predict(xgboost.DMatrix(rows), pred_contribs=True)
    np.testing.assert_allclose(explanation.values, theirs[:, :, :-1].transpose(0, 2, 1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(explanation.base_values, theirs[:, :, -1], rtol=0, atol=1e-6)


def test_interactions_add_up_to_the_values(booster, softprob):
    for model in (booster, softprob):
        explainer = Explainer(model)
        values, pairs = explainer(rows_of()), explainer.interactions(rows_of())
        np.testing.assert_allclose(pairs.values.sum(axis=2), values.values, rtol=0, atol=1e-9)
        np.testing.assert_allclose(pairs.base_values, values.base_values, rtol=0, atol=1e-9)


def test_a_file_an_estimator_and_a_cut(booster, tmp_path):
    rows = rows_of()
    whole = xgbpatch.explain(booster, rows).values
    booster.save_model(tmp_path / "model.json")
    assert (xgbpatch.explain(tmp_path / "model.json", rows).values == whole).all()
    estimator = SimpleNamespace(get_booster=lambda: booster)  # as those of xgboost.sklearn
    assert (xgbpatch.explain(estimator, rows).values == whole).all()
    cut = xgbpatch.explain(booster, rows, iteration_range=(0, 3)).values
    theirs = booster.predict(xgboost.DMatrix(rows), pred_contribs=True, iteration_range=(0, 3))
    np.testing.assert_allclose(cut, theirs[:, :-1], rtol=0, atol=1e-6)


def test_what_stands_for_rows(booster):
    rows = np.nan_to_num(rows_of(), nan=2)
    explainer = Explainer(booster)
    whole = explainer(rows).values
    assert (explainer(rows.astype(float).tolist()).values == whole).all()
    assert (explainer(xgboost.DMatrix(rows)).values == whole).all()
    sparse = rows * (np.random.RandomState(1).rand(*rows.shape) < 0.5)
    absent = np.where(sparse == 0, np.nan, sparse)
    for form in (scipy.sparse.csr_matrix, scipy.sparse.coo_matrix):
        assert (explainer(form(sparse)).values == explainer(absent).values).all()


def test_the_base_margin_of_a_matrix_counts(booster):
    rows, base = rows_of(), np.arange(40, dtype=np.float32)
    explanation = xgbpatch.explain(booster, xgboost.DMatrix(rows, base_margin=base))
    theirs = booster.predict(xgboost.DMatrix(rows, base_margin=base), pred_contribs=True)
    np.testing.assert_allclose(explanation.base_values, theirs[:, -1], rtol=0, atol=1e-5)


def test_a_table_gives_its_names_and_its_categories_are_refused(booster):
    import pandas

    table = pandas.DataFrame(rows_of(), columns=list("abcdef"))
    assert xgbpatch.explain(booster, table).feature_names == list("abcdef")
    with pytest.raises(ValueError, match='"b" has categories'):
        xgbpatch.explain(booster, table.assign(b=pandas.Categorical([1, 2] * 20)))


def test_another_width_is_refused(booster):
    with pytest.raises(ValueError, match="6 features"):
        xgbpatch.explain(booster, np.zeros((2, 5)))


def test_xgboost_explains_what_the_library_cannot():
    rows = np.nan_to_num(rows_of())
    linear = trained(booster="gblinear")
    explainer = Explainer(linear)
    assert "gblinear" in explainer.reason
    theirs = linear.predict(xgboost.DMatrix(rows), pred_contribs=True)
    np.testing.assert_allclose(explainer(rows).values, theirs[:, :-1], rtol=0, atol=1e-6)


def test_xgboost_explains_a_model_that_is_not_understood(booster, monkeypatch):
    forest = model_booster.forest
    monkeypatch.setattr(model_booster, "forest", lambda *arguments: replace(forest(*arguments), base=(np.float32(9),)))
    explainer = Explainer(booster)
    assert "predicts otherwise" in explainer.reason
    theirs = booster.predict(xgboost.DMatrix(rows_of()), pred_contribs=True)
    np.testing.assert_allclose(explainer(rows_of()).base_values, theirs[:, -1], rtol=0, atol=1e-6)


def test_the_example_of_the_documentation_runs():
    text = Path(__file__).parents[2].joinpath("docs/library.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "import explain" in block)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["explanation"].values.shape == (200, 5)
    assert names["explainer"].interactions(names["rows"][:10]).values.shape == (10, 5, 5)
