"""The Flask application of algorithm mode: one model directory, three routes."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
from http import client

import flask
import gunicorn.app.base
from sagemaker_containers import _content_types
from sagemaker_containers.beta.framework import encoders

from sagemaker_xgboost_container.algorithm_mode import integration, serve_utils
from sagemaker_xgboost_container.constants import sm_env_constants

SAGEMAKER_BATCH = os.getenv(sm_env_constants.SAGEMAKER_BATCH)
SUPPORTED_ACCEPTS = ["application/json", "application/jsonlines", "application/x-recordio-protobuf", "text/csv"]
PARSED_MAX_CONTENT_LENGTH = int(os.getenv("MAX_CONTENT_LENGTH", str(6 * 1024**2)))

logging = integration.setup_main_logger(__name__)


def number_of_workers():
    """One worker a CPU."""
    return multiprocessing.cpu_count()


class GunicornApplication(gunicorn.app.base.BaseApplication):
    """Gunicorn around a WSGI application that exists already; not how `serve` starts it."""

    def __init__(self, app, options=None):
        self.application = app
        self.options = options or {}
        super().__init__()

    def load_config(self):
        """Take over the options that gunicorn knows."""
        for key, value in self.options.items():
            if key in self.cfg.settings and value is not None:
                self.cfg.set(key.lower(), value)

    def load(self):
        """The WSGI application."""
        return self.application


class ScoringService:
    """The models of this worker and what their configuration says."""

    PORT = os.getenv("SAGEMAKER_BIND_TO_PORT", "8080")
    MODEL_PATH = os.getenv(sm_env_constants.SM_MODEL_DIR)
    MAX_CONTENT_LENGTH = PARSED_MAX_CONTENT_LENGTH

    app = flask.Flask(__name__)
    booster = None
    format = None
    config_json = None
    objective = None

    @classmethod
    def load_model(cls, ensemble=True):
        """Load once; returns the format or formats."""
        if cls.booster is None:
            cls.booster, cls.format = serve_utils.get_loaded_booster(cls.MODEL_PATH, ensemble)
            cls.get_config_json()
        return cls.format

    @classmethod
    def predict(cls, data, content_type="text/x-libsvm", model_format="pkl_format"):
        """Predictions of the loaded models for a DMatrix."""
        return serve_utils.predict(cls.booster, model_format, data, content_type, cls.objective)

    @classmethod
    def get_config_json(cls):
        """The configuration of the first model; sets `objective` on the way."""
        if cls.config_json is None:
            booster = cls.booster[0] if isinstance(cls.booster, list) else cls.booster
            cls.config_json = json.loads(booster.save_config())
            cls.objective = cls.config_json["learner"]["objective"]["name"]
        return cls.config_json

    @staticmethod
    def post_worker_init(worker):
        """Gunicorn's hook: load in every worker."""
        load_model()

    @staticmethod
    def start():
        """Serve with gunicorn from this process."""
        signal.signal(signal.SIGTERM, lambda signum, frame: ScoringService.stop())
        options = {
            "bind": "0.0.0.0:{}".format(ScoringService.PORT),
            "workers": number_of_workers(),
            "worker_class": "gevent",
            "keepalive": 60,
            "post_worker_init": ScoringService.post_worker_init,
        }
        ScoringService.csdk_start()
        GunicornApplication(ScoringService.app, options).run()

    @staticmethod
    def stop():
        """End this process."""
        sys.exit(0)

    @staticmethod
    def csdk_start():
        """The application, with the limit on the body in force."""
        ScoringService.app.config["MAX_CONTENT_LENGTH"] = ScoringService.MAX_CONTENT_LENGTH
        return ScoringService.app


def load_model():
    """Load the models of this worker; returns their format."""
    return ScoringService.load_model(ensemble=serve_utils.is_ensemble_enabled())


@ScoringService.app.route("/ping", methods=["GET"])
def ping():
    """Healthy when the models load."""
    load_model()
    return flask.Response(status=client.OK)


@ScoringService.app.route("/execution-parameters", methods=["GET"])
def execution_parameters():
    """What batch transform may send."""
    parameters = {
        "MaxConcurrentTransforms": number_of_workers(),
        "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": int(PARSED_MAX_CONTENT_LENGTH / 1024**2),
    }
    return flask.Response(json.dumps(parameters), status=client.OK, mimetype="application/json")


def _parse_accept(request):
    """The accepted type without parameters, or the configured default; raises ValueError for an unsupported one."""
    accept = request.headers.get("accept", "").partition(";")[0].strip()
    if not accept or accept == _content_types.ANY:
        return os.getenv(sm_env_constants.SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT, "text/csv")
    if accept.lower() not in SUPPORTED_ACCEPTS:
        raise ValueError(
            "Accept type {} is not supported. Please use supported accept types: {}.".format(accept, SUPPORTED_ACCEPTS)
        )
    return accept.lower()


def _handle_selectable_inference_response(predictions, accept):
    try:
        learner = ScoringService.get_config_json()["learner"]
        keys = serve_utils.get_selected_output_keys()
        selected = serve_utils.get_selected_predictions(
            predictions, keys, learner["objective"]["name"], learner["learner_model_param"]["num_class"]
        )
        body = serve_utils.encode_selected_predictions(selected, keys, accept)
    except Exception as e:
        logging.exception(e)
        return flask.Response(str(e), status=client.INTERNAL_SERVER_ERROR)
    return flask.Response(body, status=client.OK, mimetype=accept)


class _Refused(Exception):
    """A request that ends with `status` and `message`."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def _refusing(status, message="{}"):
    """Whatever goes wrong in the block ends the request."""
    try:
        yield
    except Exception as e:
        logging.exception(e)
        raise _Refused(status, message.format(e)) from e


def _encoded(predictions, accept):
    if SAGEMAKER_BATCH:
        return "".join("{}\n".format(prediction) for prediction in predictions)
    if accept == "application/json":
        return serve_utils.encode_predictions_as_json(predictions)
    return encoders.encode(predictions, accept)


def _answer(payload):
    with _refusing(client.UNSUPPORTED_MEDIA_TYPE):
        dtest, content_type = serve_utils.parse_content_data(payload, flask.request.content_type)
    with _refusing(client.INTERNAL_SERVER_ERROR, "Unable to load model: {}"):
        model_format = load_model()
    with _refusing(client.BAD_REQUEST, "Unable to evaluate payload provided: {}"):
        predictions = ScoringService.predict(data=dtest, content_type=content_type, model_format=model_format)
    with _refusing(client.NOT_ACCEPTABLE):
        accept = _parse_accept(flask.request)
    if serve_utils.is_selectable_inference_output():
        return _handle_selectable_inference_response(predictions, accept)
    return flask.Response(_encoded(predictions.tolist(), accept), status=client.OK, mimetype=accept)


@ScoringService.app.route("/invocations", methods=["POST"])
def invocations():
    """Predict the body: parse, load, predict, accept, select or encode; each of the first four has its own status."""
    payload = flask.request.data
    if not payload:
        return flask.Response(status=client.NO_CONTENT)
    try:
        return _answer(payload)
    except _Refused as e:
        return flask.Response(str(e), status=e.status)
