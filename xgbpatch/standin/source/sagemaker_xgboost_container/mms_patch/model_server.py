"""Starts the Java model server; everything but the command line is the inference toolkit's."""

import os
import signal
import subprocess

from sagemaker_inference import default_handler_service, logging
from sagemaker_inference.model_server import (
    DEFAULT_MMS_LOG_FILE,
    DEFAULT_MMS_MODEL_DIRECTORY,
    MMS_CONFIG_FILE,
    MMS_NAMESPACE,
    REQUIREMENTS_PATH,
    _adapt_to_mms_format,
    _add_sigterm_handler,
    _create_model_server_config_file,
    _install_requirements,
    _retrieve_mms_server_process,
    _set_python_path,
)

__all__ = ["DEFAULT_HANDLER_SERVICE", "MMS_NAMESPACE", "start_model_server"]

logger = logging.get_logger()

DEFAULT_HANDLER_SERVICE = default_handler_service.__name__


def start_model_server(is_multi_model=False, handler_service=DEFAULT_HANDLER_SERVICE, config_file=None):
    """Serve until the model server ends; its models come over HTTP, or are the one model directory when not multi."""
    if is_multi_model:
        _set_python_path()
    else:
        _adapt_to_mms_format(handler_service)
    if config_file is None or not os.path.exists(config_file):
        _create_model_server_config_file()
        config_file = MMS_CONFIG_FILE
    if os.path.exists(REQUIREMENTS_PATH):
        _install_requirements()
    # Waits for the launcher, unlike the base: the toolkit cannot find Java's process beside a dead launcher that nobody
    # has waited for, so a start on a busy machine ends ten seconds later, having answered /ping.
    subprocess.run(_command(is_multi_model, config_file), check=False)
    process = _retrieve_mms_server_process()
    _add_sigterm_handler(process)
    _add_sigchild_handler()
    process.wait()


def _reap_children(signo, frame):
    try:
        while os.waitpid(-1, os.WNOHANG)[0] > 0:
            pass
    except ChildProcessError:
        pass


def _add_sigchild_handler():
    signal.signal(signal.SIGCHLD, _reap_children)


def _command(is_multi_model, config_file):
    command = ["mxnet-model-server", "--start", "--mms-config", config_file, "--log-config", DEFAULT_MMS_LOG_FILE]
    if not is_multi_model:
        command += ["--model-store", DEFAULT_MMS_MODEL_DIRECTORY]
    logger.info(command)
    return command
