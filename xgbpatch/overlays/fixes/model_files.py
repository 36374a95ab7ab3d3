"""model-files: of a model folder the models are loaded, and the other files that lie beside them are passed over."""

from __future__ import annotations

import logging
import os
import re
from typing import Any, List

from ..model import files
from . import _after_import, _loading, model_missing

LOOKS = re.compile(r"endswith|splitext|suffix|fnmatch|\bre\.|\bglob")  # at more of a name than a dot before it

logger = logging.getLogger(__name__)


def not_needed() -> str:
    """Whether the base's source has a look at the names of the files that it lists."""
    source = _loading.source()
    start = source.find("listdir(")
    if start < 0:
        return "the base lists the model folder in a way that this fix does not know"
    (listing, *_) = source[start:].split("\ndef ", 1)
    return "the base tells models from other files by itself" if LOOKS.search(listing) else ""


def install() -> None:
    """Let the base see a model folder without what is no model."""
    _after_import.run(_loading.MODULE, _hide)
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
        found = files.contents(folder)
        line = files.report(folder, found.others)
        if line:
            logger.warning("%s", line)
        if found.others and not found.models:
            raise files.ModelRefused(model_missing.no_model(folder))
        return list(found.models)
