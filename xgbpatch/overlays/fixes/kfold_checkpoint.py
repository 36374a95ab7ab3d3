"""Checkpoints of folds: from 1.3-1 on their folder is not made, so the job fails; before, a restarted job does.

No version can go on from one: every start draws other folds, so the checkpoint has seen rows that are now held out.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Callable, Dict

import numpy as np
import xgboost
from sagemaker_xgboost_container import checkpointing

from . import _train_job

_FIRST_FOLD = "model-0"


def not_needed() -> str:
    """Whether the base takes a fold from where another draw of the folds left it."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, _FIRST_FOLD))
        matrix = xgboost.DMatrix(np.zeros((2, 1)), label=[0, 1])
        path = os.path.join(folder, _FIRST_FOLD, checkpointing.CHECKPOINT_FILENAME + ".0")
        xgboost.train({}, matrix, num_boost_round=1).save_model(path)

        def verdict(call: _train_job.Call) -> str:
            return "folds have no checkpoints" if call.arguments.get("xgb_model") is None else ""

        return _train_job.judge(verdict, {"objective": "reg:squarederror", "_kfold": 2}, folder)


def install() -> None:
    """Have jobs of folds keep no checkpoints."""

    def change(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
        if "_kfold" in job["train_cfg"]:
            job["checkpoint_dir"] = None
        return train

    _train_job.adapt(change)
