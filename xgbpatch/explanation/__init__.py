"""SHAP values on this machine, with the library that the feature `shap` has in an image.

    explanation = xgbpatch.explain("xgboost-model", rows)
    shap.plots.beeswarm(shap.Explanation(**explanation._asdict()))

Values are exact and path-dependent, in margin space: `Booster.predict(pred_contribs=True)` in double precision.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xgbpatch.errors import ExtraMissingError

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)


class Explanation(NamedTuple):
    """As the package `shap` has it: a row's `values` and its base value add up to its margin.

    `values` is float64 (n, features), `base_values` (n,); with several outputs (n, features, outputs) and (n, outputs).
    Of interactions, `values` is (n, features, features) or (n, features, features, outputs). `data` is float32
    (n, features), NaN where a value is missing.
    """

    values: np.ndarray
    base_values: np.ndarray
    data: np.ndarray
    feature_names: list[str] | None = None


class Explainer:
    """The trees of a model, ready to explain any number of rows.

    `model` is an `xgboost.Booster`, an estimator that holds one, or the path of a model file. `iteration_range` is that
    of `Booster.predict`: `(0, booster.best_iteration + 1)` leaves out what came after the best round. `threads` is how
    many share the rows of a call, by default all CPUs that this process has, or OMP_NUM_THREADS. `reason` is empty, or
    says why xgboost computes the values itself: the model is linear, its leaves are vectors, or there is no library for
    this machine. Raises `ExtraMissingError` without xgboost, and what that raises for a file.
    """

    def __init__(self, model: Any, *, iteration_range: tuple[int, int] = (0, 0), threads: int | None = None) -> None:
        try:
            import numpy
            import xgboost
        except ImportError as error:
            raise ExtraMissingError("xgbpatch.explain", "explain") from error
        from xgbpatch.overlays.model import booster
        from xgbpatch.overlays.model.booster import Unsuitable
        from xgbpatch.overlays.native.engine import NativeForest, spare_threads
        from xgbpatch.overlays.shap.values import cpus

        self._numpy, self._xgboost = numpy, xgboost
        if isinstance(model, (str, Path)):
            model = xgboost.Booster(model_file=os.fspath(model))
        self.booster = model.get_booster() if hasattr(model, "get_booster") else model
        self._options = {"iteration_range": iteration_range}
        self.features = booster.width(self.booster)
        self.reason = ""
        try:
            forest = booster.forest(booster.document(self.booster, arrays=True), self._options)
            self._forest = NativeForest(forest, threads or spare_threads(os.environ, 1, cpus()))
            self.reason = self._forest.unexplained or self._differs()
        except Unsuitable as unsuitable:
            self.reason = str(unsuitable)
        if self.reason:
            logger.info("xgboost computes the SHAP values itself: %s", self.reason)

    def _differs(self) -> str:
        """Why the trees are not understood as this xgboost, which may be newer than us, understands them; or empty."""
        random = self._numpy.random.RandomState(0)
        rows = random.standard_normal((64, self.features)).astype(self._numpy.float32)
        rows[random.rand(*rows.shape) < 0.2] = self._numpy.nan
        theirs = self.booster.predict(
            self._xgboost.DMatrix(rows), output_margin=True, validate_features=False, **self._options
        )
        bound = 1e-5 * max(1, self._numpy.abs(theirs).max())
        same = self._numpy.allclose(self._forest.margins(rows).reshape(theirs.shape), theirs, rtol=0, atol=bound)
        return "" if same else f"it predicts otherwise than xgboost {self._xgboost.__version__}"

    def __call__(self, rows: Any) -> Explanation:
        """The SHAP values of `rows`: an array (n, features), a DataFrame of numbers, a sparse matrix or a DMatrix.

        Absent cells of a sparse matrix are missing; the base margins of a DMatrix are in the base values. Raises
        ValueError for another width, and for a column of categories.
        """
        data, base = self._dense(rows)
        values = self._outputs(
            self._forest.contributions(data, base) if not self.reason else self._own(data, base, False)
        )
        return self._explanation(values[..., :-1, :], values[..., -1, :], data, rows)

    def interactions(self, rows: Any) -> Explanation:
        """The same for pairs of features: the values of a row of a matrix add up to the SHAP value of its feature."""
        data, base = self._dense(rows)
        values = self._outputs(
            self._forest.interactions(data, base) if not self.reason else self._own(data, base, True), 2
        )
        return self._explanation(values[..., :-1, :-1, :], values[..., -1, -1, :], data, rows)

    def _outputs(self, values: np.ndarray, axes: int = 1) -> np.ndarray:
        """`shap` has the outputs last."""
        return self._numpy.moveaxis(values, 1, -1) if values.ndim == 2 + axes else values[..., None]

    def _explanation(self, values: np.ndarray, base_values: np.ndarray, data: np.ndarray, rows: Any) -> Explanation:
        if values.shape[-1] == 1:
            values, base_values = values[..., 0], base_values[..., 0]
        names = list(map(str, rows.columns)) if hasattr(rows, "columns") else self.booster.feature_names
        return Explanation(values, base_values, data, names)

    def _own(self, data: np.ndarray, base: np.ndarray | None, interactions: bool) -> np.ndarray:
        kind = "pred_interactions" if interactions else "pred_contribs"
        matrix = self._xgboost.DMatrix(data, base_margin=base)
        values = self.booster.predict(matrix, validate_features=False, **{kind: True}, **self._options)
        double: np.ndarray = values.astype(self._numpy.float64)
        return double

    def _dense(self, rows: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """float32 (n, features) of an array, a DataFrame of numbers, a sparse matrix or a DMatrix, whose absent cells
        are missing; and the base margins of a DMatrix.

        Raises ValueError for another width, and for a column of categories, of which xgboost takes the codes.
        """
        from xgbpatch.overlays.request_data import dense

        base = None
        if isinstance(rows, self._xgboost.DMatrix):
            base = rows.get_base_margin() if rows.get_base_margin().size else None
            rows = rows.get_data()
        for name, dtype in getattr(rows, "dtypes", {}).items() if hasattr(rows, "columns") else ():
            if str(dtype) == "category":
                raise ValueError(
                    f'the column "{name}" has categories: hand over their codes, as xgboost was given them'
                )
        rows = rows.tocsr() if hasattr(rows, "tocsr") else self._numpy.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != self.features:
            raise ValueError(f"rows have the shape {rows.shape}, the model has {self.features} features")
        return dense(rows, self.features), base


def explain(
    model: Any, rows: Any, *, iteration_range: tuple[int, int] = (0, 0), threads: int | None = None
) -> Explanation:
    """The SHAP values of `rows`, as `Explainer` takes model and rows; that keeps the model for further calls."""
    return Explainer(model, iteration_range=iteration_range, threads=threads)(rows)
