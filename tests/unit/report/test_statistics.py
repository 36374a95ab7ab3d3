"""Totals, the sample and the check of sums: the same whatever the blocks, and right on numbers that are known."""

from __future__ import annotations

import numpy as np
import pytest

from support.explained import explain
from xgbpatch.report.explanations import Rows
from xgbpatch.report.statistics import Additivity, Quality, Sample, Totals, distance, strongest_interaction


def rows_of(explained, begin=1):
    numbers = np.arange(begin, begin + len(explained.predictions))
    parts = (explained.predictions, explained.base, explained.values, explained.data, explained.labels)
    return Rows(numbers, *(part.astype(float) for part in parts))


@pytest.mark.parametrize(
    ("objective", "link"),
    [("reg:squarederror", "identity"), ("binary:logistic", "logistic"), ("count:poisson", "exp"),
     ("multi:softprob", "softmax"), ("multi:softmax", "class")],
)  # fmt: skip
def test_the_link_of_an_objective_is_found_and_a_row_that_misses_it_is_named(objective, link):
    explained = explain(objective)
    additivity = Additivity()
    additivity.add(rows_of(explained))
    assert (additivity.link, additivity.misses[link]) == (link, 0)

    if link != "class":
        explained.values[7, 0, 3] += 0.5
        additivity.add(rows_of(explained, begin=101))
        assert (additivity.link, additivity.misses[link], additivity.worst[link][1]) == (link, 1, 108)


def test_a_vote_that_fits_most_rows_by_chance_explains_none():
    values = np.random.default_rng(0).normal(size=(200, 1, 3))
    additivity = Additivity()
    additivity.add(Rows(np.arange(1, 201), np.ones((200, 1)), np.full((200, 1), 0.5), values))
    assert additivity.link not in ("hinge", "class")
    assert additivity.misses[additivity.link] > 100


def test_totals_and_sample_do_not_depend_on_the_blocks():
    rng = np.random.default_rng(0)
    count = 5000
    values, base = rng.normal(size=(count, 1, 4)), np.full((count, 1), 0.5)
    rows = Rows(
        np.arange(1, count + 1), base + values.sum(axis=2), base, values, cohort=rng.integers(0, 3, count) * 1.0
    )
    pairs = []
    for size in (count, 7):
        totals, sample = Totals((17,)), Sample(4)
        sample.limit = 300
        for begin in range(0, count, size):
            totals.add(rows.take(slice(begin, begin + size)))
            sample.add(rows.take(slice(begin, begin + size)))
        pairs.append((totals, sample))
    (one, first), (two, second) = pairs
    np.testing.assert_allclose(one.importance, np.abs(values).mean(axis=0))
    np.testing.assert_allclose(two.importance, one.importance)
    np.testing.assert_array_equal(first.rows.numbers, second.rows.numbers)
    assert len(set(first.rows.numbers)) == 300
    assert abs(first.rows.numbers.mean() - count / 2) < 4 * count / (12 * 300) ** 0.5  # uniform over the file
    assert one.chosen[17].numbers[0] == two.chosen[17].numbers[0] == 17
    assert (
        one.extremes["highest"].predictions[0, 0] == rows.predictions.max() == two.extremes["highest"].predictions[0, 0]
    )
    assert {key: cohort.rows for key, cohort in one.cohorts.items()} == {k: c.rows for k, c in two.cohorts.items()}


def test_a_column_with_many_values_makes_no_cohorts_of_all_rows():
    rows = rows_of(explain())
    totals = Totals()
    totals.add(Rows(rows.numbers, rows.predictions, rows.base, rows.values, cohort=np.arange(60.0)))
    assert totals.cohorts is None


def test_measures_of_probabilities_are_those_by_definition():
    explained = explain("binary:logistic")
    quality = Quality()
    for part in (slice(0, 20), slice(20, None)):
        quality.add(rows_of(explained).take(part))
    measures = {name: value for name, value, _ in quality.measures()}
    scores, labels = explained.predictions[:, 0].astype(float), explained.labels
    pairs = [(x > y) + 0.5 * (x == y) for x in scores[labels == 1].round(4) for y in scores[labels == 0].round(4)]
    assert measures["AUC"] == pytest.approx(np.mean(pairs))
    assert measures["log loss"] == pytest.approx(-np.mean(np.log(np.where(labels == 1, scores, 1 - scores))))
    assert measures["error"] == pytest.approx(np.mean((scores > 0.5) != labels))


def test_measures_of_numbers_and_of_classes():
    explained, quality = explain(), Quality()
    quality.add(rows_of(explained))
    measures = {name: value for name, value, _ in quality.measures()}
    off = explained.predictions[:, 0].astype(float) - explained.labels
    assert measures["RMSE"] == pytest.approx(np.sqrt(np.mean(off**2)))
    assert measures["R²"] == pytest.approx(
        1 - np.sum(off**2) / np.sum((explained.labels - explained.labels.mean()) ** 2)
    )

    explained, quality = explain("multi:softprob"), Quality()
    quality.add(rows_of(explained))
    assert quality.measures()[0][1] == pytest.approx(np.mean(explained.predictions.argmax(axis=1) != explained.labels))


def test_the_strongest_interaction_is_the_one_that_is_there():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2000, 5))
    assert strongest_interaction(data[:, 1] * data[:, 3], data, 1) == 3


def test_distances_of_a_shift_are_the_shift_and_its_gap():
    moved, gap = distance(np.arange(100.0), np.arange(100.0) + 10)
    assert (moved, gap) == pytest.approx((10, 0.1))
