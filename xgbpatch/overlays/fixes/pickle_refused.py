"""pickle-refused: xgboost alone reads model files. None is unpickled, because unpickling runs what the file says."""

from __future__ import annotations

import functools
import importlib.util
import os
import pickle
import re
from typing import Any

from . import _after_import

PACKAGE = "sagemaker_xgboost_container"
MODULE = PACKAGE + ".algorithm_mode.serve_utils"
PICKLE = re.compile(rb"\x80[\x02-\x05]|[c(]\w+\.?\w*\n")  # how protocols 2 to 5 begin, and what protocol 0 begins with
IMPORT = re.compile(r"^\s*(?:import|from) +(?:pickle|cPickle|dill|joblib|cloudpickle)\b", re.M)


class PickleRefused(BaseException):
    """Not an Exception: the base would catch it and offer the pickle to xgboost."""


def not_needed() -> str:
    """Whether the base's source has nothing to unpickle with; it is not imported, since that loads the model."""
    spec: Any = importlib.util.find_spec(PACKAGE)
    (folder,) = spec.submodule_search_locations
    with open(os.path.join(folder, "algorithm_mode", "serve_utils.py"), encoding="utf-8") as source:
        return "" if IMPORT.search(source.read()) else "the base does not unpickle models"


def install() -> None:
    """Take pickle from the module that loads models, as soon as it is imported."""
    _after_import.run(MODULE, _guard)


def _guard(serve_utils: Any) -> None:
    names = [name for name, value in vars(serve_utils).items() if value is pickle]
    if not names:
        raise RuntimeError('the fix pickle-refused finds no pickle in "{}": it cannot vouch for it'.format(MODULE))
    for name in names:
        setattr(serve_utils, name, _NoPickle())
    load = serve_utils.get_loaded_booster

    @functools.wraps(load)
    def get_loaded_booster(*arguments: Any, **named: Any) -> Any:
        try:
            return load(*arguments, **named)
        except PickleRefused as refused:
            raise RuntimeError(
                'the model file "{}" is a pickle, and this image loads xgboost\'s own formats only (pickle-refused). '
                "Where you trust the file, write it anew with the xgboost that made it: "
                "pickle.load(file).save_model(path)".format(refused)
            ) from None

    serve_utils.get_loaded_booster = get_loaded_booster


class _NoPickle(object):
    """In the place of the module `pickle`; what it cannot do, it refuses."""

    def load(self, file: Any, **_: Any) -> None:
        """Raises PickleRefused for what looks like a pickle; for all else the error that sends the base to xgboost."""
        head = file.read(256)
        if PICKLE.match(head):
            raise PickleRefused(file.name)
        raise pickle.UnpicklingError("not a pickle, and pickles are refused here")
