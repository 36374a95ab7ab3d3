"""Where the fixes of training take hold: the base's train_job, and modules that are imported late."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import logging
import os
import sys
import tempfile
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, Mapping, Optional

import numpy as np
import xgboost
from sagemaker_xgboost_container.algorithm_mode import train as algorithm
from sagemaker_xgboost_container.constants import sm_env_constants


def run(name: str, work: Callable[[Any], None]) -> None:
    """Call `work(module)` once the module `name` has been executed; at once where it is imported already."""
    if name in sys.modules:
        work(sys.modules[name])
    else:
        sys.meta_path.insert(0, _Finder(name, work))


class _Finder(object):
    """Finds one module, once, through the finders after it (`importlib.abc.MetaPathFinder`)."""

    def __init__(self, name: str, work: Callable[[Any], None]):
        self._name = name
        self._work = work

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]  # that of six 1.15 has none
        specs = (finder.find_spec(fullname, path, target) for finder in finders)
        spec: Any = next((spec for spec in specs if spec is not None), None)
        if spec is not None:
            spec.loader.exec_module = _followed(spec.loader.exec_module, self._work)
        return spec


def _followed(execute: Callable[[Any], None], work: Callable[[Any], None]) -> Callable[[Any], None]:
    def exec_module(module: Any) -> None:
        execute(module)
        work(module)

    return exec_module


# The base's `train_job`, through which all training of algorithm mode goes but Dask's: where fixes take hold.
#
# The base looks up `train_job` and `xgboost.train` when it calls them, on 1.2-2 as on 3.2-0.


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
        with _quiet():
            return verdict(_rehearse(dict(hyperparameters), checkpoint_dir))
    except Exception as error:
        return "the training of this base is not the one that it knows ({}: {})".format(type(error).__name__, error)


def _rehearse(hyperparameters: Dict[str, Any], checkpoint_dir: Optional[str]) -> Call:
    """The first call of `xgboost.train` by the base's own `train_job` on a few rows; XGBoost is not reached."""
    seen = []

    def spy(parameters: Any, matrix: Any, *positional: Any, **named: Any) -> None:
        seen.append(Call(parameters, matrix, named))
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
    return seen[0]


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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A rehearsal leaves nothing in the log of the job, which a tuning job reads."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
