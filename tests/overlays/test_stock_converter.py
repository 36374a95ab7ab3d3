"""Models that daal4py's own converter gets silently wrong, or refuses, and ours answers bit for bit.

The families are measured ones; which of them fail depends on the release of daal4py and of xgboost.
"""

import daal4py
import numpy as np
import pytest
import xgboost
import zoo
from sagemaker_xgboost_container.algorithm_mode import serve, serve_utils
from xgbpatch_overlays import engine

TOLERANCE = 2e-5
RELEASE = engine.year(daal4py)
EVERY_RELEASE = ["cox", "logitraw", "softprob-two-classes", "forest-softprob", "dart", "early-stopping-forest", "poisson"]
OLD_XGBOOST = ["forest"] if zoo.XGBOOST < (2, 0) else ["early-stopping-plain"]
FAMILIES = EVERY_RELEASE + (["forest"] if zoo.XGBOOST < (2, 0) else [])


def stock(booster, x):
    """What a user of daal4py's converter gets for these rows: probabilities of classes, else predictions."""
    convert = getattr(daal4py, "get_gbt_model_from_xgboost", None)
    import daal4py.mb as model_builders

    model = model_builders.convert_model(booster)
    del convert
    if getattr(model, "is_regressor_", False) or not hasattr(model, "predict_proba"):
        return np.asarray(model.predict(x)).ravel()
    objective = booster_objective(booster)
    probabilities = np.asarray(model.predict_proba(x))
    return probabilities if objective == "multi:softprob" else probabilities[:, 1]


def booster_objective(booster):
    import json

    return json.loads(booster.save_config())["learner"]["objective"]["name"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_stock_converter_is_wrong_and_ours_is_equal(server, name):
    x = zoo.inputs(rows=60).astype(np.float32)
    server(name, XGBPATCH_FEATURES="daal4py", XGBPATCH_ENGINE="daal4py")
    service = serve.ScoringService
    predictor = serve_utils.predict.__self__
    expected = predictor._base(service.booster, service.format, xgboost.DMatrix(x), "text/csv")
    member = predictor.member(service.booster, service.format)
    assert member.choice.engine == "daal4py", member.choice.reason
    assert service.predict(data=_recorded(x), content_type="text/csv", model_format=service.format).tobytes() == expected.tobytes()
    assert _wrong(service.booster, x, expected)


def _recorded(x):
    from xgbpatch_overlays import request_data

    return request_data.RecordedDMatrix(x)


def _wrong(booster, x, expected):
    """Whether the stock converter raises, or differs by more than rounding."""
    try:
        found = stock(booster, x)
    except Exception:
        return True
    return found.shape != expected.shape or float(np.max(np.abs(found - expected))) > TOLERANCE
