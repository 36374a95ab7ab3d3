"""Real explanations of abalone: xgboost's own contributions, in the layouts that our image writes."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "abalone" / "data"
NAMES = ("sex", "length", "diameter", "height", "whole weight", "shucked weight", "viscera weight", "shell weight")
SEEN = {"reg:squarederror": lambda rings: rings, "binary:logistic": lambda rings: rings > 10,
        "count:poisson": lambda rings: rings, "multi:softprob": lambda rings: np.digitize(rings, [8, 11]),
        "multi:softmax": lambda rings: np.digitize(rings, [8, 11])}  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """Predictions (n, p), base (n, outputs), SHAP values (n, outputs, features), features and labels, float32."""

    predictions: np.ndarray
    base: np.ndarray
    values: np.ndarray
    data: np.ndarray
    labels: np.ndarray

    def lines(self, header: bool = False, joined: bool = False, names=NAMES) -> list[str]:
        """The layout append, as CSV."""
        vectors = np.concatenate([self.base[:, :, None], self.values], axis=2).reshape(len(self.data), -1)
        parts = [*([self.data] if joined else []), self.predictions, vectors]
        lines = [",".join(str(cell.item()) for cell in row) for row in np.concatenate(parts, axis=1)]
        return [",".join(["prediction", "base_value", *names]), *lines] if header else lines

    def records(self) -> list[dict[str, object]]:
        """The same for JSON: numbers of one output, lists of several."""
        one = self.base.shape[1] == 1
        rows = zip(self.predictions.tolist(), self.base.tolist(), self.values.tolist(), strict=True)
        return [
            {"score": p[0] if len(p) == 1 else p, "base_value": b[0] if one else b, "shap_values": v[0] if one else v}
            for p, b, v in rows
        ]

    def inputs(self) -> list[str]:
        """The features as CSV."""
        return [",".join(str(cell.item()) for cell in row) for row in self.data]


@cache
def abalone(name: str) -> np.ndarray:
    """Rings, then the features, of a file of the example."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    table = np.array([[word.split(":")[-1] for word in line.split()] for line in lines], np.float32)
    table.setflags(write=False)
    return table


@cache
def explain(objective: str = "reg:squarederror", rows: int = 60) -> Explained:
    """The first rows of the validation data, explained by a small model."""
    import xgboost  # a second and a half, which no worker needs that runs other files

    train, rest = abalone("train_0.libsvm"), abalone("validation.libsvm")[:rows]
    labels = SEEN[objective]
    more = {"num_class": 3} if objective.startswith("multi") else {}
    parameters = {"objective": objective, "max_depth": 3, "nthread": 1, **more}
    booster = xgboost.train(parameters, xgboost.DMatrix(train[:, 1:], labels(train[:, 0])), 8)
    matrix = xgboost.DMatrix(rest[:, 1:])
    contributions = booster.predict(matrix, pred_contribs=True).reshape(len(rest), -1, rest.shape[1])
    predictions = booster.predict(matrix).reshape(len(rest), -1)
    base, values = contributions[:, :, -1], contributions[:, :, :-1]
    return Explained(predictions, base, values, rest[:, 1:], np.asarray(labels(rest[:, 0]), np.float32))


def capture(inputs: list[str], output: str, accept: str = "text/csv", encoding: str = "CSV") -> str:
    """A line of data capture: one request with its answer."""
    text = base64.b64encode(output.encode()).decode() if encoding == "BASE64" else output
    return json.dumps({
        "captureData": {
            "endpointInput": {"observedContentType": "text/csv", "mode": "INPUT", "encoding": "CSV",
                              "data": "\n".join(inputs)},
            "endpointOutput": {"observedContentType": accept, "mode": "OUTPUT", "data": text, "encoding": encoding},
        },
        "eventMetadata": {"eventId": "1", "inferenceTime": "2026-11-29T12:00:00Z"},
        "eventVersion": "0",
    })  # fmt: skip
