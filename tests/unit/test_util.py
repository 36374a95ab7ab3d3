from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.util import did_you_mean, nearest_word


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        pytest.param("verison", "version", id="transposed"),
        pytest.param("Region", "region", id="letter-case"),
        pytest.param("zzz", None, id="nothing-close"),
        pytest.param("", None, id="empty"),
        pytest.param("feat", "features", id="beginning"),
    ],
)
def test_nearest_match(word, expected):
    assert nearest_word(word, ("version", "region", "features")) == expected


def test_next_step_names_the_match_and_every_choice():
    assert did_you_mean("shp", ("shap", "daal4py")) == 'Did you mean "shap"? Allowed: shap, daal4py.'


def test_next_step_without_a_match_asks_nothing():
    assert did_you_mean("zzz", ("shap", "daal4py")) == "Allowed: shap, daal4py."


@given(st.text(), st.lists(st.text(), max_size=5))
def test_nearest_is_one_of_the_choices_or_none(word, choices):
    assert nearest_word(word, choices) in (None, *choices)
