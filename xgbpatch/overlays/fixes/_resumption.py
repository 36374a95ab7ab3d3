"""A training that goes on from a checkpoint as if it had not been interrupted: where it starts, what a round is told.

XGBoost 1.3 and later: older ones have no callback classes.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any, Callable, Dict, Mapping, Sequence

import numpy as np
import xgboost
from xgboost import callback

from .checkpoint_resume import KEPT, Checkpoints

logger = logging.getLogger(__name__)
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
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_SECONDS, check=False)
    if done.returncode:
        raise ValueError("it does not load (exit code {})".format(done.returncode))
    return json.loads(done.stdout.splitlines()[-1])


class Continued(callback.TrainingCallback):
    """XGBoost's own callbacks in their order, told the rounds since the first start; then the checkpoint.

    The round in which early stopping ends the training has no checkpoint: a restarted job comes to that end again.
    """

    def __init__(self, callbacks: Sequence[callback.TrainingCallback], done: int, keep: Callable[..., None]) -> None:
        self.callbacks = callbacks
        self.done = done
        self.keep = keep
        super().__init__()

    def before_training(self, model: xgboost.Booster) -> xgboost.Booster:
        for each in self.callbacks:
            model = each.before_training(model)
            if isinstance(each, callback.EarlyStopping):
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

    def _offset(self, each: callback.TrainingCallback) -> int:
        """From 1.4 on early stopping counts the model's rounds by itself."""
        return 0 if getattr(each, "starting_round", 0) else self.done


def remember(stopping: callback.EarlyStopping, attributes: Mapping[str, Any], done: int) -> None:
    """Give early stopping its best round so far, which the checkpoint's model carries in its attributes."""
    if not done or "best_score" not in attributes or not (stopping.data and stopping.metric_name):
        return
    best = float(attributes["best_score"])
    stopping.stopping_history = {stopping.data: {stopping.metric_name: [best]}}
    stopping.best_scores = {stopping.data: {stopping.metric_name: [best]}}
    stopping.current_rounds = done - 1 - int(attributes["best_iteration"])


def is_own(each: Any) -> bool:
    """Whether `Continued` has to stand around a callback."""
    return isinstance(each, (callback.EvaluationMonitor, callback.EarlyStopping))
