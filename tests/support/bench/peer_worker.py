"""What people serve instead of this project, imitated in a few lines: `peer_worker.py PEER` inside its own image.

nginx stands before gunicorn with gevent workers and Flask, as in SageMaker's samples and in Intel's container. The
parser and the text are the same for all peers, and leaner than theirs: what differs is how a peer comes to its answer.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np

MODEL = os.path.join(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"), "xgboost-model")
NGINX = """
daemon off;
worker_processes auto;
pid %(folder)s/nginx.pid;
events { worker_connections 1024; }
http {
  access_log /dev/null;
  client_max_body_size 100m;
  server {
    listen 8080;
    location / { proxy_pass http://unix:%(folder)s/server; proxy_read_timeout 60s; }
  }
}
"""


def loaded(file):
    """The model as xgboost reads it."""
    import xgboost

    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(file)
    return booster


def tree_explainer(file):
    """The model's predictions and the SHAP values of a `shap.TreeExplainer` that each request makes anew."""
    import shap
    import xgboost

    booster = loaded(file)

    def answer(rows):
        values = shap.TreeExplainer(booster).shap_values(rows)
        return np.column_stack((booster.predict(xgboost.DMatrix(rows, nthread=1)), values))

    return answer


def daal4py(file):
    """oneDAL's predictions by the package's own converter, which each request calls anew."""
    from daal4py.mb import convert_model

    booster = loaded(file)

    def answer(rows):
        model = convert_model(booster)
        return model.predict_proba(rows)[:, 1:] if hasattr(model, "predict_proba") else model.predict(rows)

    return answer


def onnxruntime(file):
    """onnxruntime's predictions; the model is converted once, at load. It has no SHAP values."""
    from onnxmltools import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType
    from onnxruntime import InferenceSession, SessionOptions

    booster = loaded(file)
    model = convert_xgboost(booster, initial_types=[("rows", FloatTensorType([None, booster.num_features()]))])
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    last = session.get_outputs()[-1].name  # of a classifier: its probabilities
    logistic = len(session.get_outputs()) > 1

    def answer(rows):
        numbers = session.run([last], {"rows": rows})[0]
        return numbers[:, 1:] if logistic else numbers

    return answer


PEERS = {"tree-explainer": tree_explainer, "daal4py": daal4py, "onnxruntime": onnxruntime}


def application(answer):
    """A WSGI application that has `answer` (float32 rows to a row of numbers each) speak CSV, as SageMaker asks."""
    import flask

    app = flask.Flask(__name__)

    @app.route("/ping")
    def ping():
        return "\n"

    @app.route("/invocations", methods=["POST"])
    def invocations():
        lines = flask.request.get_data().decode().split()
        rows = np.array([line.split(",") for line in lines], dtype=np.float32)
        numbers = np.asarray(answer(rows)).reshape(len(rows), -1)
        text = "\n".join(",".join(map(str, line)) for line in numbers.tolist())
        return flask.Response(text, mimetype="text/csv")

    return app


def of_environment():
    """What gunicorn imports."""
    return application(PEERS[os.environ["BENCH_PEER"]](MODEL))


def main(name):
    """Start nginx, then become gunicorn."""
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)
    with open(os.path.join(folder, "nginx.conf"), "w") as file:
        file.write(NGINX % {"folder": folder})
    subprocess.Popen(["nginx", "-c", file.name])
    os.environ["BENCH_PEER"] = name
    workers = os.environ.get("SAGEMAKER_MODEL_SERVER_WORKERS", "1")
    options = ["-k", "gevent", "-w", workers, "--timeout", "60", "-b", "unix:{}/server".format(folder)]
    here = ["--chdir", os.path.dirname(os.path.abspath(__file__)), "peer_worker:of_environment()"]
    os.execvp("gunicorn", ["gunicorn", *options, *here])


if __name__ == "__main__":
    main(sys.argv[1])
