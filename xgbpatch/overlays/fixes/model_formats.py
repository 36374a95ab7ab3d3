"""model-formats: a model that this xgboost cannot read is recognised by its first bytes; the error says what to do.

Measured with models of 1.2.0, 1.3.3, 1.5.2, 1.7.4, 2.1.4, 3.0.5, 3.1.1 and 3.2.0, each read by all of them: the binary
form and pickles of 1.2 to 1.5 are read up to 3.0, UBJSON is from 1.6 on, a newer JSON fails or is read, and what
3.1 and newer write is read by older ones with other predictions. gblinear models of 1.2 and 1.3 do not say how many
rounds they have: 3.1 and newer take them for untrained, and do not turn the base score into a margin.
"""

from __future__ import annotations

import json
import os
import re
import struct
from typing import List, Optional, Tuple

import xgboost

from ..model import files, version_guard
from ..model.version_guard import Version
from . import _loading

CONVERT = (
    "Convert it with `xgbpatch convert-model {} model.json`, or, with the xgboost that wrote it, by "
    '{}.save_model("model.json").'
)
NEWER = (
    "The model {} was written by xgboost {}, and this image has {}, which {}: serve it with an image of at least that "
    "version, or convert it with `xgbpatch convert-model {} model.json --for {}`."
)
ESTIMATOR = "is a pickle of an estimator of xgboost.sklearn, where the server takes a booster"
LOGIT_BASE_SCORE = (1, 3)  # from this on a base score of binary:logitraw is a margin
FIRST_UBJSON, LAST_BINARY, VECTOR_BASE_SCORE = (1, 6), (3, 0), (3, 1)
UNTRAINED = (
    "This image has xgboost {}, and the model {} is a gblinear model that does not say how many rounds it has, as "
    "xgboost 1.2 and 1.3 write it: this one would take it for untrained and predict other numbers. Convert it with "
    "`xgbpatch convert-model {} model.json`."
)
_LINEAR = re.compile(rb'"name"\s*:\s*"gblinear"')
_LINKED = {  # margins are no scores: the base score has to become one
    "binary:logistic", "count:poisson", "reg:gamma", "reg:logistic", "reg:tweedie", "survival:aft", "survival:cox",
}  # fmt: skip
NEW_PICKLES = (1, 3), (1, 6)  # from these on pickles hold JSON, and UBJSON, that older ones do not read


def model_formats_not_needed() -> str:
    """Every xgboost has forms that it does not read."""
    return ""


def install_model_formats() -> None:
    """Refuse what would be read wrongly before it is loaded, and explain what fails."""
    _loading.explain("model-formats", check, _reason)


def check(folder: str) -> None:
    """Raise ModelRefused for a model that this xgboost would misread: it need not fail.

    And for what xgboost 1.2 would take for a binary model once it has failed, which may end the process.
    """
    running = version_guard.running()
    for path in _models(folder):
        form = _form(path)
        written = _written(path, form)
        if written is not None and (written < LOGIT_BASE_SCORE) != (running < LOGIT_BASE_SCORE) and _is_logitraw(path):
            raise files.ModelRefused(
                _converted(path, "is of binary:logitraw, whose base score it reads otherwise", "booster")
            )
        if written is not None and running < VECTOR_BASE_SCORE <= written:
            misread = "would load it and predict other numbers" if running >= FIRST_UBJSON else "does not read it"
            raise files.ModelRefused(_newer(path, written, misread))
        if form == files.JSON and running >= VECTOR_BASE_SCORE and _seems_untrained(path):
            raise files.ModelRefused(UNTRAINED.format(xgboost.__version__, files.quoted(path), _argument(path)))
        if form == files.UBJSON and running < FIRST_UBJSON:
            raise files.ModelRefused(_newer(path, written, "does not read its format, UBJSON"))
        if form == files.PICKLE and written is not None and any(running < new <= written for new in NEW_PICKLES):
            raise files.ModelRefused(_newer(path, written, "does not read it"))
        if form == files.PICKLE and b"xgboost.sklearn" in _head(path)[:64]:
            raise files.ModelRefused(_converted(path, ESTIMATOR, "model.get_booster()"))


def _reason(folder: str, error: Exception) -> str:
    """Why the base failed, of the first model for which its form is the cause."""
    for path in _models(folder):
        reason = _of_model(path)
        if reason:
            return reason
    return ""


def _of_model(path: str) -> str:
    running, form = version_guard.running(), _form(path)
    written = _written(path, form)
    if form == files.BINARY:
        return _of_binary(path, running, written)
    if not form or files.damage(path, failed=True):
        return ""
    if written is not None and written > running:
        return _newer(path, written, "does not read it")
    if form != files.PICKLE:
        return ""
    if b"xgboost.sklearn" in _head(path):
        return _converted(path, ESTIMATOR, "model.get_booster()")
    what = "is a pickle that it does not load; pickles are read by the xgboost that wrote them"
    return _converted(path, what, "pickle.load(file)")


def _of_binary(path: str, running: Version, written: Optional[Version]) -> str:
    name, suffix = os.path.splitext(os.path.basename(path))
    if running > LAST_BINARY:
        by = " (here by {}.{})".format(*written) if written else ""
        what = "is in the binary format that xgboost wrote before 3.1{} and no longer reads".format(by)
    elif suffix in (".ubj", ".json"):
        what = 'is in the binary format, and its name says another: call it "{}"'.format(name)
    else:
        return ""
    return _converted(path, what, "booster")


def _converted(path: str, what: str, booster: str) -> str:
    cause = "This image has xgboost {}, and the model {} {}. ".format(xgboost.__version__, files.quoted(path), what)
    return cause + CONVERT.format(_argument(path), booster)


def _newer(path: str, written: Optional[Version], what: str) -> str:
    by, running = "{}.{}".format(*written) if written else "1.6 or newer", xgboost.__version__
    return NEWER.format(files.quoted(path), by, running, what, _argument(path), running)


def _argument(path: str) -> str:
    """The file as a command's argument; a pickle is opened only where that is asked for."""
    return os.path.basename(path) + (" --unpickle" if _form(path) == files.PICKLE else "")


def _models(folder: str) -> List[str]:
    try:
        return [os.path.join(folder, name) for name in files.contents(folder).models]
    except OSError:
        return []  # the base says so


def _written(path: str, form: str) -> Optional[Version]:
    """The version that a model file names: the binary form does so in its header."""
    if form != files.BINARY:
        return version_guard.of_file(path)
    header = _head(path)
    numbers: Tuple[int, int] = struct.unpack_from("<II", header, 24) if len(header) >= 32 else (0, 0)
    return numbers if (0, 0) < numbers < (100, 0) else None


def _is_logitraw(path: str) -> bool:
    return any(b"binary:logitraw" in part for part in files.ends(path))


def _seems_untrained(path: str) -> bool:
    """Whether JSON is a linear model with weights and no rounds, whose objective makes another margin of a base score.

    The name of the booster stands behind its weights, near the end: no document of trees is read for it.
    """
    if not _LINEAR.search(files.ends(path)[1]):
        return False
    try:
        with open(path, "rb") as file:
            learner = json.loads(file.read().decode("utf-8"))["learner"]
        booster, objective = learner["gradient_booster"], learner["objective"]["name"]
        model = booster["model"]
        return bool(
            booster["name"] == "gblinear"
            and objective in _LINKED
            and learner["learner_model_param"].get("boost_from_average") != "0"  # which 3.1 and newer write
            and not model.get("boosted_rounds")
            and any(model["weights"])
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False  # the base says what is wrong


def _form(path: str) -> str:
    return files.form(_head(path))


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError:
        return b""
