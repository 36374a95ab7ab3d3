"""The feature `daal4py`: oneDAL in the place of a booster, where it was proved to answer the same."""

from __future__ import annotations

import functools
import logging
import os
import platform
import resource
import time
from dataclasses import replace
from typing import Any, Callable, Dict, List, Mapping, Tuple

import numpy as np
import xgboost

from . import request_data
from .model import accelerator as proof
from .model import booster as model_booster
from .model.accelerator import Accelerator, Choice
from .model.booster import Unsuitable


def peak() -> int:
    """The most bytes it has held so far; a step that raises nothing fits in what was there before."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


SIZES = (1, 16, 128)  # rows at which `auto` compares the engines
ROUNDS = 5


# Which models oneDAL may answer, beside `accelerator.guard_model`. Each guard returns why not, or an empty string.


MEMORY = 256 * 1024**2  # bytes that the exponential tree layout of daal4py before 2026 may take
NODES = 5000000  # building takes about 5 us a node and 500 bytes while it lasts
LINEAR_LAYOUT = 2026  # first year of daal4py whose trees take memory by node, not by depth


def guard_machine() -> str:
    """oneDAL is built for x86-64 only."""
    name = platform.machine()
    return "" if name in ("x86_64", "AMD64") else "oneDAL is not built for {}".format(name)


def guard_size(forest: model_booster.Forest, year: int) -> str:
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


def accelerate(booster: xgboost.Booster, options: Mapping[str, Any], engine: str) -> Choice:
    """The Choice of oneDAL, where `engine` is "daal4py" or "auto"; raises Unsuitable, or what goes wrong on the way."""
    _hold(guard_machine())
    daal4py = load()
    start, peak_before = time.perf_counter(), peak()
    document = model_booster.document(booster, lambda size: _hold(proof.guard_memory(size, os.environ)))
    _hold(proof.guard_model(document))
    _hold("" if routes_missing(daal4py) else "this daal4py cannot route missing values")
    forest = model_booster.forest(document, options)
    _hold(guard_size(forest, year(daal4py)))
    model, rows = OnedalModel(daal4py, forest), proof.proof_rows(forest)
    sample = rows[np.linspace(0, len(rows) - 1, SIZES[-1]).astype(int)]
    accelerator = Accelerator("daal4py", model, proof.MarginLink(document), options, sample, compares=engine == "auto")
    built = time.perf_counter()
    _hold(proof.prove(booster, options, accelerator.evaluate, rows))
    reason = "converted in {:.2f} s and {} MiB, proved equal on {} rows in {:.2f} s".format(
        built - start, (peak() - peak_before) >> 20, len(rows), time.perf_counter() - built
    )
    if accelerator.compares:
        accelerator = replace(accelerator, least=_least_rows(booster, accelerator))
        reason += ", faster from {} rows on".format(accelerator.least)
    return Choice(accelerator.answer, "daal4py", reason, accelerator)


def load() -> Any:
    """daal4py on one thread; raises Unsuitable where it cannot be imported.

    Its import warns through the root logger, which would give the base's logging another handler.
    """
    handlers = list(logging.root.handlers)
    try:
        import daal4py
    except Exception as error:
        raise Unsuitable("daal4py cannot be imported: {}".format(error)) from error
    finally:
        logging.root.handlers[:] = handlers
    _keep_to_one_thread(daal4py)
    return daal4py


@functools.lru_cache(maxsize=None)
def _keep_to_one_thread(daal4py: Any) -> None:
    """Once: where that of 2023 is told its threads again after it has computed, a thread of its oneTBB never rests."""
    daal4py.daalinit(1)


def year(daal4py: Any) -> int:
    """The release year of daal4py, 0 where it does not say (that is the strictest)."""
    try:
        return int(str(daal4py._get__daal_link_version__())[:4])
    except (AttributeError, ValueError):
        return 0


def _least_rows(booster: xgboost.Booster, accelerator: Accelerator) -> int:
    """The smallest of SIZES from which on oneDAL was the faster; above the largest where it never was."""
    least = 4 * SIZES[-1]
    for size in reversed(SIZES):
        rows = accelerator.sample[:size]
        theirs = _quickest(lambda matrix: booster.predict(matrix, **accelerator.options), rows)
        ours = _quickest(lambda matrix: accelerator.answer(matrix, accelerator.options), rows)
        if ours > theirs:
            return least
        least = size
    return least


def _quickest(predict: Callable[..., Any], rows: np.ndarray) -> float:
    """Seconds of the quickest run, from the numbers on: an engine spares xgboost's matrix of them.

    Each has a matrix of its own, since xgboost remembers what it predicted for one.
    """
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        predict(request_data.LateDMatrix(rows))
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _hold(reason: str) -> None:
    if reason:
        raise Unsuitable(reason)


# A oneDAL model built node by node from xgboost's trees, one regression model for each output group.
#
# daal4py's own converter is silently wrong for whole families of models (other ones in every release), so it is not
# used. What makes the margins xgboost's, bit for bit: single precision throughout, the same order of additions,
# thresholds one step down (xgboost goes left below a threshold, oneDAL up to it), missing values routed as the tree
# says.


BASE_LAST = model_booster.XGBOOST < (1, 3)  # xgboost added the base margin after the trees, later before the first


class OnedalModel(object):
    """Margins by oneDAL. `margins(rows)` takes float32 (n, features) and returns float32 (n,), or (n, groups).

    `unexplained` is why it has no contributions, or empty. The base value of these `wavers` from row to row.
    """

    wavers = True

    def __init__(self, daal4py: Any, forest: model_booster.Forest):
        self.features = forest.features
        self._last = np.array(forest.base, dtype=np.float32) if BASE_LAST else None
        self._models = [_regression(daal4py, forest, group) for group in range(len(forest.groups))]
        self._algorithm = daal4py.gbt_regression_prediction
        self.unexplained = "" if keeps_cover(daal4py) else "this daal4py has no contributions"

    def margins(self, rows: np.ndarray) -> np.ndarray:
        # an algorithm keeps the table of its first result, so each computation has its own
        columns = [self._algorithm(fptype="float").compute(rows, model).prediction.ravel() for model in self._models]
        margins = np.stack(columns, axis=1).astype(np.float32, copy=False)
        if self._last is not None:
            margins = margins + self._last
        return margins[:, 0] if len(self._models) == 1 else margins

    def explain(self, rows: np.ndarray, interactions: bool) -> np.ndarray:
        """Contributions, float32 (n, [groups,] features + 1), or with `interactions` one more such axis; bias last.

        Not where it is `unexplained`.
        """
        kind = "shapInteractions" if interactions else "shapContributions"
        shape = (len(rows),) + (self.features + 1,) * (2 if interactions else 1)
        arrays = [
            self._algorithm(fptype="float", resultsToCompute=kind).compute(rows, model).prediction.reshape(shape)
            for model in self._models
        ]
        return arrays[0] if len(arrays) == 1 else np.stack(arrays, axis=1)


def routes_missing(daal4py: Any) -> bool:
    """Whether this daal4py's builder can be told where a missing value goes (from 2023.2 on)."""
    return "default_left" in (daal4py.gbt_reg_model_builder(n_features=1, n_iterations=1).add_split.__doc__ or "")


