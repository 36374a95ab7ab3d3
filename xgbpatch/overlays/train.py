"""`SAGEMAKER_TRAINING_MODULE=xgbpatch_overlays.train:main`: the base's training."""

from sagemaker_xgboost_container import training


def main():
    """Train as the base does; its SystemExit, and whatever else it raises, passes."""
    training.main()
