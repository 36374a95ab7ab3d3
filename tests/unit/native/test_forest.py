"""The native kernels against the definition of Shapley values, on trees nobody would train, and against xgboost."""

from __future__ import annotations

import platform

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from support import shapley
from xgbpatch.overlays.model import booster as model_booster
from xgbpatch.overlays.model.booster import Forest, Tree
from xgbpatch.overlays.native import engine
from xgbpatch.overlays.native.engine import KERNELS, NativeForest, Unsuitable

EXACT = 1e-9
FEATURES = 5
SHARES = st.sampled_from([0.0, 1e-12, 0.1, 0.3, 0.5, 0.999, 1.0])  # of a parent's cover, whatever its sibling has
NUMBERS = st.sampled_from([-1.5, -1.0, -1e-45, 0.0, 0.5, 1.0, 2.0, 1e30])
CELLS = st.sampled_from([np.nan, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 31.0, 33.0, 64.0])

kernels = pytest.mark.parametrize("kernel", engine.kernels())


@st.composite
def trees(draw, features=FEATURES, most=9):
    """Any shape, features again and again on a path, covers that do not add up, empty children, pruned nodes."""
    left, right, feature, condition, default, cover, categories = (
        [-1],
        [-1],
        [0],
        [0.0],
        [0],
        [draw(st.sampled_from([1e-12, 1.0, 1e6]))],
        {},
    )
    for _ in range(draw(st.integers(0, most))):
        node = draw(st.sampled_from([number for number, child in enumerate(left) if child == -1]))
        if np.float32(cover[node]) > 0:
            left[node], right[node] = len(left), len(left) + 1
            feature[node] = draw(st.integers(0, features - 1))
            condition[node] = draw(NUMBERS)
            default[node] = draw(st.integers(0, 1))
            if draw(st.booleans()) and draw(st.booleans()):
                members = draw(st.lists(st.sampled_from([0, 1, 2, 31, 33, 64]), max_size=3, unique=True))
                categories[node] = np.array(members, dtype=np.int32)
            for _ in range(2):
                left.append(-1), right.append(-1), feature.append(0), default.append(0)
                condition.append(draw(NUMBERS.filter(lambda number: number < 1e9)))
                cover.append(cover[node] * draw(SHARES))
    left.append(-1), right.append(-1), feature.append(0), condition.append(9.0), default.append(0), cover.append(0.0)
    return Tree(left, right, feature, np.array(condition, np.float32), default, cover, np.float32(1), categories)


def of(*groups, features=FEATURES, base=None):
    return Forest(
        "", features, tuple(tuple(group) for group in groups), tuple(np.float32(b) for b in base or [0] * len(groups))
    )


@kernels
@settings(max_examples=60, deadline=None)
@given(
    forest=st.lists(trees(), min_size=1, max_size=3),
    cells=st.lists(CELLS, min_size=3 * FEATURES, max_size=3 * FEATURES),
)
def test_values_and_interactions_are_those_of_the_definition(kernel, forest, cells):
    rows = np.array(cells, dtype=np.float32).reshape(3, FEATURES)
    native = NativeForest(of(forest), kernel=kernel)
    batch, pairs = native.contributions(rows)[:, 0], native.interactions(rows)[:, 0]
    for number, row in enumerate(rows):
        worths = shapley.worth(forest, row, FEATURES)
        scale = EXACT * max(1.0, *(abs(worth) for worth in worths.values()))
        one = native.contributions(rows[number : number + 1])[0, 0]
        np.testing.assert_allclose(batch[number], shapley.values(worths, FEATURES), rtol=0, atol=scale)
        np.testing.assert_allclose(one, batch[number], rtol=0, atol=scale)
        np.testing.assert_allclose(pairs[number], shapley.interactions(worths, FEATURES), rtol=0, atol=scale)


