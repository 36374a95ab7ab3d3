"""Checkpoints under a name that is never looked for, so a restarted job begins at round 0 (1.3-1 and later)."""

from __future__ import annotations

import logging
import tempfile
from typing import Any, Callable, Dict

import xgboost
from sagemaker_xgboost_container import checkpointing

from . import _train_job
from ._checkpoints import Checkpoints

logger = logging.getLogger(__name__)


def not_needed() -> str:
    """Whether the base finds again what it has kept."""
    if not hasattr(xgboost.callback, "TrainingCheckPoint"):
        return "this base writes its own checkpoints and resumes from them"
    with tempfile.TemporaryDirectory() as folder:

        def verdict(call: _train_job.Call) -> str:
            """The base's own callbacks write what they write in three rounds, and its loader looks for it."""
            booster = xgboost.train({}, call.matrix, num_boost_round=1)
            for each in call.arguments["callbacks"]:
                for epoch in range(3):
                    each.after_iteration(booster, epoch, {})
            path, _ = checkpointing.load_checkpoint(folder)
            return "its checkpoints are found again" if path else ""

        return _train_job.judge(verdict, {"objective": "reg:squarederror"}, folder)


def install() -> None:
    """Keep checkpoints that are found again."""
    _train_job.adapt(_resume)


def _resume(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
    folder = job["checkpoint_dir"]
    if not folder or "_kfold" in job["train_cfg"]:
        return train
    job["checkpoint_dir"] = None  # the base has no part in it
    is_master = job["is_master"]

    def train_on(parameters: Any, matrix: Any, *, num_boost_round: int, callbacks: Any, **named: Any) -> Any:
        from . import _resumption

        checkpoints = Checkpoints(folder)
        done = _resumption.rounds_done(checkpoints, parameters, matrix, num_boost_round)
        if done:
            logger.info("Checkpoint loaded from %s", checkpoints.path(done - 1))
            logger.info("Resuming from iteration %s", done)
            with open(checkpoints.path(done - 1), "rb") as file:  # of a name, xgboost 3 warns that it tells no format
                named["xgb_model"] = bytearray(file.read())
        keep = checkpoints.keep if is_master else lambda booster, number: None
        own = [each for each in callbacks if _resumption.is_own(each)]
        others = [each for each in callbacks if not _resumption.is_own(each)]
        return train(
            parameters,
            matrix,
            num_boost_round=num_boost_round - done,
            callbacks=[*others, _resumption.Continued(own, done, keep)],
            **named,
        )

    return train_on
