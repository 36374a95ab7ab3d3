"""Models that daal4py's own converter gets silently wrong, or refuses, and ours answers bit for bit.

Every family was measured; which of them fail depends on the release of daal4py, and so on the base. Where oneDAL cannot
express a model, ours answers with the booster.
"""

import json
import pickle
from dataclasses import replace

import daal4py.mb
import numpy as np
import pytest
import xgboost
from xgbpatch_overlays import onedal, request_data
from xgbpatch_overlays.model import accelerator
from xgbpatch_overlays.model import booster as model_booster

from support.overlays import explaining, zoo

TOLERANCE = 2e-5
RELEASE = onedal.year(onedal.load())
RIGHT = ["regression", "regression-base-score", "binary", "softprob", "softprob-base-score", "missing", "deep"]
WRONG = ["reg-logistic", "logitraw", "poisson", "poisson-base-score", "gamma", "tweedie", "cox", "aft"]
WRONG += ["softprob-two-classes", "forest-softprob", "early-stopping-forest"]
DART = ["dart", "dart-binary", "dart-softprob", "dart-early-stopping"]
RANKS = ["rank", "rank-ndcg", "rank-map"]
SEVERAL = [name for name in ("two-targets", "quantiles", "vector-leaves") if name in zoo.SPECIMENS]
CATEGORICAL = [name for name in ("categorical", "categorical-binary") if name in zoo.SPECIMENS]
REFUSED = ["hinge"] + (["gblinear", "gblinear-softprob"] if zoo.XGBOOST >= (1, 3) else [])  # 1.2: the base's too
if RELEASE < 2025:
    WRONG += [*DART, "forest", *SEVERAL]
    RIGHT += [*RANKS, "early-stopping"]
    REFUSED += CATEGORICAL
else:
    WRONG += ["early-stopping", "pickled-early-stopping"]
    RIGHT += ["forest", "binary-base-score"]
    REFUSED += [*DART, *RANKS, *SEVERAL, *CATEGORICAL]
if RELEASE < 2024:
    WRONG += ["binary-base-score"]
BOOSTERS = {"gblinear", "gblinear-softprob", *SEVERAL, *CATEGORICAL}  # these oneDAL cannot express
ORDER = {"dart", "dart-softprob"} if zoo.XGBOOST == (1, 3) else set()  # 1.3 adds a dart model's trees in another order


@pytest.fixture(autouse=True)
def methods_of_newer_boosters(monkeypatch):
    """daal4py's converter asks for what xgboost has from 1.4 on; without it nothing could be compared there."""
    if not hasattr(xgboost.Booster, "num_features"):
        monkeypatch.setattr(model_booster, "width", _width)
        monkeypatch.setattr(xgboost.Booster, "num_features", _width, raising=False)
        monkeypatch.setattr(xgboost.Booster, "feature_types", None, raising=False)


def _width(booster):
    return int(model_booster.configuration(booster)["learner"]["learner_model_param"]["num_feature"])


def stock(booster, x):
    """What daal4py's converter answers for these rows: all classes' probabilities, the second's, or the prediction.

    Of two softprob classes it makes a regression.
    """
    learner = json.loads(booster.save_config())["learner"]
    objective, classes = learner["objective"]["name"], int(learner["learner_model_param"]["num_class"])
    model = daal4py.mb.convert_model(booster)
    if objective.startswith("binary:"):
        return np.asarray(model.predict_proba(x))[:, 1]
    if objective == "multi:softprob" and classes > 2:
        return np.asarray(model.predict_proba(x))
    return np.asarray(model.predict(x)).ravel()


def served(folder, booster):
    """The pickled booster served by ours (a pickle keeps what training knew in every version)."""
    (folder / "xgboost-model").write_bytes(pickle.dumps(booster))
    return explaining.serve(folder, **explaining.ONEDAL)


def answers(folder, booster, x):
    """(the base's prediction, ours, the engine of ours) for rows x."""
    ours = served(folder, booster)
    expected = ours.predictor.base(ours.model, ours.form, xgboost.DMatrix(x), "text/csv")
    return expected, ours.predict(x), ours.member.choice


def differs(values, expected):
    return values.shape != expected.shape or np.nanmax(np.abs(values - expected)) > TOLERANCE


def rows_of(specimen):
    return zoo.inputs_of(specimen, rows=60).astype(np.float32)


@pytest.mark.parametrize("name", RIGHT)
def test_the_stock_converter_is_right_where_it_is(tmp_path, name):
    x, booster = rows_of(zoo.SPECIMENS[name]), zoo.train(zoo.SPECIMENS[name])
    expected, ours, choice = answers(tmp_path, booster, x)
    assert (choice.engine, ours.tobytes()) == ("daal4py", expected.tobytes())
    assert not differs(stock(booster, x), expected)


