"""Checkpoints of folds: from 1.3-1 on their folder is not made, so the job fails; before, a restarted job does.

No version can go on from one: every start draws other folds, so the checkpoint has seen rows that are now held out.
"""

from __future__ import annotations

import tempfile
from typing import Any, Callable, Dict

from . import _train_job


def not_needed() -> str:
    """Whether the base gives folds anything to write checkpoints with."""
    with tempfile.TemporaryDirectory() as folder:
        callbacks = []

        def verdict(call: _train_job.Call) -> str:
            callbacks.append(len(call.arguments.get("callbacks") or ()))
            return ""

        for checkpoints in (folder, None):
            reason = _train_job.judge(verdict, {"objective": "reg:squarederror", "_kfold": 2}, checkpoints)
            if reason:
                return reason
    return "" if callbacks[0] > callbacks[1] else "folds have no checkpoints"


def install() -> None:
    """Have jobs of folds keep no checkpoints."""

    def change(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
        if "_kfold" in job["train_cfg"]:
            job["checkpoint_dir"] = None
        return train

    _train_job.adapt(change)
