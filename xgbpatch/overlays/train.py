"""`SAGEMAKER_TRAINING_MODULE=xgbpatch_overlays.train:main`: the base's training, with what the image adds.

`main` is the base's own function, so that what a failing job leaves in `/opt/ml/output/failure` is the base's too: its
traceback has no frame of ours. What the image adds is hooked in at the moment when the name is looked up.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, Iterator, Mapping, Optional, Set

import xgboost
from sagemaker_algorithm_toolkit import exceptions
from sagemaker_containers import _trainer
from sagemaker_xgboost_container import training

from . import fixes, settings

OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep
THEIRS = tuple(os.path.dirname(str(module.__file__)) + os.sep for module in (training, exceptions, xgboost))


def __getattr__(name: str) -> Any:
    """The base's `main`, looked up once by the trainer of sagemaker-containers; raises SettingsError."""
    if name != "main":
        raise AttributeError(name)
    _install(os.environ)
    return training.main


def _install(environment: Mapping[str, str]) -> None:
    config = settings.read(environment)
    if config.fixes or settings.TRAINING in config.features:
        _hide_frames()
    fixes.install(config.fixes, fixes.TRAINING)
    if settings.TRAINING in config.features:
        from .training import artifacts

        artifacts.install()


# What a failing job writes to `/opt/ml/output/failure` and into its log, with features and fixes: the base's bytes.


def _hide_frames() -> None:
    """Have the trainer of sagemaker-containers, which writes the file, leave our frames out."""
    _trainer.traceback = _Traceback()


class _Traceback(object):
    """Stands for the module `traceback` where a failure is written: errors show no frame that only passed them on.

    Else the error's own line would stand further down, and a reader of the first 1,024 characters would not see it.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(traceback, name)

    def format_exc(self, *arguments: Any, **named: Any) -> str:
        """The text of the exception that is being handled."""
        error = sys.exc_info()[1]
        if error is None:
            return traceback.format_exc(*arguments, **named)
        shown: Set[int] = set()
        part: Optional[BaseException] = error
        while part is not None and id(part) not in shown:
            shown.add(id(part))
            frames = list(_shown_frames(part))
            for frame, following in zip(frames, [*frames[1:], None]):
                frame.tb_next = following
            part.__traceback__ = frames[0] if frames else None
            part = part.__cause__ or part.__context__
        # not `traceback.format_exc`: before Python 3.11 `exc_info` keeps the traceback that it began with
        return "".join(traceback.format_exception(type(error), error, error.__traceback__, *arguments, **named))


def _shown_frames(error: BaseException) -> Iterator[Any]:
    """The frames of a traceback but ours before the last of the base or of xgboost; of a refusal by us, ours alone."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append((trace, trace.tb_frame.f_code.co_filename))
        trace = trace.tb_next
    last = max([number for number, (_, file) in enumerate(frames) if file.startswith(THEIRS)], default=-1)
    refused = isinstance(error, exceptions.UserError) and bool(frames) and frames[-1][1].startswith(OWN)
    for number, (frame, file) in enumerate(frames):
        if number > last or not (refused or file.startswith(OWN)):
            yield frame
