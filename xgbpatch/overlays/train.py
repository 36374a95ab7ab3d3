"""`SAGEMAKER_TRAINING_MODULE=xgbpatch_overlays.train:main`: the base's training, with what the image adds.

`main` is the base's own function, so that what a failing job leaves in `/opt/ml/output/failure` is the base's too: its
traceback has no frame of ours. What the image adds is hooked in at the moment when the name is looked up.
"""

from __future__ import annotations

import os
from typing import Any, Mapping

from sagemaker_xgboost_container import training

from . import fixes, settings


def __getattr__(name: str) -> Any:
    """The base's `main`, looked up once by the trainer of sagemaker-containers; raises SettingsError."""
    if name != "main":
        raise AttributeError(name)
    _install(os.environ)
    return training.main


def _install(environment: Mapping[str, str]) -> None:
    config = settings.read(environment)
    if config.fixes or settings.TRAINING in config.features:
        from . import failure

        failure.install()
    fixes.install(config.fixes, fixes.TRAINING)
    if settings.TRAINING in config.features:
        from .training import artifacts

        artifacts.install()
