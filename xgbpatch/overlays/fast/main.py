"""The application that gunicorn imports, once before the workers are forked, or in each of them.

It loads the model as the base does, so that a bad model or a bad setting ends the server before it answers anything.
"""

from __future__ import annotations

import logging
import os
from typing import Mapping, Optional

from .. import serve, settings
from ..model.booster import Unsuitable
from . import short
from .application import Application

logger = logging.getLogger(__name__)


def application(environment: Mapping[str, str]) -> Application:
    """The base's application, with the short way where its answers were proved to be the base's."""
    way: Optional[short.ShortWay] = None
    try:
        way = short.proved(serve.main, settings.read(environment))
    except Unsuitable as reason:
        logger.warning("The feature fast: every request goes the base's way: %s", reason)
    except Exception as error:
        logger.exception("The feature fast: every request goes the base's way: %s", error)
    return Application(serve.main, way)


main = application(os.environ)
