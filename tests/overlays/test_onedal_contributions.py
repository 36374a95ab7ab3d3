"""Contributions by oneDAL: proved to be xgboost's, used where they were asked for or are faster."""

import re

import numpy as np
import pytest
import xgboost
from xgbpatch_overlays import onedal, request_data
from xgbpatch_overlays.native import engine as native_engine
from xgbpatch_overlays.settings import ShapOptions
from xgbpatch_overlays.shap import values

from support.overlays import explaining, zoo

EXPLAINS = onedal.keeps_cover(onedal.load())
INTERACTIONS = ShapOptions(interactions=True)
KINDS = sorted(set(zoo.ZOO) - {"gblinear"} | {"aft", "dart-softprob", "named", "missing-softprob", "one-feature"})
needs_contributions = pytest.mark.skipif(not EXPLAINS, reason="daal4py has contributions from 2024.0.1 on, not on 3.7")


@pytest.fixture
def counted(monkeypatch):
    """A list of what oneDAL is asked to explain: (rows, interactions)."""
    calls = []
    explain = onedal.OnedalModel.explain

    def counting(self, rows, interactions):
        calls.append((len(rows), interactions))
        return explain(self, rows, interactions)

    monkeypatch.setattr(onedal.OnedalModel, "explain", counting)
    return calls


def native(served, x, **how):
    cut = {"ntree_limit": getattr(served.model, "best_ntree_limit", 0)} if zoo.XGBOOST < (2, 0) else {}
    return served.model.predict(xgboost.DMatrix(x), validate_features=False, **dict(cut, **how))


def close(values, expected, margins):
    """Within 1e-4 x max(1, |margin|) of each record and class."""
    scale = 1e-4 * np.maximum(1, np.abs(margins))
    return np.all(np.abs(values - expected) <= scale.reshape(scale.shape + (1,) * (values.ndim - scale.ndim)))


@needs_contributions
@pytest.mark.parametrize("name", KINDS)
def test_values_and_interactions_are_xgboosts_and_add_up(tmp_path, counted, name):
    served = explaining.serve(tmp_path, name, **explaining.ONEDAL)
    x = zoo.inputs_of(zoo.SPECIMENS[name], rows=25).astype(np.float32)
    x[::5, 0] = np.nan
    _, explanation = served.explain(x)
    assert (25, False) in counted
    margins = served.margins(x)
    assert explanation.values.dtype == np.float32
    theirs = native(served, x, pred_contribs=True)
    assert close(explanation.values, theirs, margins)
    assert explanation.values[..., -1].tobytes() == theirs[..., -1].tobytes()
    assert close(explanation.values.sum(axis=-1), margins, margins)
    if x.shape[1] < 10:
        matrices = served.explain(x[:4], INTERACTIONS)[1].interactions
        assert (4, True) in counted
        assert close(matrices, native(served, x[:4], pred_interactions=True), margins[:4])
        assert close(matrices.sum(axis=(-1, -2)), margins[:4], margins[:4])


@needs_contributions
@pytest.mark.parametrize("name", ["binary", "softprob"])
def test_damaged_contributions_are_found_by_the_proof(tmp_path, monkeypatch, name):
    x = zoo.inputs(rows=5).astype(np.float32)
    explain = onedal.OnedalModel.explain
    monkeypatch.setattr(
        onedal.OnedalModel, "explain", lambda self, rows, interactions: explain(self, rows, interactions) * 1.01
    )
    served = explaining.serve(tmp_path, name, **explaining.ONEDAL)
    assert served.member.choice.engine == "daal4py"
    assert served.explain(x)[1].values.tobytes() == native(served, x, pred_contribs=True).tobytes()


