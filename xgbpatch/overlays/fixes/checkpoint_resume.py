"""Checkpoints under a name that is never looked for, so a restarted job begins at round 0 (1.3-1 and later).

`xgboost-checkpoint.N` is the model after round N, in the folder that SageMaker keeps. The names are those that the
base's own loader and its helper for scripts know (`checkpointing.load_checkpoint`).
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List

import xgboost
from sagemaker_xgboost_container import checkpointing

from ..silence import silence
from . import _train_job

KEPT = 5  # newest rounds, as the base's helper keeps

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


@dataclass
class Checkpoints:
    """The checkpoints in `folder`; `written` are the rounds of this process that are still there."""

    folder: str
    written: List[int] = field(default_factory=list)

    def path(self, number: int) -> str:
        """The file of round `number`."""
        return os.path.join(self.folder, "{}.{}".format(checkpointing.CHECKPOINT_FILENAME, number))

    def rounds(self) -> List[int]:
        """Rounds that have a file, whole or not, the newest first; of an earlier process too."""
        pattern = re.compile(r"{}\.([0-9]+)".format(re.escape(checkpointing.CHECKPOINT_FILENAME)))
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        return sorted((int(match.group(1)) for match in map(pattern.fullmatch, names) if match), reverse=True)

    def keep(self, booster: xgboost.Booster, number: int) -> None:
        """Write the model after round `number` and remove old ones; a folder that cannot be written costs a warning."""
        path = self.path(number)
        try:  # SageMaker's uploader and a restarted job find the whole file or none
            os.makedirs(self.folder, exist_ok=True)
            with silence():  # xgboost 3 warns of a name without .json or .ubj
                booster.save_model(path + checkpointing.TEMP_FILE_SUFFIX)
            os.replace(path + checkpointing.TEMP_FILE_SUFFIX, path)
        except Exception as error:  # the base would finish the job
            logger.warning('The checkpoint "%s" could not be written: %s', path, error)
        else:
            self.written.append(number)
            self._remove_old()

    def _remove_old(self) -> None:
        """What an earlier process left stays, as with the base's helper; what is being uploaded stays for now."""
        for number in self.written[:-KEPT]:
            path = self.path(number)
            uploading = os.path.isfile(path + checkpointing.FILE_LOCK_SUFFIX)
            if uploading and not os.path.isfile(path + checkpointing.FILE_SAFE_SUFFIX):
                continue
            self.written.remove(number)
            if os.path.exists(path):
                os.remove(path)
