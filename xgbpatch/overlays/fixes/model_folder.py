"""model-files, model-missing and pickle-refused: what is loaded of a model folder, and what is said where it fails."""

from __future__ import annotations

import functools
import logging
import os
import pickle
import re
from typing import Any, Callable, List

import xgboost

from .. import settings
from ..model import files
from . import _loading

logger = logging.getLogger(__name__)

# model-files: the models are loaded, and the other files that lie beside them are passed over.


LOOKS = re.compile(r"endswith|splitext|suffix|fnmatch|\bre\.|\bglob")  # at more of a name than a dot before it


def model_files_not_needed() -> str:
    """Whether the base's source has a look at the names of the files that it lists."""
    source = _loading.source()
    start = source.find("listdir(")
    if start < 0:
        return "the base lists the model folder in a way that this fix does not know"
    (listing, *_) = source[start:].split("\ndef ", 1)
    return "the base tells models from other files by itself" if LOOKS.search(listing) else ""


def install_model_files() -> None:
    """Let the base see a model folder without what is no model."""
    _loading.when_imported(_loading.MODULE, _hide)
    _loading.refuse_when_loaded()


def _hide(serve_utils: Any) -> None:
    if serve_utils.os is not os:
        raise RuntimeError('the fix model-files does not find "os" in "{}"'.format(_loading.MODULE))
    serve_utils.os = _Models(os)


class _Models(object):
    """The module `os`, whose `listdir` names the models of a folder."""

    def __init__(self, module: Any):
        self._os = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._os, name)

    def listdir(self, folder: str) -> List[str]:
        """In the order of `os.listdir`. Raises ModelRefused where all that lies there is certainly no model."""
        contents = files.contents(folder)
        line = files.report(folder, contents.others)
        if line:
            logger.warning("%s", line)
        if contents.others and not contents.models:
            raise files.ModelRefused(no_model(folder))
        return list(contents.models)


# model-missing: where no model can be loaded, the error says which folder, what it holds, and how to pack one.


EXPECTED = (
    'Expected is the file of a model, as save_model("model.json") writes it, at the top of the archive: '
    "tar -czf model.tar.gz -C FOLDER xgboost-model, where FOLDER is the folder of the file xgboost-model."
)
SERVE = "sagemaker_xgboost_container.algorithm_mode.serve"
SAYS_SO = re.compile(r"""["'f]No (?:valid )?model""")
_SHOWN = 400  # characters of the base's own words


def model_missing_not_needed() -> str:
    """Whether the base's source has words for a folder without a model."""
    return "the base says itself that there is no model" if SAYS_SO.search(_loading.source()) else ""


def install_model_missing() -> None:
    """Explain what the base raises, in the log, of /ping, and of a model that a multi-model endpoint loads."""
    _loading.explain("model-missing", check, _reason)
    _loading.when_imported(SERVE, _answer_ping)


def check(folder: str) -> None:
    """Raise ModelRefused for a model that certainly cannot be loaded: xgboost 1.2 ends the process over some."""
    try:
        models = files.contents(folder).models
    except OSError:
        return  # the base says so
    for name in models:
        why = _wrong(os.path.join(folder, name), failed=False)
        if why:
            raise files.ModelRefused(_not_loaded(folder, name, why))


def no_model(folder: str) -> str:
    """What to say of a folder that has no model at its top; raises OSError."""
    below = files.deeper(folder)
    hint = " A model is loaded from the top alone, and {} is deeper.".format(files.listing(below)) if below else ""
    return 'There is no model in "{}", which holds {}.{} {}'.format(folder, files.holds(folder), hint, EXPECTED)


def _reason(folder: str, error: Exception) -> str:
    try:
        models = files.contents(folder).models
        if not models:
            return no_model(folder)
    except OSError as problem:
        return 'The model folder "{}" cannot be read: {}. {}'.format(folder, problem.strerror or problem, EXPECTED)
    named = [name for name in models if os.path.join(folder, name) in str(error)] or models
    wrong = [
        (name, why) for name, why in ((name, _wrong(os.path.join(folder, name), failed=True)) for name in named) if why
    ]
    words = " ".join(str(error).partition("Stack trace")[0].split())
    name, why = wrong[0] if wrong else (named[0], "xgboost {} says: {}".format(xgboost.__version__, words[:_SHOWN]))
    return _not_loaded(folder, name, why)


def _not_loaded(folder: str, name: str, why: str) -> str:
    path = files.quoted(os.path.join(folder, name))
    return 'The model {} cannot be loaded: {}. "{}" holds {}. {}'.format(
        path, why, folder, files.holds(folder), EXPECTED
    )


def _wrong(path: str, *, failed: bool) -> str:
    try:
        return files.damage(path, failed=failed)
    except OSError as problem:
        return "it cannot be read: {}".format(problem.strerror or problem)


def _answer_ping(serve: Any) -> None:
    """Where the model is loaded at the first /ping, its answer says why that failed."""
    views = serve.ScoringService.app.view_functions
    views["ping"] = _explained(views["ping"], serve.flask)


def _explained(view: Callable[..., Any], flask: Any) -> Callable[..., Any]:
    @functools.wraps(view)
    def ping() -> Any:
        try:
            return view()
        except files.ModelRefused as refusal:
            logger.error("%s", refusal)
            reason = settings.without_folders(str(refusal))
            return flask.Response(response=reason, status=500, content_type=settings.TEXT)

    return ping


# pickle-refused: xgboost alone reads model files. None is unpickled, because unpickling runs what the file says.


IMPORT = re.compile(r"^\s*(?:import|from) +(?:pickle|cPickle|dill|joblib|cloudpickle)\b", re.M)


class PickleRefused(BaseException):
    """Not an Exception: the base would catch it and offer the pickle to xgboost."""


def pickle_refused_not_needed() -> str:
    """Whether the base's source has nothing to unpickle with; it is not imported, since that loads the model."""
    return "" if IMPORT.search(_loading.source()) else "the base does not unpickle models"


def install_pickle_refused() -> None:
    """Take pickle from the module that loads models, as soon as it is imported."""
    _loading.when_imported(_loading.MODULE, _guard)
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