def keeps_cover(daal4py: Any) -> bool:
    """Whether this daal4py's builder takes the cover of a node, which contributions weigh by (from 2024.0.1 on)."""
    return "cover" in (daal4py.gbt_reg_model_builder(n_features=1, n_iterations=1).add_split.__doc__ or "")


def _regression(daal4py: Any, forest: model_booster.Forest, group: int) -> Any:
    trees = forest.groups[group]
    builder = daal4py.gbt_reg_model_builder(n_features=forest.features, n_iterations=len(trees))
    covers = keeps_cover(daal4py)
    for position, tree in enumerate(trees):
        thresholds = np.nextafter(tree.condition, np.float32(-np.inf)).tolist()
        responses = tree.condition * tree.weight if tree.weight != 1 else tree.condition
        if position == 0 and not BASE_LAST:
            responses = responses + forest.base[group]
        leaves = responses.tolist()
        handle = builder.create_tree(tree.size)
        pending: List[Tuple[int, Dict[str, Any]]] = [(0, {})]
        while pending:
            node, place = pending.pop()
            arguments = dict(place, tree_id=handle)
            if covers:
                arguments["cover"] = tree.cover[node]
            if tree.left[node] == -1:
                builder.add_leaf(response=leaves[node], **arguments)
                continue
            parent = builder.add_split(
                feature_index=tree.feature[node],
                feature_value=thresholds[node],
                default_left=int(tree.default_left[node]),
                **arguments,
            )
            pending.append((tree.right[node], {"parent_id": parent, "position": 1}))
            pending.append((tree.left[node], {"parent_id": parent, "position": 0}))
    return builder.model(base_score=0.0) if covers else builder.model()
