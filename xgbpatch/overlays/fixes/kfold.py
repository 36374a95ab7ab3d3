"""kfold-eval and kfold-checkpoint: folds are evaluated on their own rows, and keep no checkpoints."""

from __future__ import annotations

import collections
import tempfile
from typing import Any, Callable, Deque, Dict

from . import _train_job

# kfold-eval: folds that are evaluated on the whole channels, their own training rows among them (1.7-1 and later).


def kfold_eval_not_needed() -> str:
    """Whether a fold is evaluated on the rows that it is trained on."""

    def verdict(call: _train_job.Call) -> str:
        return "folds are evaluated on their own rows" if call.arguments["evals"][0][0] is call.matrix else ""

    return _train_job.judge(verdict, {"objective": "reg:squarederror", "_kfold": 2})


def install_kfold_eval() -> None:
    """Evaluate each fold on its own parts."""
    _train_job.adapt(_evaluate_folds)


def _evaluate_folds(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
    if "_kfold" not in job["train_cfg"]:
        return train
    parts = _watch_slices(job["train_val_dmatrix"])

    def train_fold(parameters: Any, matrix: Any, *positional: Any, **named: Any) -> Any:
        if len(parts) == 2 and parts[0] is matrix:
            own = {"train": parts[0], "validation": parts[1]}
            named["evals"] = [(own.get(name, data), name) for data, name in named["evals"]]
        return train(parameters, matrix, *positional, **named)

    return train_fold


def _watch_slices(matrix: Any) -> Deque[Any]:
    """The last two slices of `matrix`: while a fold trains, its rows and those held out."""
    parts = collections.deque(maxlen=2)  # type: Deque[Any]
    cut = matrix.slice

    def cut_and_keep(*positional: Any, **named: Any) -> Any:
        parts.append(cut(*positional, **named))
        return parts[-1]

    matrix.slice = cut_and_keep
    return parts


# kfold-checkpoint: from 1.3-1 on the folder of checkpoints is not made, so a job of folds fails; before, a restarted
# one does.
#
# No version can go on from one: every start draws other folds, so the checkpoint has seen rows that are now held out.


def kfold_checkpoint_not_needed() -> str:
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


def install_kfold_checkpoint() -> None:
    """Have jobs of folds keep no checkpoints."""

    def change(job: Dict[str, Any], train: Callable[..., Any]) -> Callable[..., Any]:
        if "_kfold" in job["train_cfg"]:
            job["checkpoint_dir"] = None
        return train

    _train_job.adapt(change)
