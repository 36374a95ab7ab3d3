"""Environment variables: what is accepted, and what a refusal says."""

import pytest
from xgbpatch_overlays import settings

CARRIED = {"XGBPATCH_FEATURES": "shap,daal4py"}


def test_nothing_set_asks_for_nothing():
    asked = settings.read({})
    assert not asked.active
    assert asked.shap_seconds == 50


def test_features_carried_ask_for_nothing_by_themselves():
    assert not settings.read(CARRIED).active


@pytest.mark.parametrize("value", ["append", " Append ", "APPEND"])
def test_shap_layout_switches_shap_on(value):
    assert settings.read(dict(CARRIED, XGBPATCH_SHAP_LAYOUT=value)).shap


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"XGBPATCH_SHAP_LAYOUT": "apend"},
            'XGBPATCH_SHAP_LAYOUT="apend" is not known; allowed: off, append; did you mean "append"?',
        ),
        ({"XGBPATCH_ENGINE": "fast"}, 'XGBPATCH_ENGINE="fast" is not known; allowed: booster, auto, daal4py'),
        ({"XGBPATCH_SHAP_SECONDS": "soon"}, 'XGBPATCH_SHAP_SECONDS="soon" is not a number'),
        ({"XGBPATCH_SHAP_SECONDS": "0"}, 'XGBPATCH_SHAP_SECONDS="0" is not a number'),
        ({"XGBPATCH_SHAP_SECONDS": "nan"}, 'XGBPATCH_SHAP_SECONDS="nan" is not a number'),
        ({"XGBPATCH_SHAP_SECONDS": "inf"}, 'XGBPATCH_SHAP_SECONDS="inf" is not a number'),
        (
            {"XGBPATCH_FEATURES": "", "XGBPATCH_SHAP_LAYOUT": "append"},
            "(it carries: none); build it with --feature shap",
        ),
        (
            {"XGBPATCH_FEATURES": "shap", "XGBPATCH_ENGINE": "auto"},
            "(it carries: shap); build it with --feature daal4py",
        ),
    ],
)
def test_bad_values_are_named(environment, message):
    with pytest.raises(settings.SettingsError) as caught:
        settings.read(dict(CARRIED, **environment))
    assert message in str(caught.value)


def test_booster_can_be_named_on_any_image():
    asked = settings.read({"XGBPATCH_ENGINE": "booster"})
    assert (asked.active, asked.accelerated) == (True, False)
