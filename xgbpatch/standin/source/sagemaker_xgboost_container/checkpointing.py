"""Models kept while a training goes on: one a round in the checkpoint folder, or the latest as the job's model."""

import logging
import os
import pickle
import re
import threading

import xgboost as xgb

from sagemaker_xgboost_container import _training_behaviour as behaviour
from sagemaker_xgboost_container import _worker

TEMP_FILE_SUFFIX = ".sagemaker-ignore"  # SageMaker's uploader passes these over,
FILE_LOCK_SUFFIX = ".sagemaker-uploading"  # puts this beside a file that it is reading,
FILE_SAFE_SUFFIX = ".sagemaker-uploaded"  # and this when it is done
CHECKPOINT_FILENAME = "xgboost-checkpoint"

_CHECKPOINT = re.compile("^{}\\.([0-9]+)$".format(CHECKPOINT_FILENAME))
_SWEEP_SECONDS = 0.1
_TrainingCallback = xgb.callback.TrainingCallback if behaviour.HAS_CALLBACK_CLASSES else object

logger = logging.getLogger(__name__)


def train(train_args, checkpoint_dir):
    """`xgboost.train(**train_args)` with a checkpoint every round; goes on from the newest one in `checkpoint_dir`.

    For scripts of users. `num_boost_round` counts the rounds of the checkpoint too; `train_args` is left as it is.
    """
    os.makedirs(checkpoint_dir, exist_ok=True)
    path, start = load_checkpoint(checkpoint_dir)
    arguments = dict(train_args)
    if path is not None:
        logger.info("Found a checkpoint: %s", path)
        logger.info("Training goes on at iteration %s", start)
        arguments["xgb_model"] = path
    rounds = arguments.pop("num_boost_round", 10) - start
    saving = save_checkpoint(checkpoint_dir, start_iteration=start, num_round=rounds)
    printed = print_checkpointed_evaluation(end_iteration=rounds, start_iteration=start)
    arguments["callbacks"] = list(arguments.get("callbacks") or []) + [printed, saving]
    arguments["verbose_eval"] = False
    try:
        return xgb.train(num_boost_round=rounds, **arguments)
    finally:
        saving.stop()


def load_checkpoint(checkpoint_dir, max_try=5):
    """Path and next round of the newest checkpoint that loads, of the newest `max_try`; (None, 0) without one."""
    if not os.path.isdir(checkpoint_dir):
        return None, 0
    names = [name for name in os.listdir(checkpoint_dir) if _CHECKPOINT.match(name)]
    _sort_checkpoints(names)
    for name in names[: -max_try - 1 : -1]:
        path = os.path.join(checkpoint_dir, name)
        try:
            xgb.Booster().load_model(path)
        except xgb.core.XGBoostError:
            logger.warning("'%s' is no complete checkpoint", path)
        else:
            return path, _round(name) + 1
    return None, 0


def _round(name):
    return int(_CHECKPOINT.match(name).group(1))


def _sort_checkpoints(checkpoint_files):
    """By round, in place."""
    checkpoint_files.sort(key=_round)


def _write(model, path):
    """A reader of `path` finds the old file or the new one, never a part."""
    unfinished = path + TEMP_FILE_SUFFIX
    open(unfinished, "wb").close()
    model.save_model(unfinished)
    os.rename(unfinished, path)


class _Pickled:
    """A model that saves itself as 1.2-2 saves models."""

    def __init__(self, model):
        self._model = model

    def save_model(self, path):
        with open(path, "wb") as file:
            pickle.dump(self._model, file, protocol=4)


class _PrintEvaluation:
    """Before 1.3: the line of a round, counted from the first round ever."""

    def __init__(self, start_iteration):
        self.start_iteration = start_iteration

    def __call__(self, env):
        if env.rank == 0 and env.evaluation_result_list:
            scores = ["{}:{:.5f}".format(name, value) for name, value, *_ in env.evaluation_result_list]
            xgb.rabit.tracker_print("[{}]\t{}\n".format(env.iteration + self.start_iteration, "\t".join(scores)))


if behaviour.HAS_CALLBACK_CLASSES:

    class PrintCheckpoint(xgb.callback.EvaluationMonitor):
        """XGBoost's line of a round, counted from the first round ever."""

        def __init__(self, end_iteration, iteration=0, rank=0, period=1, show_stdv=True, start_iteration=0):
            super().__init__(rank=rank, period=period, show_stdv=show_stdv)
            self.end_iteration = end_iteration
            self.iteration = iteration
            self.start_iteration = start_iteration

        def after_iteration(self, model, epoch=0, evals_log=None):
            return super().after_iteration(model, epoch + self.start_iteration, evals_log)


