"""oneDAL in the place of a booster, where it was proved to answer the same."""

from __future__ import annotations

import logging
import os
import platform
import resource
import time
from dataclasses import replace
from typing import Any, Callable, Mapping

import numpy as np
import xgboost

from .. import request_data
from ..model import accelerator as proof
from ..model import booster as model_booster
from ..model.accelerator import Accelerator, Choice
from ..model.booster import Unsuitable
from . import model as onedal_model


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
    _hold("" if onedal_model.routes_missing(daal4py) else "this daal4py cannot route missing values")
    forest = model_booster.forest(document, options)
    _hold(guard_size(forest, year(daal4py)))
    model, rows = onedal_model.OnedalModel(daal4py, forest), proof.proof_rows(forest)
    sample = rows[np.linspace(0, len(rows) - 1, SIZES[-1]).astype(int)]
    accelerator = Accelerator("daal4py", model, proof.Link(document), options, sample, compares=engine == "auto")
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
    daal4py.daalinit(1)
    return daal4py


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
