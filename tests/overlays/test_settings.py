"""Environment variables: what is accepted, and what a refusal says."""

import pytest
from xgbpatch_overlays import settings

CARRIED = {"XGBPATCH_FEATURES": "shap,daal4py"}


def test_nothing_set_asks_for_nothing():
    config = settings.read({})
    assert not config.active
    assert config.shap_seconds == 50


def test_daal4py_carried_asks_for_nothing_by_itself():
    assert not settings.read({"XGBPATCH_FEATURES": "daal4py"}).active


def test_shap_carried_lets_requests_ask():
    config = settings.read(CARRIED)
    assert (config.active, config.explains, config.shap) == (True, True, False)
    assert config.response_options == settings.ResponseOptions()


@pytest.mark.parametrize(
    ("environment", "size"),
    [({}, 6), ({"SAGEMAKER_BATCH": "true"}, 100), ({"SAGEMAKER_BATCH": "1", "XGBPATCH_SHAP_MEGABYTES": "2.5"}, 2.5)],
    ids=["endpoint", "batch transform", "set"],
)
def test_a_response_may_have_what_sagemaker_takes(environment, size):
    assert settings.read(dict(CARRIED, **environment)).shap_bytes == size * 1024**2


def test_how_an_explanation_is_made_is_read():
    carried = {"XGBPATCH_FEATURES": "shap,shap-probability"}
    names = {"SPACE": "probability", "APPROXIMATE": "on", "HEADER": "On", "TOP_K": " 3 "}
    config = settings.read(dict(carried, **{"XGBPATCH_SHAP_" + name: value for name, value in names.items()}))
    assert config.response_options == settings.ResponseOptions("probability", approximate=True, top_k=3, header=True)


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
        ({"XGBPATCH_ENGINE": "fast"}, 'XGBPATCH_ENGINE="fast" is not known; allowed: booster, native, auto, daal4py'),
        ({"XGBPATCH_SHAP_SECONDS": "soon"}, 'XGBPATCH_SHAP_SECONDS="soon" is not a number'),
        ({"XGBPATCH_SHAP_SECONDS": "0"}, 'XGBPATCH_SHAP_SECONDS="0" is not a number'),
        ({"XGBPATCH_SHAP_SECONDS": "nan"}, 'XGBPATCH_SHAP_SECONDS="nan" is not a number'),
        ({"XGBPATCH_SHAP_SECONDS": "inf"}, 'XGBPATCH_SHAP_SECONDS="inf" is not a number'),
        ({"XGBPATCH_SHAP_TOP_K": "0"}, 'XGBPATCH_SHAP_TOP_K="0" is not a whole number above 0'),
        ({"XGBPATCH_SHAP_TOP_K": "9" * 5000}, "is not a whole number above 0"),
        ({"XGBPATCH_SHAP_MEGABYTES": "1e308"}, 'XGBPATCH_SHAP_MEGABYTES="1e308" is not a number of megabytes'),
        ({"XGBPATCH_SHAP_MEGABYTES": "9" * 5000}, "is not a number of megabytes"),
        ({"XGBPATCH_SHAP_TOP_K": "1.5"}, 'XGBPATCH_SHAP_TOP_K="1.5" is not a whole number above 0'),
        ({"XGBPATCH_SHAP_MEGABYTES": "-1"}, 'XGBPATCH_SHAP_MEGABYTES="-1" is not a number of megabytes above 0'),
        ({"XGBPATCH_SHAP_SPACE": "log"}, 'XGBPATCH_SHAP_SPACE="log" is not known; allowed: margin, probability'),
        ({"XGBPATCH_SHAP_SPACE": "probability"}, "build it with --feature shap-probability"),
        ({"XGBPATCH_SHAP_HEADER": "yes"}, 'XGBPATCH_SHAP_HEADER="yes" is not known; allowed: off, on'),
        (
            {"XGBPATCH_FEATURES": "", "XGBPATCH_SHAP_TOP_K": "3"},
            "(it carries: none); build it with --feature shap",
        ),
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
    config = settings.read({"XGBPATCH_ENGINE": "booster"})
    assert (config.active, config.accelerated) == (True, False)
