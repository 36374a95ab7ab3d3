"""`SAGEMAKER_TRAINING_MODULE=xgbpatch_overlays.train:main`: the base's training."""

from __future__ import annotations

from sagemaker_xgboost_container import training


def main() -> None:
    """Train as the base does; its SystemExit, and whatever else it raises, passes."""
    training.main()
