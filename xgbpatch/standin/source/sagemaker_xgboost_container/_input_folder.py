"""The one folder from which File mode reads the files of a channel, or of several."""

import logging
import os
import shutil

from sagemaker_xgboost_container import _training_behaviour as behaviour

MAX_FOLDER_DEPTH = 3
_LINKS = "/tmp/sagemaker_xgboost_input_data"


def gather(paths):
    """A folder (or file) with the data of `paths`; symbolic links, made anew on every call, where there are several."""
    if behaviour.LINKS_INPUT or len(paths) > 1:
        return _linked(paths)
    return _deepest(paths[0])


def _deepest(path):
    """1.5-1 and before read one folder, the deepest; the first of several that are as deep."""
    folder = max((current for current, _, _ in os.walk(path)), key=lambda name: name.count(os.sep), default=path)
    logging.info("Reading the files of '%s'", folder)
    return folder


def _linked(paths):
    shutil.rmtree(_LINKS, ignore_errors=True)
    os.makedirs(_LINKS)
    for path in paths:
        _link_under(path, 1)
    return _LINKS


def _link_under(path, depth):
    if depth > MAX_FOLDER_DEPTH:
        logging.warning("'%s' is not read: it is more than %d folders deep", path, MAX_FOLDER_DEPTH)
        return
    if os.path.isfile(path):
        _link(path)
        return
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if entry.is_dir():
            _link_under(entry.path, depth + 1)
        else:
            _link(entry.path)


def _link(path):
    """The suffix keeps files of one name in different folders apart."""
    target = os.path.join(_LINKS, os.path.basename(path) + str(hash(path)))
    logging.info("Linking '%s' to '%s'", path, target)
    os.symlink(path, target)
