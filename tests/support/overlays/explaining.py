"""Explanations without HTTP: models in a folder, the base's own loading, parsing and predicting, and our Predictor."""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xgboost
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from xgbpatch_overlays import predictor as prediction
from xgbpatch_overlays import request_data, settings
from xgbpatch_overlays.settings import ShapOptions

from support.overlays import zoo

EVERYTHING = "shap,shap-probability,daal4py"
QUIET = {"XGBPATCH_FEATURES": EVERYTHING}
ONEDAL = dict(QUIET, XGBPATCH_ENGINE="daal4py")


@dataclass(frozen=True)
class Served:
    """A loaded model (one booster, or a list), the Predictor that it was prepared for, and its folder."""

    predictor: Any
    model: Any
    form: Any
    folder: Any

    @property
    def boosters(self):
        return self.model if isinstance(self.model, list) else [self.model]

    @property
    def member(self):
        return self.predictor.model(self.boosters[0], self.form)

    def explain(self, x, options=None):
        """(prediction, Explanation) of rows `x`, or of a request's matrix."""
        matrix = request_data.RecordedDMatrix(x) if isinstance(x, np.ndarray) else x
        with prediction.captured() as predictions:
            predicted = self.predictor.predict(self.model, self.form, matrix, "text/csv")
        return predicted, self.predictor.explain(predictions[-1], options or ShapOptions())

    def predict(self, x):
        """The prediction alone."""
        return self.predictor.predict(self.model, self.form, request_data.RecordedDMatrix(x), "text/csv")

    def margins(self, x):
        """The boosters' mean margin, with the base's own options; `x` has the model's width."""
        matrix = request_data.RecordedDMatrix(x)
        with prediction.captured() as predictions:
            self.predictor.predict(self.model, self.form, matrix, "text/csv")
        margins = [
            booster.predict(xgboost.DMatrix(x), output_margin=True, **options)
            for booster, options in predictions[-1].calls
        ]
        return np.mean(margins, axis=0)


def serve(folder, *names, **environment):
    """The models of those zoo names, or already in `folder`, loaded as the base does it."""
    for number, name in enumerate(names):
        specimen = replace(zoo.SPECIMENS[name], parameters=dict(zoo.SPECIMENS[name].parameters, seed=7 + number))
        zoo.save(specimen, folder, f"xgboost-model-{number}")
    config = settings.read(environment or QUIET)
    predictor = prediction.Predictor(config, getattr(serve_utils.predict, "__func__", serve_utils.predict))
    load = prediction._preparing(serve_utils.get_loaded_booster, predictor)
    model, form = load(str(folder), len(names) > 1)
    return Served(predictor, model, form, folder)


def beside(folder, name):
    """The path of a file of the folder `xgbpatch` beside the model."""
    os.makedirs(str(folder / "xgbpatch"), exist_ok=True)
    return str(folder / "xgbpatch" / name)


def parsed(body, content_type):
    """The request's matrix, by the base's parsers, with our recording one under them."""
    request_data.record(encoder, serve_utils)
    return serve_utils.parse_content_data(body, content_type)[0]
