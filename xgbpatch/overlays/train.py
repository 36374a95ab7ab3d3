"""`SAGEMAKER_TRAINING_MODULE=xgbpatch_overlays.train:main`: the base's training, with what the image adds."""

from __future__ import annotations

import os

from sagemaker_xgboost_container import training

from . import fixes, settings


def main() -> None:
    """Train as the base does; its SystemExit, and whatever else it raises, passes."""
    config = settings.read(os.environ)
    fixes.install(config.fixes, fixes.TRAINING)
    if settings.TRAINING in config.features:
        from .training import artifacts

        artifacts.install()
    training.main()
