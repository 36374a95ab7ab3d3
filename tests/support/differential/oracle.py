"""Runs inside a base, on its Python, with nothing of the product's: what a request's contributions must be.

`python oracle.py FOLDER PORT [NAME ...]` writes the models of zoo.py there, and answers POST /<model> (a request's body
and Content-Type) with JSON `{"values", "margins"}`, float lists (n, classes, features + 1) and (n, classes): the base's
own parser reads the body, the base's own xgboost explains the matrix, cut where the base cuts the prediction; of an
ensemble the means. Or `{"misread": true}`, where no explanation may be given. 422 where one of them refuses.
"""

import http.server
import json
import os
import sys

import numpy as np
import scipy.sparse
import xgboost
import zoo
from sagemaker_xgboost_container import encoder
from sagemaker_xgboost_container.algorithm_mode import serve_utils

XGBOOST = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
LIMIT = XGBOOST < (2, 0)


class Recorder:
    """xgboost for the base's parsers; `seen` is what the last matrix was made of."""

    seen = None

    def __getattr__(self, name):
        return getattr(xgboost, name)

    def DMatrix(self, data, *arguments, **named):
        self.seen = data
        return xgboost.DMatrix(data, *arguments, **named)


recorder = Recorder()
for module in (encoder, serve_utils):
    if getattr(module, "xgb", None) is xgboost:
        module.xgb = recorder


def padded(data, width):
    """`data` with absent trailing columns missing, as the prediction takes them."""
    if scipy.sparse.issparse(data):
        wide = data.tocsr(copy=True)
        wide.resize((data.shape[0], max(width, data.shape[1])))
        return wide
    data = np.asarray(data, dtype=np.float32)
    absent = np.full((len(data), max(0, width - data.shape[1])), np.nan, dtype=np.float32)
    return np.hstack([data, absent])


def width(booster):
    if hasattr(booster, "num_features"):
        return booster.num_features()
    return int(json.loads(booster.save_config())["learner"]["learner_model_param"]["num_feature"])


def misread(booster, data):
    """Whether nothing tells which cells of `data` are absent, or this xgboost does not take them for missing."""
    rows, columns = data.shape
    dense = not scipy.sparse.issparse(data)
    return columns < width(booster) and (dense or (XGBOOST >= (3, 1) and rows > 1 and data.nnz == rows * columns))


def explain(booster, data):
    """(values, margins) of one booster."""
    cut = {"ntree_limit": getattr(booster, "best_ntree_limit", 0)} if LIMIT else {}
    matrix = xgboost.DMatrix(padded(data, width(booster)))
    options = dict(cut, validate_features=False)
    values = booster.predict(matrix, pred_contribs=True, **options)
    margins = booster.predict(matrix, output_margin=True, **options)
    shape = (values.shape[0], -1, values.shape[-1])
    return values.reshape(shape).astype(float), margins.reshape(len(values), -1).astype(float)


class Oracle(http.server.BaseHTTPRequestHandler):
    """Answers one question at a time."""

    folder = ""
    models = {}  # noqa: RUF012

    def do_GET(self):
        self.say(200, {"xgboost": xgboost.__version__})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.say(200, self.answer(self.path.strip("/"), body))
        except Exception as error:
            self.say(422, {"error": repr(error)})

    def answer(self, name, body):
        if name not in self.models:
            self.models[name] = serve_utils.get_loaded_booster(os.path.join(self.folder, name), True)[0]
        serve_utils.parse_content_data(body, self.headers.get("Content-Type"))
        model = self.models[name]
        boosters = model if isinstance(model, list) else [model]
        if any(misread(booster, recorder.seen) for booster in boosters):
            return {"misread": True}
        explanations = [explain(booster, recorder.seen) for booster in boosters]
        values, margins = (np.mean(part, axis=0) for part in zip(*explanations))  # noqa: B905 (Python 3.7)
        return {"values": values.tolist(), "margins": margins.tolist()}

    def say(self, status, document):
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    Oracle.folder = sys.argv[1]
    failed = zoo.main([sys.argv[1], *sys.argv[3:]])
    if failed:
        sys.exit(failed)
    http.server.HTTPServer(("0.0.0.0", int(sys.argv[2])), Oracle).serve_forever()