@pytest.mark.parametrize("name", WRONG)
def test_the_stock_converter_is_wrong_and_ours_is_equal(tmp_path, name):
    x, booster = rows_of(zoo.SPECIMENS[name]), zoo.train(zoo.SPECIMENS[name])
    expected, ours, choice = answers(tmp_path, booster, x)
    assert ours.tobytes() == expected.tobytes()
    assert (choice.engine == "daal4py") == (name not in BOOSTERS | ORDER), choice.reason
    assert differs(stock(booster, x), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_the_stock_converter_refuses_and_ours_is_equal(tmp_path, name):
    x, booster = rows_of(zoo.SPECIMENS[name]), zoo.train(zoo.SPECIMENS[name])
    expected, ours, choice = answers(tmp_path, booster, x)
    assert ours.tobytes() == expected.tobytes()
    assert (choice.engine == "daal4py") == (name not in BOOSTERS | ORDER), choice.reason
    with pytest.raises((TypeError, KeyError)):
        stock(booster, x)


@pytest.mark.skipif(not CATEGORICAL, reason="xgboost splits by category on a CPU from 1.7 on")
def test_one_hot_categories_are_wrong_or_refused(tmp_path):
    specimen = zoo.SPECIMENS["categorical-binary"] if CATEGORICAL else None
    specimen = replace(specimen, parameters=dict(specimen.parameters, max_cat_to_onehot=100))
    x, booster = rows_of(specimen), zoo.train(specimen)
    expected, ours, choice = answers(tmp_path, booster, x)
    assert ours.tobytes() == expected.tobytes()
    assert choice.reason == "the model has categorical splits"
    if RELEASE < 2025:
        with pytest.raises(TypeError):
            stock(booster, x)
    else:
        assert differs(stock(booster, x), expected)


def test_integer_features_with_fractional_requests(tmp_path):
    x = zoo.inputs(rows=160)
    whole = np.round(4 * x)
    labels = zoo.SPECIMENS["regression"].labels(np.random.RandomState(5), x)
    matrix = xgboost.DMatrix(whole, label=labels, feature_types=["int"] * zoo.FEATURES)
    booster = xgboost.train({"max_depth": 4, "seed": 7, "nthread": 1}, matrix, 8)
    rows = (whole[:60] + 0.5).astype(np.float32)
    expected, ours, choice = answers(tmp_path, booster, rows)
    assert (choice.engine, ours.tobytes()) == ("daal4py", expected.tobytes())
    assert differs(stock(booster, rows), expected) == (RELEASE < 2025)


def test_a_number_between_two_float32_beside_a_threshold(tmp_path):
    booster = zoo.train(zoo.SPECIMENS["regression"])
    rows = accelerator.proof_rows(model_booster.forest(model_booster.document(booster), {}))[:200]
    rows = np.where(np.abs(rows) > 1e30, 0, rows)
    between = np.nextafter(rows.astype(np.float64), np.inf)
    expected, _, _ = answers(tmp_path, booster, between)
    ours = served(tmp_path, booster).predict(between)
    assert ours.tobytes() == expected.tobytes()
    assert differs(stock(booster, between), expected)


def test_a_model_without_trees(tmp_path):
    specimen = replace(zoo.SPECIMENS["regression-base-score"], rounds=0)
    booster, x = zoo.train(specimen), rows_of(specimen)
    booster.best_iteration, booster.best_ntree_limit = 0, 0  # what the base asks of an old pickle
    expected, ours, choice = answers(tmp_path, booster, x)
    assert ours.tobytes() == expected.tobytes()
    assert choice.reason == "the model has no trees"


@pytest.mark.skipif(RELEASE >= 2025, reason="the converter leaves names alone from 2025 on")
def test_the_stock_converter_renames_the_boosters_features_and_ours_does_not(tmp_path):
    booster = zoo.train(zoo.SPECIMENS["named"])
    before = (list(booster.feature_names), booster.attributes(), bytes(booster.save_raw()))
    ours = served(tmp_path, booster)
    assert ours.member.choice.engine == "daal4py"
    after = (list(ours.model.feature_names), ours.model.attributes(), bytes(ours.model.save_raw()))
    assert after == before
    daal4py.mb.convert_model(booster)
    assert list(booster.feature_names) != before[0]


def test_recorded_rows_are_needed(tmp_path):
    """What ours compares is not the booster against itself: without the request's numbers it is the booster."""
    ours = served(tmp_path, zoo.train(zoo.SPECIMENS["regression"]))
    x = rows_of(zoo.SPECIMENS["regression"])
    accelerator = ours.member.choice.accelerator
    assert accelerator.rows(request_data.RecordedDMatrix(x), accelerator.options) is not None
    assert accelerator.rows(xgboost.DMatrix(x), accelerator.options) is None