@settings(max_examples=60, deadline=None)
@given(forest=st.lists(trees(), min_size=1, max_size=3), cells=st.lists(CELLS, min_size=FEATURES, max_size=FEATURES))
def test_margins_of_many_rows_are_those_of_each(forest, cells):
    rows = np.array(cells, dtype=np.float32).reshape(1, FEATURES).repeat(11, axis=0)
    rows[5:, 0] = np.nan
    native = NativeForest(of(forest, forest[:1], base=[0.3, -2]))
    each = [native.margins(rows[number : number + 1]) for number in range(len(rows))]
    assert native.margins(rows).tobytes() == np.concatenate(each).tobytes()
    whole = frozenset(range(FEATURES))
    for number in (0, 10):
        expected = np.float32(0.3)
        for tree in forest:
            expected = np.float32(expected + np.float32(shapley.expectation(tree, rows[number], whole)))
        assert native.margins(rows)[number, 0] == expected


def chain(depth, features, empty=False):
    """A tree of one long path, whose features come again after `features` splits."""
    nodes = 2 * depth + 1
    left, right = np.full(nodes, -1), np.full(nodes, -1)
    left[0 : 2 * depth : 2], right[0 : 2 * depth : 2] = np.arange(1, nodes, 2), np.arange(2, nodes, 2)
    cover = np.zeros(nodes, dtype=np.float32)
    cover[0::2] = 0.98 ** np.arange(depth + 1)
    cover[1::2] = cover[0:-1:2] - cover[2::2]
    if empty:
        cover[0] = 0
    feature = np.arange(nodes) // 2 % features
    condition = np.where(left >= 0, 0.5, np.cos(np.arange(nodes))).astype(np.float32)
    return Tree(left, right, feature, condition, np.arange(nodes) % 2, cover, np.float32(1))


@kernels
@pytest.mark.parametrize(("depth", "features"), [(16, 16), (40, 40), (200, 200), (60, 7), (1000, 3), (3, 500)])
def test_deep_trees_add_up_and_one_row_equals_many(kernel, depth, features):
    native = NativeForest(of([chain(depth, features)], features=features), kernel=kernel)
    rows = np.random.RandomState(0).choice([0, 1, np.nan], (21, features), p=[0.1, 0.8, 0.1]).astype(np.float32)
    values = native.contributions(rows)
    np.testing.assert_allclose(values.sum(axis=-1), native.margins(rows), rtol=0, atol=1e-6)
    ones = np.concatenate([native.contributions(rows[number : number + 1]) for number in range(len(rows))])
    np.testing.assert_allclose(ones, values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(native.interactions(rows[:2]).sum(axis=-1), values[:2], rtol=0, atol=1e-10)


def test_a_deep_path_of_few_features_is_that_of_the_definition():
    tree, row = chain(30, 4), np.array([1, np.nan, 1, 0], dtype=np.float32)
    expected = shapley.values(shapley.worth([tree], row, 4), 4)
    values = NativeForest(of([tree], features=4)).contributions(row.reshape(1, 4))[0, 0]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def altered(**arrays):
    tree = chain(3, 2)
    return Tree(**{**{name: getattr(tree, name) for name in Tree.__dataclass_fields__}, **arrays})


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (altered(left=np.array([0, -1, 3, -1, 5, -1, -1])), "damaged"),
        (altered(right=np.array([99, -1, 4, -1, 6, -1, -1])), "damaged"),
        (altered(feature=np.array([2, 0, 0, 0, 0, 0, 0])), "damaged"),
        (altered(cover=np.zeros(5)), "damaged"),
        (altered(condition=np.full(7, np.nan, np.float32)), "threshold"),
        (altered(condition=np.full(7, -np.inf, np.float32)), "threshold"),
        (chain(100001, 2), "too deep"),
    ],
)
def test_a_tree_that_cannot_be_held_says_why(tree, reason):
    with pytest.raises(Unsuitable, match=reason):
        NativeForest(of([tree], features=2))


@pytest.mark.parametrize(
    ("tree", "reason"),
    [
        (chain(3, 2, empty=True), "no cover"),
        (altered(cover=np.full(7, np.nan)), "no cover"),
        (altered(cover=np.arange(7) + 1.0), "less than below"),
        (chain(300, 300), "256"),
    ],
)
def test_what_cannot_be_explained_is_predicted(tree, reason):
    """xgboost divides by such a cover, and answers not-a-number."""
    native = NativeForest(of([tree], features=300))
    rows = np.zeros((1, 300), dtype=np.float32)
    assert reason in native.unexplained
    assert np.isfinite(native.margins(rows)).all()
    for explain in (native.contributions, native.interactions):
        with pytest.raises(Unsuitable, match=reason):
            explain(rows)


