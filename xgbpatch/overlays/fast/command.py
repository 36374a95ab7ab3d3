"""How `serve` starts the lean server: the base starts gunicorn as ever, with our worker class and our application."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from typing import Any, List

from sagemaker_containers.beta.framework import env
from sagemaker_xgboost_container import serving

PACKAGE = __name__.rpartition(".")[0]
OURS = PACKAGE.rpartition(".")[0] + ".serve:main"
APPLICATION, WORKER = PACKAGE + ".main:main", PACKAGE + ".worker.Worker"
USE_NGINX = "SAGEMAKER_USE_NGINX"  # the base's own switch: gunicorn listens where nginx would
PACKAGES = ("uvicorn", "httptools", "uvloop")

logger = logging.getLogger(__name__)


def install() -> None:
    """Let the base start our server, or say in the log why it starts its own."""
    reason = _reason()
    if reason:
        logger.warning("The feature fast steps aside, the base's own server answers: %s", reason)
        return
    module: Any = sys.modules[serving.server.start.__module__]  # 1.5-1 has a copy of its own
    module.subprocess = _Subprocess(module.subprocess)
    os.environ[USE_NGINX] = "false"


def _reason() -> str:
    serving_env = env.ServingEnv()
    if serving.is_multi_model():
        return "this is a multi-model endpoint"
    if serving_env.module_name is not None:
        return "a script of the user's serves"
    if serving_env.framework_module != OURS:
        return "SAGEMAKER_SERVING_MODULE is {}".format(serving_env.framework_module)
    if not serving_env.use_nginx:
        return "{} asks for gunicorn alone".format(USE_NGINX)
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except Exception as error:  # a compiled package may raise anything on another machine
            return "{} cannot be imported: {}".format(name, error)
    return ""


class _Subprocess(object):
    """The module `subprocess`, whose `Popen` starts gunicorn with our worker and application."""

    def __init__(self, subprocess: Any):
        self._subprocess = subprocess

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subprocess, name)

    def Popen(self, command: List[str], *arguments: Any, **named: Any) -> Any:
        """As subprocess.Popen."""
        return self._subprocess.Popen(_ours(command), *arguments, **named)


def _ours(command: List[str]) -> List[str]:
    if not command or command[0] != "gunicorn" or OURS not in command or "gevent" not in command:
        logger.warning("The feature fast does not know the command %s", command[:1])
        return command
    changed = [{OURS: APPLICATION, "gevent": WORKER}.get(argument, argument) for argument in command]
    # The model is loaded once, and the workers share its memory. OpenMP's threads do not outlive a fork.
    return changed[:1] + ["--preload"] * (os.environ.get("OMP_NUM_THREADS") == "1") + changed[1:]
