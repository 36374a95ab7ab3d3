"""Processes that are measured by turns, and when a ratio counts as lower than the recorded one."""

from __future__ import annotations

import pytest

from support.bench import regression
from support.bench.rivals import take_turns


def test_rivals_take_turns_in_alternating_order_and_ratios_are_of_a_round():
    order = []

    def rival(name, seconds):
        def ask(calls):
            order.append((name, calls))
            return seconds

        return ask

    turns = take_turns({"slow": rival("slow", 0.02), "quick": rival("quick", 0.01)}, rounds=2, slice_seconds=0.04)
    assert order[-4:] == [("slow", 2), ("quick", 4), ("quick", 4), ("slow", 2)]
    assert turns.ratio("slow", "quick") == pytest.approx(2.0)


@pytest.mark.parametrize(("value", "falls"), [(7.6, False), (7.4, True), (20.0, False)])
def test_a_figure_falls_by_more_than_a_quarter(value, falls):
    assert regression.fell(value, 10.0) is falls
    assert not regression.fell(value, None)
