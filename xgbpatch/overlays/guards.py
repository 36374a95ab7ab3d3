"""Which models and which requests oneDAL may answer. Each guard returns the reason why not, or an empty string."""

from __future__ import annotations

import platform
from typing import Any, Mapping

import numpy as np
import xgboost

from . import links, trees

MEMORY = 256 * 1024**2  # bytes that the exponential tree layout of daal4py before 2026 may take
NODES = 5000000  # building takes about 5 us a node and 500 bytes while it lasts
DENSE = 256 * 1024**2  # bytes of a request's dense matrix
LINEAR_LAYOUT = 2026  # first year of daal4py whose trees take memory by node, not by depth


def machine() -> str:
    """oneDAL is built for x86-64 only."""
    name = platform.machine()
    return "" if name in ("x86_64", "AMD64") else "oneDAL is not built for {}".format(name)


def model(document: Mapping[str, Any]) -> str:
    """The document is of a kind that the builder can express."""
    learner = document["learner"]
    booster, objective = learner["gradient_booster"]["name"], learner["objective"]["name"]
    if booster not in ("gbtree", "dart"):
        return 'the booster is "{}"'.format(booster)
    if objective not in links.KNOWN:
        return 'the objective "{}" is not known'.format(objective)
    if int(learner["learner_model_param"].get("num_target", 1)) > 1:
        return "the model has several targets"
    return _trees(trees.model_of(document))


def size(forest: trees.Forest, year: int) -> str:
    """The model fits in memory, under the layout of the daal4py of `year`; deeper trees than 24 crash the old one."""
    if not all(forest.groups):
        return "the model has an output without trees"
    nodes = sum(tree.size for tree in forest.trees)
    if nodes > NODES:
        return "{} nodes, the limit is {}".format(nodes, NODES)
    if year < LINEAR_LAYOUT:
        needed = sum(32 * 2 ** (tree.depth + 1) for tree in forest.trees)
        if needed > MEMORY:
            return "{} MiB for its deep trees, the limit is {}".format(needed >> 20, MEMORY >> 20)
    return ""


def data(recorded: Any, features: int) -> str:
    """The request's recorded numbers can be made dense."""
    if recorded is None:
        return "the request's numbers are not known"
    if recorded.shape[0] == 0:
        return "no rows"
    if recorded.shape[1] != features:  # of narrower ones xgboost 3 sends missing cells another way, by their number
        return "{} columns, the model has {}".format(recorded.shape[1], features)
    if recorded.shape[0] * features * 4 > DENSE:
        return "the dense matrix would pass {} MiB".format(DENSE >> 20)
    return ""


def margin(dmatrix: xgboost.DMatrix) -> str:
    """No base content type carries one; a script may."""
    return "a base margin" if dmatrix.get_base_margin().size else ""


def rows(dense: np.ndarray) -> str:
    """xgboost treats infinities in its own way."""
    return "an infinite value" if np.isinf(dense).any() else ""


def _trees(model_part: Mapping[str, Any]) -> str:
    for tree in model_part["trees"]:
        if int(tree["tree_param"].get("size_leaf_vector", 0) or 0) > 1:
            return "the model has vector leaves"
        if any(tree.get("split_type", ())) or any(tree.get("categories_nodes", ())):
            return "the model has categorical splits"
    return "" if model_part["trees"] else "the model has no trees"
