"""`SAGEMAKER_SERVING_MODULE=xgbpatch_overlays.serve:main`: the base's WSGI application, hooked where asked for.

gunicorn imports this module in each worker and takes `main`. Importing the base loads the model at that moment, as it
does without us, so a bad model or a bad setting ends the worker before it answers anything.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Callable, Mapping

from sagemaker_containers.beta.framework import env

from . import fixes, settings
from .model import version_guard

logger = logging.getLogger(__name__)
SCRIPT_MODE = __name__.rpartition(".")[0] + ".script_mode"


def application(environment: Mapping[str, str]) -> Callable[..., Any]:
    """The base's own WSGI function; hooks are installed only where `environment` asks for a feature or a fix."""
    config = settings.read(environment)
    fixes.install(config.fixes, fixes.LOADING)
    if config.guarded:
        version_guard.check(environment.get("SM_MODEL_DIR", "/opt/ml/model"))
    from sagemaker_xgboost_container import serving  # this loads the model

    fixes.install(config.fixes, fixes.SERVING)
    if config.active and env.ServingEnv().module_name is None:
        from . import single_model

        single_model.install(config)
    elif config.predicts:
        logger.warning("Script mode: your own functions predict; %s gives them the same", SCRIPT_MODE)
    main: Callable[..., Any] = serving.main
    return main


main = application(os.environ)
