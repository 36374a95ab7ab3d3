"""The catalogue of features: what each brings to which base."""

import pytest

from xgbpatch.errors import ConfigurationError
from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts
from xgbpatch.patch.features import FEATURES, feature, features_of


def base(python: str, xgboost: str, sklearn: str, glibc: str = "2.31", machine: str = "x86_64") -> Facts:
    versions = {"xgboost": xgboost, "scikit-learn": sklearn}
    return Facts(
        digest="sha256:0",
        python=PythonFacts(python, "/p/bin/python", "/p", "/p/lib", machine, glibc),
        distributions={name: Distribution(name, version) for name, version in versions.items() if version},
        modules={},
        top_levels=frozenset(),
        commands={},
        environment={},
        labels={},
    )


@pytest.mark.parametrize(
    ("facts", "release"),
    [
        (base("3.7.10", "1.2.0", "0.23.2", "2.27"), "daal4py==2023.2.1"),
        (base("3.8.13", "1.5.2", "0.24.1", "2.27"), "daal4py==2024.2.0"),
        (base("3.9.20", "1.7.4", "0.24.1"), "daal4py==2024.2.0"),
        (base("3.10.13", "1.7.4", "1.0.2"), "scikit-learn-intelex==2026.1.0"),
        (base("3.10.13", "3.0.5", "1.5.2"), "scikit-learn-intelex==2026.1.0"),
        (base("3.12.1", "3.2.0", "1.8.0", "2.34"), "scikit-learn-intelex==2026.1.0"),
    ],
    ids=["1.2-2", "1.5-1", "1.7-1", "1.7-1-1", "3.0-5", "3.2-0"],
)
def test_daal4py_takes_the_release_measured_for_the_base(facts, release):
    pins = feature("daal4py").pins(facts)
    assert pins.requirements[0] == release
    assert all("==" in requirement for requirement in pins.requirements)
    assert pins.slim
    assert not pins.reason


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (base("3.8.13", "1.5.2", "0.24.1", "2.27", "aarch64"), 'the base is "aarch64"'),
        (base("3.12.1", "3.2.0", "1.8.0", "2.27"), "glibc 2.27"),
        (base("3.12.1", "3.2.0", "1.8.0", ""), "glibc unknown"),
        (base("3.12.1", "3.2.0", ""), "scikit-learn unknown"),
        (base("3.8.13", "1.5.2", "1.1.0"), "scikit-learn 1.1.0"),
    ],
    ids=["arm64", "old glibc", "no glibc", "no scikit-learn", "other scikit-learn"],
)
def test_daal4py_without_a_fitting_release_says_why(facts, reason):
    pins = feature("daal4py").pins(facts)
    assert not pins.requirements
    assert reason in pins.reason


def test_shap_brings_nothing():
    pins = feature("shap").pins(base("3.12.1", "3.2.0", "1.8.0"))
    assert (pins.requirements, pins.slim, pins.reason) == ((), (), "")


def test_a_base_too_old_is_refused():
    with pytest.raises(ConfigurationError, match=r'"shap" needs xgboost >=1\.2, the base has 0\.90'):
        feature("shap").pins(base("3.6.13", "0.90", "0.23.1"))


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigurationError) as caught:
        feature("daal4")
    assert 'Did you mean "daal4py"?' in caught.value.next_step


def test_versions_take_what_their_xgboost_can():
    assert [feature.name for feature in features_of("3.2-0")] == [
        "shap",
        "daal4py",
        "shap-probability",
        "training",
        "json-input",
        "fast",
    ]
    assert features_of("0.90-2") == ()


def test_what_a_feature_sets_is_a_variable_of_the_overlays():
    from xgbpatch.overlays import settings

    known = {variable.name for variable in settings.VARIABLES}
    for entry in FEATURES.values():
        carried = {"XGBPATCH_FEATURES": entry.name, **entry.environment}
        assert set(carried) <= known
        settings.read(carried)
