"""The tables of the listing commands break no word in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


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