def print_checkpointed_evaluation(end_iteration=None, iteration=0, rank=0, period=1, show_stdv=True, start_iteration=0):
    """A callback that prints every round."""
    if not behaviour.HAS_CALLBACK_CLASSES:
        return _PrintEvaluation(start_iteration)
    return PrintCheckpoint(end_iteration, iteration, rank, period, show_stdv, start_iteration)


def save_checkpoint(
    checkpoint_dir, start_iteration=0, max_to_keep=5, num_round=None, rank=0, iteration=0, end_iteration=None
):
    """A callback that keeps the newest `max_to_keep` rounds."""
    return SaveCheckpointCallBack(
        checkpoint_dir, start_iteration, max_to_keep, num_round, rank or _worker.rank(), iteration, end_iteration
    )


class SaveCheckpointCallBack(_TrainingCallback):
    """Writes `xgboost-checkpoint.<round>`; a thread removes the oldest, when the uploader is not reading it."""

    def __init__(
        self,
        checkpoint_dir,
        start_iteration=0,
        max_to_keep=5,
        num_round=None,
        rank=0,
        iteration=0,
        end_iteration=None,
    ):
        self.checkpoint_dir = checkpoint_dir
        self.start_iteration = start_iteration
        self.max_to_keep = max_to_keep
        self.rank = rank
        self.iteration = iteration
        self.end_iteration = end_iteration if num_round is None else num_round
        self._kept = []
        self._superseded = []
        self.start()

    def format_path(self, iteration):
        return os.path.join(self.checkpoint_dir, "{}.{}".format(CHECKPOINT_FILENAME, iteration))

    def start(self):
        os.makedirs(self.checkpoint_dir, exist_ok=True)
        self._stopped = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_until_stopped, daemon=True)
        self._sweeper.start()

    def stop(self):
        """Ends the thread after a last sweep; a file that is being uploaded stays."""
        self._stopped.set()
        self._sweeper.join()

    def __call__(self, model, epoch=0, evals_log=None):
        """One round: `model` is a booster from 1.7 on, XGBoost's own environment of a callback before."""
        if behaviour.XGBOOST >= (1, 7):
            self._step(model, self.iteration, self.rank)
            self.iteration += 1
        else:
            self._step(model.model, model.iteration, model.rank)

    def after_iteration(self, model, epoch=0, evals_log=None):
        self._step(model, epoch, self.rank)
        return False

    def after_training(self, model):
        self.stop()
        return model

    def _step(self, model, iteration, rank):
        if rank != 0:
            return
        self._save_checkpoint(model, iteration)
        if self.end_iteration is not None and iteration + 1 >= self.end_iteration:
            self.stop()

    def _save_checkpoint(self, model, iteration):
        path = self.format_path(self.start_iteration + iteration)
        _write(model, path)
        self._kept.append(path)
        if len(self._kept) > self.max_to_keep:
            self._superseded.append(self._kept.pop(0))

    def _sweep_until_stopped(self):
        while not self._stopped.wait(_SWEEP_SECONDS):
            self._sweep()
        self._sweep()

    def _sweep(self):
        for path in list(self._superseded):
            if not os.path.exists(path + FILE_LOCK_SUFFIX):
                self._superseded.remove(path)
                if os.path.exists(path):
                    os.remove(path)


SaveCheckpoint = SaveCheckpointCallBack  # its name up to 1.5-1


def save_intermediate_model(intermediate_model_dir, model_name):
    """A callback of the kind before 1.3."""
    return SaveIntermediateModel(intermediate_model_dir, model_name)


class SaveIntermediateModel:
    """Rewrites one model file every round."""

    def __init__(self, intermediate_model_dir, model_name):
        self.intermediate_model_dir = intermediate_model_dir
        self.model_name = model_name
        os.makedirs(intermediate_model_dir, exist_ok=True)

    def __call__(self, env):
        return self.callback(env)

    def format_path(self):
        return os.path.join(self.intermediate_model_dir, self.model_name)

    def save_intermediate_model(self, model):
        _write(_Pickled(model) if behaviour.SAVES_PICKLES else model, self.format_path())

    def callback(self, env):
        if env.rank == 0:
            self.save_intermediate_model(env.model)


class SaveIntermediateModelCallBack(_TrainingCallback):
    """The same for XGBoost's callback classes; only the first host writes."""

    def __init__(self, intermediate_model_dir, model_name, is_master):
        self.is_master = is_master
        self.intermediate = SaveIntermediateModel(intermediate_model_dir, model_name)

    def after_iteration(self, model, epoch, evals_log):
        if self.is_master:
            self.intermediate.save_intermediate_model(model)
        return False
