"""model-missing: where no model can be loaded, the error says which folder, what it holds, and how to pack one."""

from __future__ import annotations

import functools
import logging
import os
import re
from typing import Any, Callable

import xgboost

from .. import settings
from ..model import files
from . import _after_import, _loading

EXPECTED = (
    'Expected is the file of a model, as save_model("model.json") writes it, at the top of the archive: '
    "tar -czf model.tar.gz -C FOLDER xgboost-model, where FOLDER is the folder of the file xgboost-model."
)
SERVE = "sagemaker_xgboost_container.algorithm_mode.serve"
SAYS_SO = re.compile(r"""["'f]No (?:valid )?model""")
_SHOWN = 400  # characters of the base's own words

logger = logging.getLogger(__name__)


def not_needed() -> str:
    """Whether the base's source has words for a folder without a model."""
    return "the base says itself that there is no model" if SAYS_SO.search(_loading.source()) else ""


def install() -> None:
    """Explain what the base raises, in the log, of /ping, and of a model that a multi-model endpoint loads."""
    _loading.explain("model-missing", check, _reason)
    _after_import.run(SERVE, _answer_ping)


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
