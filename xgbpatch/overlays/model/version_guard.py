"""A model of a newer xgboost is refused before it is loaded: an older one may load it and predict other numbers.

xgboost promises to read models of older versions only (https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html);
measured: a model of 3.2.0 loads in 3.0.5 and 1.7.4 without an error and predicts wrongly, and 1.2.0 aborts.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from typing import Any, Iterator, Optional, Tuple

import xgboost

from . import files
from . import folder as model_folder

logger = logging.getLogger(__name__)
_TAIL = 65536  # bytes at the end of a model file that are looked at
_JSON = re.compile(rb'(?<!\\)"version"\s*:\s*\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*\d{1,4}\s*\]\s*\}')
_UBJSON = re.compile(rb"L\0{7}\x07version\[#L\0{7}\x03((?:i.|U.|I..|l....){3})\}", re.DOTALL)
_WIDTHS = {ord("i"): 1, ord("U"): 1, ord("I"): 2, ord("l"): 4}

Version = Tuple[int, int]


class NewerModelError(files.ModelRefused):
    """A model that needs a newer xgboost than the image has; the message names both."""


def install(serve_utils: Any) -> None:
    """Check each folder that the base is about to load a model from, once."""
    base = serve_utils.get_loaded_booster
    if getattr(base, "guards_version", False):
        return

    @functools.wraps(base)
    def get_loaded_booster(model_dir: str, *arguments: Any, **named: Any) -> Any:
        check(model_dir)
        return base(model_dir, *arguments, **named)

    guarded: Any = get_loaded_booster
    guarded.guards_version = True
    serve_utils.get_loaded_booster = guarded


def check(folder: str) -> None:
    """Raise NewerModelError where record.json or a model file names a newer xgboost than this one (major.minor).

    What names none is the base's to judge.
    """
    for source, version in _named(folder):
        if version > running():
            raise NewerModelError(
                '"{}" says that the model was trained with xgboost {}.{}, and this image has {}, which would load it '
                "and could predict other numbers: serve it with an image of at least that version".format(
                    source, version[0], version[1], xgboost.__version__
                )
            )


def _named(folder: str) -> Iterator[Tuple[str, Version]]:
    """(file, version) of each file that names one; a record that cannot be read names none."""
    try:
        recorded = _version(str(model_folder.record(folder).get("xgboost", "")))
    except model_folder.ModelFolderError as error:
        logger.warning("%s", error)
        recorded = None
    if recorded is not None:
        yield model_folder.path(folder, model_folder.RECORD), recorded
    for name in sorted(files.contents(folder).models) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        version = of_file(path)
        if version is not None:
            yield path, version


def running() -> Version:
    """That of this xgboost; one that nobody can read is newer than every model."""
    return _version(xgboost.__version__) or (9999, 0)


def of_file(path: str) -> Optional[Version]:
    """The version that the end of a model file names, or None: JSON and UBJSON (pickled too) name it last.

    Nothing is unpickled. The binary form of xgboost 1.x is never newer than a base that could take it for its own.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(256)
            known = head[:1] in (b"{", b"\x80")
            file.seek(max(0, os.path.getsize(path) - _TAIL))
            tail = file.read(_TAIL)
    except OSError as error:
        logger.warning('"%s" cannot be read: %s', path, error)
        return None
    if not known and files.form(head) != files.PICKLE:
        return None
    if not known:  # protocol 0 writes bytes as text
        tail = tail.decode("raw_unicode_escape", "ignore").encode("latin-1", "ignore")
    versions = [(match.start(), (int(match.group(1)), int(match.group(2)))) for match in _JSON.finditer(tail)]
    versions += [(match.start(), _of_ubjson(match.group(1))) for match in _UBJSON.finditer(tail)]
    return max(versions)[1] if versions else None


def _of_ubjson(content: bytes) -> Version:
    """Integers of UBJSON: a letter for the width, then the number, big endian."""
    numbers, place = [], 0
    while place < len(content):
        end = place + 1 + _WIDTHS[content[place]]
        numbers.append(int.from_bytes(content[place + 1 : end], "big"))
        place = end
    return numbers[0], numbers[1]


def _version(text: str) -> Optional[Version]:
    match = re.match(r"(\d+)\.(\d+)", text)
    return None if match is None else (int(match.group(1)), int(match.group(2)))
