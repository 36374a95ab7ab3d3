"""`SAGEMAKER_SERVING_MODULE=xgbpatch_overlays.serve:main`: the base's WSGI application, hooked where asked for.

gunicorn imports this module in each worker and takes `main`. Importing the base loads the model at that moment, as it
does without us, so a bad model or a bad setting ends the worker before it answers anything.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Callable, Mapping

from sagemaker_containers.beta.framework import env
from sagemaker_xgboost_container import serving

from . import settings

logger = logging.getLogger(__name__)


def application(environment: Mapping[str, str]) -> Callable[..., Any]:
    """The base's own WSGI function; hooks are installed only where `environment` asks for a feature."""
    asked = settings.read(environment)
    if asked.active and env.ServingEnv().module_name is None:
        from . import single_model

        single_model.install(asked)
    elif asked.active:
        logger.warning("Script mode: your own functions predict; XGBPATCH_* settings change nothing")
    return serving.main


main = application(os.environ)
