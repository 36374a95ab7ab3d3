"""Models that daal4py's own converter gets silently wrong, or refuses, and ours answers bit for bit.

The families are measured ones; which of them fail depends on the release of daal4py and of xgboost.
"""

import json

import daal4py.mb
import numpy as np
import pytest
import xgboost
import zoo
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils
from xgbpatch_overlays import request_data

pytestmark = pytest.mark.skipif(zoo.XGBOOST < (1, 4), reason="daal4py's converter asks for a method of xgboost 1.4")
TOLERANCE = 2e-5
FAMILIES = ["cox", "logitraw", "softprob-two-classes", "forest-softprob", "early-stopping-forest", "poisson"]
FAMILIES += ["forest", "dart"] if zoo.XGBOOST < (2, 0) else ["early-stopping"]


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


def served(server, name):
    """(booster, rows, the base's prediction, ours) for a model of the zoo, oneDAL predicting."""
    x = zoo.inputs(rows=60).astype(np.float32)
    server(name, XGBPATCH_FEATURES="daal4py", XGBPATCH_ENGINE="daal4py")
    service, predictor = serve.ScoringService, serve_utils.predict.__self__
    member = predictor.member(service.booster, service.format)
    assert member.choice.engine == "daal4py", member.choice.reason
    expected = predictor._base(service.booster, service.format, xgboost.DMatrix(x), "text/csv")
    ours = service.predict(request_data.RecordedDMatrix(x), "text/csv", service.format)
    return service.booster, x, expected, ours


@pytest.mark.parametrize("name", ["regression", "binary", "softprob"])
def test_the_stock_converter_is_right_where_it_is(server, name):
    booster, x, expected, _ = served(server, name)
    assert np.max(np.abs(stock(booster, x) - expected)) <= TOLERANCE


@pytest.mark.parametrize("name", FAMILIES)
def test_the_stock_converter_is_wrong_and_ours_is_equal(server, name):
    booster, x, expected, ours = served(server, name)
    assert ours.tobytes() == expected.tobytes()
    found = stock(booster, x)
    assert found.shape != expected.shape or np.max(np.abs(found - expected)) > TOLERANCE
