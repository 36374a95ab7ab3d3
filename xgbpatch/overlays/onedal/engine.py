"""oneDAL in the place of a booster, where it was proved to answer the same."""

from __future__ import annotations

import logging
import os
import resource
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Mapping, Optional, Tuple

import numpy as np
import xgboost

from .. import request_data
from ..model import booster as model_booster
from ..model.choice import Choice, Unsuitable
from . import memory, proof
from . import model as onedal_model


def peak() -> int:
    """The most bytes it has held so far; a step that raises nothing fits in what was there before."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


SIZES = (1, 16, 128)  # rows at which `auto` compares the engines
ROUNDS = 5


@dataclass(frozen=True)
class Accelerator:
    """A oneDAL model, proved with `options`; `sample`: some rows of the proof.

    `compares`: it serves only where it is the faster; requests of fewer than `least` rows stay away.
    """

    model: Any
    link: proof.Link
    options: Any
    sample: np.ndarray
    compares: bool = False
    least: int = 1

    def evaluate(self, rows: np.ndarray, dmatrix: xgboost.DMatrix) -> Tuple[np.ndarray, np.ndarray]:
        """(margins, predictions) of float32 `rows`, which `dmatrix` holds too."""
        margins = self.model.margins(rows)
        return margins, self.link.predictions(margins, dmatrix)

    def answer(self, dmatrix: xgboost.DMatrix, options: Mapping[str, Any]) -> Optional[np.ndarray]:
        """The booster's prediction of a request, or None where a guard sends the request to the booster."""
        if dmatrix.num_row() < self.least:
            return None
        rows = self.rows(dmatrix, options)
        return None if rows is None else self.evaluate(rows, dmatrix)[1]

    def rows(self, dmatrix: xgboost.DMatrix, options: Mapping[str, Any]) -> Optional[np.ndarray]:
        """The request's float32 (n, features), or None where a guard sends the request to the booster."""
        recorded = request_data.recorded(dmatrix)
        if options != self.options or proof.guard_data(recorded, self.model.features) or proof.guard_margin(dmatrix):
            return None
        rows = request_data.dense(recorded, self.model.features)
        return None if proof.guard_rows(rows) else rows


def accelerate(booster: xgboost.Booster, options: Mapping[str, Any], engine: str) -> Choice:
    """The Choice of oneDAL, where `engine` is "daal4py" or "auto"; raises Unsuitable, or what goes wrong on the way."""
    _hold(proof.guard_machine())
    daal4py = load()
    start, peak_before = time.perf_counter(), peak()
    document = model_booster.document(booster, lambda size: _hold(memory.guard(size, os.environ)))
    _hold(proof.guard_model(document))
    _hold("" if onedal_model.routes_missing(daal4py) else "this daal4py cannot route missing values")
    forest = model_booster.forest(document, options)
    _hold(proof.guard_size(forest, year(daal4py)))
    model, rows = onedal_model.OnedalModel(daal4py, forest), proof.proof_rows(forest)
    sample = rows[np.linspace(0, len(rows) - 1, SIZES[-1]).astype(int)]
    accelerator = Accelerator(model, proof.Link(document), options, sample, compares=engine == "auto")
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
    """Seconds of the quickest run, each on a matrix of its own: xgboost remembers what it predicted for one."""
    seconds = []
    for _ in range(ROUNDS):
        matrix = request_data.RecordedDMatrix(rows)
        start = time.perf_counter()
        predict(matrix)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _hold(reason: str) -> None:
    if reason:
        raise Unsuitable(reason)
