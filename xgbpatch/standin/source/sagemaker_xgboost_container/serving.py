"""The entry point `serve`, and the WSGI application of single-model endpoints: algorithm mode or the user's module.

`serve` itself starts servers and never predicts: XGBoost and what comes with it are imported in the workers alone.
"""

import importlib
import logging
import os

from sagemaker_algorithm_toolkit import exceptions as exc
from sagemaker_containers.beta.framework import encoders, env, transformer, worker

from sagemaker_xgboost_container import _behaviour
from sagemaker_xgboost_container.constants import sm_env_constants
from sagemaker_xgboost_container.serving_mms import start_mxnet_model_server

if _behaviour.TUNES_GUNICORN:
    from sagemaker_xgboost_container.sagemaker_containers_patch import server
else:
    from sagemaker_containers.beta.framework import server

if "gunicorn" in os.environ.get("SERVER_SOFTWARE", ""):
    import sagemaker_xgboost_container.algorithm_mode  # noqa: F401 - a worker, which loads its model at once

logger = logging.getLogger(__name__)

app = None


def is_multi_model():
    """The value of SAGEMAKER_MULTI_MODEL; any text at all, "false" included, means yes."""
    return os.environ.get("SAGEMAKER_MULTI_MODEL")


def set_default_serving_env_if_unspecified():
    """One OpenMP thread a process, since there is a process a CPU."""
    if _behaviour.SETS_ONE_THREAD:
        os.environ.setdefault("OMP_NUM_THREADS", sm_env_constants.ONE_THREAD_PER_PROCESS)


def default_model_fn(model_dir):
    """User code must say how its model loads."""
    return transformer.default_model_fn(model_dir)


def default_input_fn(input_data, content_type):
    """The body as a DMatrix; raises UnsupportedFormatError for other content types."""
    from sagemaker_xgboost_container import encoder as xgb_encoders

    return xgb_encoders.decode(input_data, content_type)


def default_predict_fn(input_data, model):
    """The model's predictions, whatever the features are called."""
    return model.predict(input_data, validate_features=False)


def default_output_fn(prediction, accept):
    """The predictions as CSV, JSON or NPY; raises UnsupportedFormatError for other types."""
    return worker.Response(encoders.encode(prediction, accept), mimetype=accept)


def _user_module_transformer(user_module):
    """The user's functions, with ours where they are missing; raises UserError for transform_fn beside others."""
    model_fn = getattr(user_module, "model_fn", default_model_fn)
    defaults = {"input_fn": default_input_fn, "predict_fn": default_predict_fn, "output_fn": default_output_fn}
    if not hasattr(user_module, "transform_fn"):
        functions = {name: getattr(user_module, name, default) for name, default in defaults.items()}
        return transformer.Transformer(model_fn=model_fn, **functions)
    beside = [name for name in defaults if hasattr(user_module, name)]
    if beside:
        raise exc.UserError("transform_fn takes the place of {}: define one or the other.".format(", ".join(beside)))
    return transformer.Transformer(model_fn=model_fn, transform_fn=user_module.transform_fn)


def _script_mode_app(module_name):
    user_transformer = _user_module_transformer(importlib.import_module(module_name))
    user_transformer.initialize()
    return worker.Worker(transform_fn=user_transformer.transform, module_name=module_name)


def main(environ, start_response):
    """The WSGI application, made at the first request of each worker."""
    global app
    if app is None:
        from sagemaker_xgboost_container.algorithm_mode import serve

        module_name = env.ServingEnv().module_name
        app = _script_mode_app(module_name) if module_name else serve.ScoringService.csdk_start()
    return app(environ, start_response)


def serving_entrypoint():
    """Start the model server and wait for its end."""
    set_default_serving_env_if_unspecified()
    if is_multi_model():
        start_mxnet_model_server()
    else:
        server.start(env.ServingEnv().framework_module)
