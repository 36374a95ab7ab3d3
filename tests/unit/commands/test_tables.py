"""Tables fit where they are shown; those of the listing commands break no word in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgbpatch.commands import _tables

WORDS = st.text(st.characters(categories=("L", "N", "P"), max_codepoint=0x24F), min_size=1, max_size=90)
CELLS = st.lists(WORDS, max_size=6).map(" ".join)


@pytest.fixture(autouse=True)
def columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def test_columns_are_aligned_without_trailing_blanks():
    assert _tables.table([("A", "LONG", ""), ("abc", "b", "c")]) == "A    LONG\nabc  b     c"


@given(st.integers(2, 5).flatmap(lambda count: st.lists(st.tuples(*[CELLS] * count), min_size=1, max_size=4)))
def test_a_table_fits_80_columns_and_loses_nothing(rows):
    text = _tables.table(rows)
    assert max(map(len, text.split("\n"))) <= 80
    assert sorted("".join(text.split())) == sorted("".join("".join(row) for row in rows).replace(" ", ""))


def test_the_widest_column_wraps_below_itself(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    text = _tables.table([("name", "what it says of it"), ("x", "short")])
    assert text == "name  what it says\n      of it\nx     short"


def test_a_name_stays_whole_while_words_can_wrap(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    text = _tables.table([("a-name-of-eighteen", "in some words more")])
    assert text.replace(" ", "-").split("\n") == ["a-name-of-eighteen--in-some", "-" * 20 + "words-more"]


def test_a_word_of_the_first_column_has_its_colour_and_no_other_line():
    text = _tables.table([("failed", "x"), ("passed", "y")], {"failed": "red"})
    assert text == "\x1b[31mfailed\x1b[0m  x\npassed  y"


def test_labelled_lines_wrap_below_their_text_and_break_no_word(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    address = "https://example.com/a/long/address/of/a/page"
    text = _tables.labelled([("does", "one thing and then another"), ("more", address), ("none", "")], indent="  ")
    assert text == f"  does  one thing and then\n        another\n  more  {address}\n  none"


@pytest.mark.parametrize(
    "command",
    [["versions", "--region", "us-west-2"], ["features"], ["fixes"], ["metrics"], ["test-local", "--list"]],
    ids=lambda command: command[0],
)
def test_listings_are_as_wide_as_asked_and_break_no_word_in_a_pipe(command):
    in_a_pipe, wide = (listing(command, **variables) for variables in ({}, {"COLUMNS": "120"}))
    assert [line for line in wide.splitlines() if len(line) > 120 and "https://" not in line] == []
    assert max(map(len, wide.splitlines())) > 80
    assert set(listing(command, COLUMNS="1000").split()) == set(in_a_pipe.split())
    for line in in_a_pipe.splitlines():
        assert len(line) <= 80 or command == ["metrics"] or "https://" in line, "names of metrics are long"


def listing(command, **variables):
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    completed = subprocess.run(
        [sys.executable, "-m", "xgbpatch", *command], capture_output=True, text=True, check=True,
        env={**environment, **variables},
    )  # fmt: skip
    return completed.stdout