@needs_contributions
def test_contributions_that_only_move_between_features_are_found_by_the_proof(tmp_path, monkeypatch):
    explain = onedal.OnedalModel.explain
    monkeypatch.setattr(
        onedal.OnedalModel,
        "explain",
        lambda self, rows, interactions: explain(self, rows, interactions)[:, [1, 0, 2, 3, 4, 5, 6]],
    )
    served = explaining.serve(tmp_path, "binary", **explaining.ONEDAL)
    x = zoo.inputs(rows=5).astype(np.float32)
    assert served.explain(x)[1].values.tobytes() == native(served, x, pred_contribs=True).tobytes()


@needs_contributions
@pytest.mark.parametrize("seconds", [1e-9, 10.0], ids=["oneDAL is faster", "xgboost is faster"])
def test_auto_takes_the_faster(tmp_path, monkeypatch, counted, seconds):
    monkeypatch.setattr(native_engine, "explaining", lambda *_: None)  # it would be preferred
    served = explaining.serve(tmp_path, "binary", **dict(explaining.ONEDAL, XGBPATCH_ENGINE="auto"))
    costs = iter([values.Cost(0.0, seconds), values.Cost(0.0, 1e-3)])  # the booster's is measured last
    monkeypatch.setattr(values, "measure", lambda *_: next(costs))
    served.explain(zoo.inputs(rows=7).astype(np.float32))
    assert ((7, False) in counted) == (seconds < 1e-3)


@needs_contributions
def test_a_model_too_dear_to_be_proved_stays_with_the_booster(tmp_path, monkeypatch, counted):
    monkeypatch.setattr(values, "PROOF_SECONDS", 0.0)
    served = explaining.serve(tmp_path, "binary", **explaining.ONEDAL)
    served.explain(zoo.inputs(rows=7).astype(np.float32))
    assert counted == []


@needs_contributions
def test_approximate_values_are_the_boosters(tmp_path, counted):
    served = explaining.serve(tmp_path, "binary", **explaining.ONEDAL)
    x = zoo.inputs(rows=5).astype(np.float32)
    values = served.explain(x, ShapOptions(approximate=True))[1].values
    assert values.tobytes() == native(served, x, pred_contribs=True, approx_contribs=True).tobytes()
    assert counted == []


@needs_contributions
def test_infinities_are_explained_by_the_booster(tmp_path, counted):
    served = explaining.serve(tmp_path, "binary", **explaining.ONEDAL)
    served.explain(zoo.inputs(rows=2).astype(np.float32))
    rows = request_data.RecordedDMatrix(zoo.inputs(rows=3).astype(np.float32))
    rows.recorded = np.where(np.arange(18).reshape(3, 6) == 4, np.inf, rows.recorded)
    served.explain(rows)
    assert 3 not in [count for count, _ in counted]


@pytest.mark.skipif(EXPLAINS, reason="this daal4py has contributions")
def test_a_daal4py_without_contributions_leaves_them_to_the_booster(tmp_path, counted):
    served = explaining.serve(tmp_path, "binary", **explaining.ONEDAL)
    x = zoo.inputs(rows=5).astype(np.float32)
    assert served.member.choice.engine == "daal4py"
    assert served.explain(x)[1].values.tobytes() == native(served, x, pred_contribs=True).tobytes()
    assert counted == []


def test_a_model_is_converted_once(tmp_path, monkeypatch):
    built = []
    create = onedal.OnedalModel.__init__
    monkeypatch.setattr(
        onedal.OnedalModel, "__init__", lambda self, *arguments: built.append(1) or create(self, *arguments)
    )
    served = explaining.serve(tmp_path, "binary", **explaining.ONEDAL)
    for _ in range(3):
        served.explain(zoo.inputs(rows=2).astype(np.float32), INTERACTIONS)
        served.predictor.describe(served.model)
    assert built == [1]


def test_time_and_memory_of_the_conversion_are_told(tmp_path):
    served = explaining.serve(tmp_path, "forty-features", **explaining.ONEDAL)
    match = re.match(r"converted in (\d+\.\d\d) s and (\d+) MiB, proved equal", served.member.choice.reason)
    assert match, served.member.choice.reason
