from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.config.fields import RESERVED, environment_of
from xgbpatch.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"OMP_NUM_THREADS": "4"}, {"OMP_NUM_THREADS": "4"}, id="text"),
        pytest.param({"OMP_NUM_THREADS": 4}, {"OMP_NUM_THREADS": "4"}, id="number"),
        pytest.param({"EMPTY": ""}, {"EMPTY": ""}, id="empty"),
        pytest.param({"_A1": "a=b c\t$d"}, {"_A1": "a=b c\t$d"}, id="odd-characters"),
    ],
)
def test_accepted(value, expected):
    assert environment_of(value) == expected


@pytest.mark.parametrize("name", ["lower", "1A", "A-B", "A B", "", "A.B", "Ä"])
def test_names_outside_the_pattern_are_refused(name):
    with pytest.raises(ConfigurationError, match="not a variable name"):
        environment_of({name: "x"})


@pytest.mark.parametrize("name", ["PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "SAGEMAKER_SERVING_MODULE"])
def test_reserved_names_are_refused_with_the_reason(name):
    with pytest.raises(ConfigurationError, match=f'"{name}" cannot be set: {RESERVED[name]}'):
        environment_of({name: "x"})


@pytest.mark.parametrize(
    "name",
    [
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "DB_PASSWORD", "MY_SECRET",
        "SERVICE_API_KEY", "SSH_PRIVATE_KEY",
    ],
)  # fmt: skip
def test_names_of_credentials_are_refused(name):
    with pytest.raises(ConfigurationError, match=f'"{name}" looks like a credential'):
        environment_of({name: "x"})


def test_an_access_key_in_a_value_is_refused_and_not_repeated():
    with pytest.raises(ConfigurationError, match='"ID" looks like a credential') as caught:
        environment_of({"ID": "AKIAIOSFODNN7EXAMPLE"})
    assert "AKIA" not in caught.value.message + caught.value.next_step


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\rb"], ids=["line-break", "nul", "carriage-return"])
def test_values_that_no_dockerfile_carries_are_refused(value):
    with pytest.raises(ConfigurationError, match="line break or a control character"):
        environment_of({"A": value})


@pytest.mark.parametrize("value", [True, ["x"], {"a": "b"}, None], ids=["boolean", "list", "table", "none"])
def test_values_of_another_shape_are_refused(value):
    with pytest.raises(ConfigurationError, match='the value of "A" must be text or a number'):
        environment_of({"A": value})


@given(
    st.dictionaries(st.from_regex(r"X[A-G0-9_]{0,10}", fullmatch=True), st.text(st.characters(categories=["L", "N"])))
)
def test_values_pass_through_unchanged(variables):
    try:
        accepted = environment_of(variables)
    except ConfigurationError:
        return
    assert accepted == variables
