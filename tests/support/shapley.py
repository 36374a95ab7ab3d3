"""Shapley values of trees by their definition, over all subsets of features; and trees that nobody would train."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np

from xgbpatch.overlays.model.booster import Tree


def expectation(tree: Tree, row: np.ndarray, known: frozenset[int], node: int = 0) -> float:
    """The tree's mean where the features `known` are those of `row`: elsewhere children count by their cover."""
    if tree.left[node] == -1:
        return float(np.float32(tree.condition[node]) * tree.weight)
    children = (tree.left[node], tree.right[node])
    if tree.feature[node] in known:
        return expectation(tree, row, known, children[0 if _goes_left(tree, row, node) else 1])
    return sum(
        float(np.float32(tree.cover[child]))
        / float(np.float32(tree.cover[node]))
        * expectation(tree, row, known, child)
        for child in children
    )


def _goes_left(tree: Tree, row: np.ndarray, node: int) -> bool:
    value = row[tree.feature[node]]
    if np.isnan(value):
        return bool(tree.default_left[node])
    if node in tree.categories:
        return value < 0 or int(value) not in tree.categories[node]
    return bool(value < np.float32(tree.condition[node]))


def worth(trees: Iterable[Tree], row: np.ndarray, features: int) -> dict[frozenset[int], float]:
    """The expectation of every subset of the features."""
    trees = tuple(trees)
    subsets = itertools.chain.from_iterable(itertools.combinations(range(features), n) for n in range(features + 1))
    return {known: sum(expectation(tree, row, known) for tree in trees) for known in map(frozenset, subsets)}


def values(worths: dict[frozenset[int], float], features: int) -> np.ndarray:
    """float64 (features + 1,): Shapley values, and the worth of the empty set."""
    phi = np.zeros(features + 1)
    for known, value in worths.items():
        for feature in set(range(features)) - known:
            phi[feature] += _share(len(known), features) * (worths[known | {feature}] - value)
    phi[-1] = worths[frozenset()]
    return phi


def interactions(worths: dict[frozenset[int], float], features: int) -> np.ndarray:
    """float64 (features + 1, features + 1): half the Shapley interaction index, and on the diagonal what is left."""
    matrix = np.zeros((features + 1, features + 1))
    for first, second in itertools.combinations(range(features), 2):
        for known, value in worths.items():
            if known & {first, second}:
                continue
            both = worths[known | {first, second}] - worths[known | {first}] - worths[known | {second}] + value
            matrix[first, second] += _share(len(known), features - 1) * both / 2
        matrix[second, first] = matrix[first, second]
    phi = values(worths, features)
    matrix[np.arange(features), np.arange(features)] = phi[:-1] - matrix[:-1, :-1].sum(axis=1)
    matrix[-1, -1] = phi[-1]
    return matrix


def _share(size: int, features: int) -> float:
    return math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
