"""Multi-model endpoints: the environment and the properties file of the model server."""

import logging
import multiprocessing
import os
import subprocess
from math import ceil

from retrying import retry
from sagemaker_containers.beta.framework import env, modules

from sagemaker_xgboost_container.mms_patch import model_server

logger = logging.getLogger(__name__)

ALGO_HANDLER_SERVICE = "sagemaker_xgboost_container.algorithm_mode.handler_service"  # imported in MMS's workers alone
USER_HANDLER_SERVICE = "sagemaker_xgboost_container.handler_service"

PORT = 8080
DEFAULT_MAX_CONTENT_LEN = 6 * 1024**2
MAX_CONTENT_LEN_LIMIT = 20 * 1024**2
MMS_NUM_MODEL_WORKERS_INIT = 1
MMS_MODEL_JOB_QUEUE_SIZE_DEFAULT = 100


def get_mms_config_file_path():
    """The properties file that the image names; beside it, with ".tmp" at the end, lies what it is made of."""
    return os.environ["XGBOOST_MMS_CONFIG"]


def _retry_if_error(exception):
    return isinstance(exception, (OSError, subprocess.CalledProcessError))


@retry(stop_max_delay=30 * 1000, retry_on_exception=_retry_if_error)
def _start_model_server(is_multi_model, handler):
    model_server.start_model_server(
        is_multi_model=is_multi_model, handler_service=handler, config_file=get_mms_config_file_path()
    )


def _is_multi_model_endpoint():
    return bool(os.environ.get("SAGEMAKER_MULTI_MODEL"))


def _set_default_if_not_exist(sagemaker_env_var_name, default_value):
    os.environ.setdefault(sagemaker_env_var_name, str(default_value))


def _set_mms_configs(is_multi_model, handler):
    """Set what the properties file refers to, unless the user has set it, and write that file."""
    max_content = min(int(os.getenv("MAX_CONTENT_LENGTH", DEFAULT_MAX_CONTENT_LEN)), MAX_CONTENT_LEN_LIMIT)
    cpus = multiprocessing.cpu_count()
    memory = "{}m".format(ceil((cpus + 2 * cpus) * (max_content / 1024**2) * 1.2) + 128)
    defaults = {
        "SAGEMAKER_BIND_TO_PORT": PORT,
        "SAGEMAKER_NUM_MODEL_WORKERS": MMS_NUM_MODEL_WORKERS_INIT,
        "SAGEMAKER_MODEL_JOB_QUEUE_SIZE": MMS_MODEL_JOB_QUEUE_SIZE_DEFAULT,
        "SAGEMAKER_MAX_REQUEST_SIZE": max_content,
        "SAGEMAKER_MMS_DEFAULT_HANDLER": handler,
        "SAGEMAKER_MMS_MODEL_STORE": "/" if is_multi_model else "/opt/ml/model",
        "SAGEMAKER_MMS_LOAD_MODELS": "" if is_multi_model else "ALL",
        "SAGEMAKER_MAX_HEAP_SIZE": memory,
        "SAGEMAKER_MAX_DIRECT_MEMORY_SIZE": memory,
    }
    for name, value in defaults.items():
        _set_default_if_not_exist(name, value)
    _write_properties(get_mms_config_file_path())


def _write_properties(path):
    template = path + ".tmp"
    if not os.path.exists(template):
        logger.warning("'%s' is missing: the model server starts with its own defaults.", template)
        return
    with open(template) as source, open(path, "w") as target:
        target.write("vmargs={}\n".format(" ".join(_java_options())) + source.read())


def _java_options():
    """Without -XX:+UseParNewGC, which images up to 3.0-5 add: the Java of a stand-in is newer than 8 and refuses it."""
    heap = os.environ["SAGEMAKER_MAX_HEAP_SIZE"]
    options = ["-Xms" + heap, "-Xmx" + heap]
    options.append("-XX:MaxDirectMemorySize=" + os.environ["SAGEMAKER_MAX_DIRECT_MEMORY_SIZE"])
    if os.environ.get("SAGEMAKER_DISABLE_CONTAINER_SUPPORT") == "true":
        options.append("-XX:-UseContainerSupport")
    return options


def start_mxnet_model_server():
    """Serve many models, in algorithm mode or with the user's module, until the model server ends."""
    is_multi_model = _is_multi_model_endpoint()
    serving_env = env.ServingEnv()
    handler = ALGO_HANDLER_SERVICE
    if serving_env.module_name:
        handler = USER_HANDLER_SERVICE
        modules.import_module(serving_env.module_dir, serving_env.module_name)
    _set_mms_configs(is_multi_model, handler)
    _start_model_server(is_multi_model, handler)
