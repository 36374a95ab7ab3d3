"""pickle-refused: xgboost alone reads model files. None is unpickled, because unpickling runs what the file says."""

from __future__ import annotations

import functools
import pickle
import re
from typing import Any

from ..model import files
from . import _after_import, _loading

IMPORT = re.compile(r"^\s*(?:import|from) +(?:pickle|cPickle|dill|joblib|cloudpickle)\b", re.M)


class PickleRefused(BaseException):
    """Not an Exception: the base would catch it and offer the pickle to xgboost."""


def not_needed() -> str:
    """Whether the base's source has nothing to unpickle with; it is not imported, since that loads the model."""
    return "" if IMPORT.search(_loading.source()) else "the base does not unpickle models"


def install() -> None:
    """Take pickle from the module that loads models, as soon as it is imported."""
    _after_import.run(_loading.MODULE, _guard)
    _loading.refuse_when_loaded()


def _guard(serve_utils: Any) -> None:
    names = [name for name, value in vars(serve_utils).items() if value is pickle]
    if not names:
        raise RuntimeError(
            'the fix pickle-refused finds no pickle in "{}": it cannot vouch for it'.format(_loading.MODULE)
        )
    for name in names:
        setattr(serve_utils, name, _NoPickle())
    load = serve_utils.get_loaded_booster

    @functools.wraps(load)
    def get_loaded_booster(*arguments: Any, **named: Any) -> Any:
        try:
            return load(*arguments, **named)
        except PickleRefused as refused:
            raise files.ModelRefused(
                'the model file "{}" is a pickle, and this image loads xgboost\'s own formats only (pickle-refused). '
                "Where you trust it, convert it with `xgbpatch convert-model IN OUT --unpickle`, or, with the xgboost "
                'that made it, by pickle.load(file).save_model("model.json")'.format(refused)
            ) from None

    serve_utils.get_loaded_booster = get_loaded_booster


class _NoPickle(object):
    """In the place of the module `pickle`; what it cannot do, it refuses."""

    def load(self, file: Any, **_: Any) -> None:
        """Raises PickleRefused for what looks like a pickle; for all else the error that sends the base to xgboost."""
        head = file.read(256)
        if files.PICKLE_START.match(head):
            raise PickleRefused(file.name)
        raise pickle.UnpicklingError("not a pickle, and pickles are refused here")
