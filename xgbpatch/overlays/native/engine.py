"""The native library in the place of a booster: it predicts where it was proved to answer the same, and explains."""

from __future__ import annotations

import logging
import os
import time
from typing import Any, Mapping, Optional

import numpy as np
import xgboost

from ..model import accelerator as proof
from ..model import booster as model_booster
from ..model.accelerator import Accelerator
from ..model.choice import Choice, Unsuitable
from ..shap.values import cpus
from .forest import NativeForest, spare_threads

logger = logging.getLogger(__name__)
NAME = "native"
SAMPLE = 128  # rows of a proof that are kept for another
TIMES = 10  # measured: at the peak an old xgboost's writer, arrays and forest hold up to 9 times the serialised model


class NativeModel(object):
    """A model's trees in the library, as an Accelerator has them. `unexplained` is why it has no contributions."""

    wavers = False

    def __init__(self, forest: model_booster.Forest):
        threads = spare_threads(os.environ, proof.workers(os.environ), cpus())
        self._forest = NativeForest(forest, threads=threads)
        self.features = self._forest.features
        self.unexplained = self._forest.unexplained

    def margins(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n,) or (n, outputs) of float32 `rows` (n, features)."""
        return self._without_axis(self._forest.margins(rows))

    def explain(self, rows: np.ndarray, interactions: bool) -> np.ndarray:
        """Contributions, float32 (n, [outputs,] features + 1), or with `interactions` one more such axis; bias last."""
        explain = self._forest.interactions if interactions else self._forest.contributions
        return self._without_axis(explain(rows).astype(np.float32))

    def _without_axis(self, array: np.ndarray) -> np.ndarray:
        return array[:, 0] if self._forest.outputs == 1 else array


def accelerate(booster: xgboost.Booster, options: Mapping[str, Any]) -> Choice:
    """The Choice of the native library; raises Unsuitable, or what goes wrong on the way."""
    start = time.perf_counter()
    document, model, rows = _converted(booster, options)
    if document["learner"]["objective"]["name"] not in proof.KNOWN:
        raise Unsuitable('the objective "{}" is not known'.format(document["learner"]["objective"]["name"]))
    accelerator = Accelerator(NAME, model, proof.Link(document), options, _sample(rows))
    built = time.perf_counter()
    reason = proof.prove(booster, options, accelerator.evaluate, rows)
    if reason:
        raise Unsuitable(reason)
    reason = "converted in {:.2f} s, proved equal on {} rows in {:.2f} s".format(
        built - start, len(rows), time.perf_counter() - built
    )
    return Choice(accelerator.answer, NAME, reason, accelerator)


def explaining(booster: xgboost.Booster, options: Mapping[str, Any]) -> Optional[Accelerator]:
    """An Accelerator that only explains, where its margins are the booster's, bit for bit; else None.

    The log says why. Its contributions are still to be proved.
    """
    try:
        _, model, rows = _converted(booster, options)
        theirs = booster.predict(xgboost.DMatrix(rows), output_margin=True, **options)
        ours = model.margins(rows)
        if ours.shape != theirs.shape or ours.tobytes() != theirs.tobytes():
            raise Unsuitable("its margins differ from the booster's")
    except Unsuitable as reason:
        logger.info("SHAP values stay with the booster: %s", reason)
        return None
    except Exception:  # an engine never stands in the way of the booster
        logger.exception("The native library could not be used")
        return None
    return Accelerator(NAME, model, None, options, _sample(rows))


def _converted(booster: xgboost.Booster, options: Mapping[str, Any]) -> Any:
    """(document, NativeModel, rows of a proof); raises Unsuitable."""

    def guard(size: int) -> None:
        reason = proof.guard_memory(size, os.environ, TIMES)
        if reason:
            raise Unsuitable(reason)

    document = model_booster.document(booster, guard, arrays=True)
    forest = model_booster.forest(document, options)
    return document, NativeModel(forest), proof.proof_rows(forest)


def _sample(rows: np.ndarray) -> np.ndarray:
    sample: np.ndarray = rows[np.linspace(0, len(rows) - 1, SAMPLE).astype(int)]
    return sample