@pytest.mark.parametrize(
    "rows",
    [np.zeros((2, 3), np.float32), np.zeros((2, 2)), np.zeros(2, np.float32), np.zeros((2, 2), np.float32, order="F")],
    ids=["width", "dtype", "shape", "order"],
)
def test_other_arrays_are_refused(rows):
    native = NativeForest(of([chain(3, 2)], features=2))
    for compute in (native.margins, native.contributions, native.interactions):
        with pytest.raises(ValueError, match="float32"):
            compute(rows)


def test_threads_change_nothing():
    forest = of([chain(200, 20)] * 30, [chain(150, 19)], features=20, base=[1, 2])
    rows = np.random.RandomState(0).standard_normal((777, 20)).astype(np.float32)
    bases = np.random.RandomState(1).standard_normal((777, 2)).astype(np.float32)
    alone, shared = NativeForest(forest), NativeForest(forest, threads=3)
    for name in ("margins", "contributions"):
        assert getattr(alone, name)(rows, bases).tobytes() == getattr(shared, name)(rows, bases).tobytes()


def test_no_rows_and_no_trees():
    native = NativeForest(of([], [chain(3, 2)], features=2, base=[0.5, 1]))
    assert native.contributions(np.zeros((0, 2), np.float32)).shape == (0, 2, 3)
    assert native.margins(np.zeros((0, 2), np.float32)).shape == (0, 2)
    assert native.contributions(np.zeros((1, 2), np.float32))[0, 0].tolist() == [0, 0, 0.5]


@pytest.mark.parametrize(
    ("limit", "workers", "cpus", "expected"),
    [
        ("", 1, np.inf, 4),
        ("2", 1, 64, 2),
        ("9", 1, 64, 4),
        ("", 3, 64, 1),
        ("x", 2, 64, 2),
        ("0", 1, 64, 1),
        ("", 1, 2.5, 2),
        ("", 1, 0.3, 1),
    ],
)
def test_threads_are_those_that_other_workers_and_the_container_leave(monkeypatch, limit, workers, cpus, expected):
    monkeypatch.setattr(engine.os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    assert engine.spare_threads({"OMP_NUM_THREADS": limit}, workers, cpus) == expected


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the other machines have one kernel")
def test_a_kernel_of_another_machine_is_refused(monkeypatch):
    monkeypatch.setattr(engine, "kernels", lambda: KERNELS[:1])
    with pytest.raises(Unsuitable, match="AVX-512"):
        NativeForest(of([chain(3, 2)], features=2), kernel="AVX-512")


@pytest.mark.parametrize("objective", ["binary:logistic", "multi:softprob", "count:poisson"])
def test_contributions_are_those_of_the_xgboost_at_hand(objective):
    """tests/overlays has the zoo of models on each version; scripts/newest-xgboost holds it to the newest release."""
    random = np.random.RandomState(0)
    rows = random.standard_normal((300, 12)).astype(np.float32)
    rows[random.rand(*rows.shape) < 0.1] = np.nan
    parameters = {"objective": objective, "max_depth": 7, "nthread": 1}
    if objective == "multi:softprob":
        parameters["num_class"] = 3
    matrix = xgboost.DMatrix(rows, label=random.randint(0, 3 if "class" in str(parameters) else 2, 300))
    booster = xgboost.train(parameters, matrix, 20)
    native = NativeForest(model_booster.forest(model_booster.document(booster), {}))
    theirs = booster.predict(matrix, pred_contribs=True)
    np.testing.assert_allclose(native.contributions(rows).reshape(theirs.shape), theirs, rtol=0, atol=1e-5)
    margins = booster.predict(matrix, output_margin=True)
    assert native.margins(rows).reshape(margins.shape).tobytes() == margins.tobytes()
