from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.util import did_you_mean, labelled, nearest_word, table

WORDS = st.text(st.characters(categories=("L", "N", "P"), max_codepoint=0x24F), min_size=1, max_size=90)
CELLS = st.lists(WORDS, max_size=6).map(" ".join)


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


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


# Tables fit where they are shown.


def test_columns_are_aligned_without_trailing_blanks():
    assert table([("A", "LONG", ""), ("abc", "b", "c")]) == "A    LONG\nabc  b     c"


@given(st.integers(2, 5).flatmap(lambda count: st.lists(st.tuples(*[CELLS] * count), min_size=1, max_size=4)))
def test_a_table_fits_80_columns_and_loses_nothing(rows):
    text = table(rows)
    assert max(map(len, text.split("\n"))) <= 80
    assert sorted("".join(text.split())) == sorted("".join("".join(row) for row in rows).replace(" ", ""))


def test_the_widest_column_wraps_below_itself(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    text = table([("name", "what it says of it"), ("x", "short")])
    assert text == "name  what it says\n      of it\nx     short"


def test_a_name_stays_whole_while_words_can_wrap(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    text = table([("a-name-of-eighteen", "in some words more")])
    assert text.replace(" ", "-").split("\n") == ["a-name-of-eighteen--in-some", "-" * 20 + "words-more"]


def test_a_word_of_the_first_column_has_its_colour_and_no_other_line():
    text = table([("failed", "x"), ("passed", "y")], {"failed": "red"})
    assert text == "\x1b[31mfailed\x1b[0m  x\npassed  y"


def test_labelled_lines_wrap_below_their_text_and_break_no_word(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    address = "https://example.com/a/long/address/of/a/page"
    text = labelled([("does", "one thing and then another"), ("more", address), ("none", "")], indent="  ")
    assert text == f"  does  one thing and then\n        another\n  more  {address}\n  none"
