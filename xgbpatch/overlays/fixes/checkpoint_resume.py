"""Checkpoints under a name that is never looked for, so a restarted job begins at round 0 (1.3-1 and later).

`xgboost-checkpoint.N` is the model after round N, in the folder that SageMaker keeps. The names are those that the
base's own loader and its helper for scripts know (`checkpointing.load_checkpoint`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Sequence

import numpy as np
import xgboost
from sagemaker_xgboost_container import checkpointing

from .. import silence
from . import _train_job

logger = logging.getLogger(__name__)

KEPT = 5  # newest rounds, as the base's helper keeps


def checkpoint_resume_not_needed() -> str:
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


def install_checkpoint_resume() -> None:
    """Keep checkpoints that are found again."""
    _train_job.adapt(_resume)


def _resume(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
    folder = job["checkpoint_dir"]
    if not folder or "_kfold" in job["train_cfg"]:
        return train
    job["checkpoint_dir"] = None  # the base has no part in it
    is_master = job["is_master"]

    def train_on(parameters: Any, matrix: Any, *, num_boost_round: int, callbacks: Any, **named: Any) -> Any:
        checkpoints = Checkpoints(folder)
        done = rounds_done(checkpoints, parameters, matrix, num_boost_round)
        if done:
            logger.info("Checkpoint loaded from %s", checkpoints.path(done - 1))
            logger.info("Resuming from iteration %s", done)
            with open(checkpoints.path(done - 1), "rb") as file:  # of a name, xgboost 3 warns that it tells no format
                named["xgb_model"] = bytearray(file.read())
        keep = checkpoints.keep if is_master else lambda booster, number: None
        own = [each for each in callbacks if is_own(each)]
        others = [each for each in callbacks if not is_own(each)]
        return train(
            parameters,
            matrix,
            num_boost_round=num_boost_round - done,
            callbacks=[*others, Continued(own, done, keep)],
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


# A training that goes on from a checkpoint as if it had not been interrupted: where it starts, what a round is told.


_LOAD = "import sys, xgboost; print(); print(xgboost.Booster(model_file=sys.argv[1]).save_config())"
_SECONDS = 600
_group = getattr(xgboost, "collective" if hasattr(xgboost, "collective") else "rabit")


def rounds_done(checkpoints: Checkpoints, parameters: Mapping[str, Any], matrix: xgboost.DMatrix, rounds: int) -> int:
    """Rounds to go on from, the same on every host; 0 where no checkpoint is whole, of this job, and leaves a round.

    The job trains `rounds` in all, with `parameters` on `matrix`.
    """

    def fits(number: int) -> bool:
        return _fits(checkpoints.path(number), parameters, matrix.num_col())

    numbers = [number for number in checkpoints.rounds() if number + 1 < rounds][:KEPT]
    mine = next((number + 1 for number in numbers if fits(number)), 0)
    shared = _least(mine)
    has_it = shared == mine or (shared - 1 in checkpoints.rounds() and fits(shared - 1))
    return shared if _least(int(has_it)) else 0


def _least(value: int) -> int:
    """The least that a host of this training gives."""
    if _group.get_world_size() == 1:
        return value
    return int(_group.allreduce(np.array([value], dtype=np.int32), _group.Op.MIN)[0])


def _fits(path: str, parameters: Mapping[str, Any], columns: int) -> bool:
    """Whether the file is a whole model of this job's kind; the log says what is wrong with one that is not."""
    try:
        learner = _configuration(path)["learner"]
        shape = learner["learner_model_param"]
        rows = [
            ("objective", learner["objective"]["name"], parameters.get("objective", "reg:squarederror")),
            ("booster", learner["gradient_booster"]["name"], parameters.get("booster", "gbtree")),
            ("num_class", shape["num_class"], str(parameters.get("num_class", 0))),
        ]
        unlike = ["its {} is {} and not {}".format(name, its, job) for name, its, job in rows if its != job]
        if int(shape["num_feature"]) < columns:
            unlike.append("it knows {} features of {}".format(shape["num_feature"], columns))
    except Exception as error:
        unlike = ["{}: {}".format(type(error).__name__, error)]
    if unlike:
        logger.warning('The checkpoint "%s" is passed over: %s', path, "; ".join(unlike))
    return not unlike


def _configuration(path: str) -> Any:
    """XGBoost's own of the model in a file, which is loaded by another process: 3.2 dies of a file that is cut off."""
    command = [sys.executable, "-c", _LOAD, path]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_SECONDS, check=False)
    if process.returncode:
        raise ValueError("it does not load (exit code {})".format(process.returncode))
    return json.loads(process.stdout.splitlines()[-1])


_callbacks: Any = xgboost.callback
_TrainingCallback: Any = getattr(_callbacks, "TrainingCallback", object)  # from 1.3 on


class Continued(_TrainingCallback):
    """XGBoost's own callbacks in their order, told the rounds since the first start; then the checkpoint.

    The round in which early stopping ends the training has no checkpoint: a restarted job comes to that end again.
    """

    def __init__(self, callbacks: Sequence[Any], done: int, keep: Callable[..., None]) -> None:
        self.callbacks = callbacks
        self.done = done
        self.keep = keep
        super().__init__()

    def before_training(self, model: xgboost.Booster) -> xgboost.Booster:
        for each in self.callbacks:
            model = each.before_training(model)
            if isinstance(each, _callbacks.EarlyStopping):
                remember(each, model.attributes(), self.done)
        return model

    def after_iteration(self, model: xgboost.Booster, epoch: int, evals_log: Dict[str, Any]) -> bool:
        ends = [each.after_iteration(model, epoch + self._offset(each), evals_log) for each in self.callbacks]
        if not any(ends):
            self.keep(model, epoch + self.done)
        return any(ends)

    def after_training(self, model: xgboost.Booster) -> xgboost.Booster:
        for each in self.callbacks:
            model = each.after_training(model)
        return model

    def _offset(self, each: Any) -> int:
        """From 1.4 on early stopping counts the model's rounds by itself."""
        return 0 if getattr(each, "starting_round", 0) else self.done


def remember(stopping: Any, attributes: Mapping[str, Any], done: int) -> None:
    """Give early stopping its best round so far, which the checkpoint's model carries in its attributes."""
    if not done or "best_score" not in attributes or not (stopping.data and stopping.metric_name):
        return
    best = float(attributes["best_score"])
    stopping.stopping_history = {stopping.data: {stopping.metric_name: [best]}}
    stopping.best_scores = {stopping.data: {stopping.metric_name: [best]}}
    stopping.current_rounds = done - 1 - int(attributes["best_iteration"])


def is_own(each: Any) -> bool:
    """Whether `Continued` has to stand around a callback."""
    return isinstance(each, (_callbacks.EvaluationMonitor, _callbacks.EarlyStopping))
