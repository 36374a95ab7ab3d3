"""The base's `train_job`, through which all training of algorithm mode goes but Dask's: where fixes take hold.

The base looks up `train_job` and `xgboost.train` when it calls them, on 1.2-2 as on 3.2-0.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import tempfile
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Mapping, Optional

import numpy as np
import xgboost
from sagemaker_xgboost_container.algorithm_mode import train as algorithm
from sagemaker_xgboost_container.constants import sm_env_constants

from .. import silence

_CLASSES = np.array([0, 0, 0, 1] * 3, dtype=np.float32)


@dataclass(frozen=True)
class Call:
    """One call of `xgboost.train` by the base: hyperparameters, matrix to train on, and keyword arguments."""

    parameters: Mapping[str, Any]
    matrix: xgboost.DMatrix
    arguments: Mapping[str, Any]


class _Reached(BaseException):
    """Ends a rehearsal; no Exception, because the base turns those into errors of the job."""


def adapt(change: Callable[[Dict[str, Any], Callable[..., Any]], Callable[..., Any]]) -> None:
    """Have `change(job, train)` called for each job.

    It may change the job's arguments, by name in `job`, and returns what stands for `xgboost.train`, which is `train`,
    while the job runs.
    """
    base = algorithm.train_job

    @functools.wraps(base)
    def train_job(*positional: Any, **named: Any) -> Any:
        job = inspect.signature(base).bind(*positional, **named).arguments
        with _in_place_of(xgboost, "train", change(job, xgboost.train)):
            return base(**job)

    algorithm.train_job = train_job


def judge(
    verdict: Callable[[Call], str], hyperparameters: Mapping[str, Any], checkpoint_dir: Optional[str] = None
) -> str:
    """`verdict` on what the base asks of XGBoost for `hyperparameters`: why a fix is not needed, or an empty string.

    A base that cannot be judged is not touched either: that is a reason too.
    """
    try:
        with silence():
            return verdict(_rehearse(dict(hyperparameters), checkpoint_dir))
    except Exception as error:
        return "the training of this base is not the one that it knows ({}: {})".format(type(error).__name__, error)


def _rehearse(hyperparameters: Dict[str, Any], checkpoint_dir: Optional[str]) -> Call:
    """The first call of `xgboost.train` by the base's own `train_job` on a few rows; XGBoost is not reached."""
    calls = []

    def spy(parameters: Any, matrix: Any, *positional: Any, **named: Any) -> None:
        calls.append(Call(parameters, matrix, named))
        raise _Reached

    with contextlib.suppress(_Reached), _in_place_of(xgboost, "train", spy), _surroundings() as folder:
        inspect.unwrap(algorithm.train_job)(
            train_cfg={"num_round": 3, **hyperparameters},
            train_dmatrix=_matrix(),
            val_dmatrix=_matrix(),
            train_val_dmatrix=_matrix(),
            model_dir=folder,
            checkpoint_dir=checkpoint_dir,
            is_master=True,
        )
    return calls[0]


def _matrix() -> xgboost.DMatrix:
    return xgboost.DMatrix(np.column_stack([_CLASSES, _CLASSES]), label=_CLASSES)


@contextlib.contextmanager
def _surroundings() -> Iterator[str]:
    """A folder for what k-fold names before it trains, and no hook of the debugger (1.7-1-1 and older)."""
    known = os.environ.get(sm_env_constants.SM_OUTPUT_DATA_DIR)
    with tempfile.TemporaryDirectory() as folder, _in_place_of(algorithm, "add_debugging", lambda **ignored: None):
        os.environ[sm_env_constants.SM_OUTPUT_DATA_DIR] = folder
        try:
            yield folder
        finally:
            del os.environ[sm_env_constants.SM_OUTPUT_DATA_DIR]
            if known is not None:
                os.environ[sm_env_constants.SM_OUTPUT_DATA_DIR] = known


@contextlib.contextmanager
def _in_place_of(owner: Any, name: str, value: Any) -> Iterator[None]:
    """`value` under `name` of `owner` for a while; nothing where the base has no such name."""
    known = getattr(owner, name, None)
    if known is None:
        yield
        return
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, known)
