"""The feature `training`: after the base has trained, files that explain the model stand beside it (see model_folder).

In algorithm mode `install` hooks the base; in script mode the user's program calls `write`. Neither ends a job that
the base would finish: what fails here is logged.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import logging
import os
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import xgboost
from sagemaker_algorithm_toolkit import exceptions
from sagemaker_xgboost_container import training
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from sagemaker_xgboost_container.algorithm_mode import train as algorithm

from .. import settings, silence
from ..model import booster as model_booster
from ..model import folder
from ..model.booster import PredictCall
from . import files, metrics
from . import options as training_options
from .options import TrainingOptions

logger = logging.getLogger(__name__)
CUTS = ("iteration_range", "ntree_limit")
_MOST_CELLS = 20000000  # of a sample: 80 MB of float32


@dataclass(frozen=True)
class TrainedJob:
    """What was trained on: the DMatrix of each split, validation None where there is none, and the model's folder.

    `forest` is how many trees a round adds for each class, None where the booster itself knows: a native file of
    xgboost before 1.6 does not tell. `names` are those of the features, None where nobody names them.
    """

    train: xgboost.DMatrix
    validation: Optional[xgboost.DMatrix]
    model_folder: str
    forest: Optional[int] = None
    names: Optional[Tuple[str, ...]] = None


def install() -> None:
    """Hook the base's `sagemaker_train`, which every training of algorithm mode goes through, once."""
    if not getattr(training.sagemaker_train, "writes_artefacts", False):
        training.sagemaker_train = _observed(training.sagemaker_train)
        training.sagemaker_train.writes_artefacts = True


def write(
    booster: Any, dtrain: xgboost.DMatrix, dval: Optional[xgboost.DMatrix] = None, model_dir: str = "", **options: Any
) -> None:
    """For a program of the user's: write the files beside a model, or beside a list of models served together.

    `options` are the fields of TrainingOptions. To be called on one host, after a distributed training has ended;
    raises nothing: the log says what failed.
    """
    folder = model_dir or os.environ.get("SM_MODEL_DIR", "/opt/ml/model")
    with _guarded("the files of the model"):
        group = importlib.import_module("xgboost.rabit" if model_booster.XGBOOST < (2, 0) else "xgboost.collective")
        hosts = int(group.get_world_size())
        if hosts > 1:  # making a DMatrix would wait for the others
            raise RuntimeError("the program is still in a group of {} hosts, leave it first".format(hosts))
        boosters = booster if isinstance(booster, list) else [booster]
        known = TrainingOptions(**options)
        job = TrainedJob(dtrain, dval, folder, names=known.feature_names)
        _write(job, [_explained(each, serve_utils.XGB_FORMAT) for each in boosters], known)


def _observed(base: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(base)
    def sagemaker_train(*positional: Any, **named: Any) -> Any:
        call = inspect.signature(base).bind(*positional, **named)
        try:
            options, rest = training_options.take(call.arguments["train_config"])
            functions = metrics.load(options.metrics, rest)
            _refuse_twice(options, rest)
        except training_options.OptionError as error:
            if error.__cause__ is not None:
                logger.error("%s", error, exc_info=error.__cause__)
            raise exceptions.UserError(str(error)) from None  # a cause would stand above it in the failure file
        call.arguments["train_config"] = rest
        evaluation = metrics.MetricEvaluation(functions, strict=len(call.arguments["sm_hosts"]) == 1)
        with metrics.declared(options.metrics, evaluation), _jobs(options, evaluation, call.arguments) as jobs:
            result = base(*call.args, **call.kwargs)
        for job in jobs:  # in no group of hosts any more: a DMatrix made in one waits for the others
            with _guarded("the files of the model"):
                _write(job, _served(job.model_folder), options)
        return result

    return sagemaker_train


def _names_in_data(job: Mapping[str, Any], columns: int) -> Optional[Tuple[str, ...]]:
    """The names that stand in the train channel, None where there are none for its `columns` features."""
    try:
        names = files.names_of_channel(job["train_path"], job["data_config"]["train"], job["train_config"])
    except Exception as error:
        logger.warning("The names of features could not be read from the train channel: %s", error)
        return None
    return names if len(names) == columns else None


@contextlib.contextmanager
def _jobs(
    options: TrainingOptions, evaluation: metrics.MetricEvaluation, call: Mapping[str, Any]
) -> Iterator[List[TrainedJob]]:
    """The jobs that the base's `train_job` finishes as the master meanwhile; `call` is that of `sagemaker_train`."""
    base, jobs = algorithm.train_job, []

    @functools.wraps(base)
    def train_job(*positional: Any, **named: Any) -> Any:
        job = inspect.signature(base).bind(*positional, **named).arguments
        train, config = job["train_dmatrix"], job["train_cfg"]
        evaluation.objective = config.get("objective", "")
        columns = train.num_col()
        if evaluation.strict and options.feature_names is not None and len(options.feature_names) != columns:
            raise exceptions.UserError(_other_width(options.feature_names, columns))
        names = options.feature_names or _names_in_data(call, columns)
        if options.constraints is not None:
            config.update(_constraints(options, names, columns, config.get("tree_method")))
        forest = int(config.get("num_parallel_tree", 1))
        finished = TrainedJob(train, job["val_dmatrix"], job["model_dir"], forest, names)
        result = base(*positional, **named)
        if job["is_master"]:
            jobs.append(finished)
        return result

    algorithm.train_job = train_job
    try:
        yield jobs
    finally:
        algorithm.train_job = base


def _refuse_twice(options: TrainingOptions, hyperparameters: Mapping[str, Any]) -> None:
    twice = sorted(set(options.constraints or ()) & set(hyperparameters))
    if twice:
        raise training_options.OptionError('"{}" stands in xgbpatch_constraints too'.format(twice[0]))


def _constraints(
    options: TrainingOptions, names: Optional[Sequence[str]], columns: int, tree_method: Optional[str]
) -> Dict[str, str]:
    """Of the job's parameters those that its file of constraints gives; raises UserError."""
    try:
        texts = training_options.constraint_texts(options.constraints or {}, names, columns)
        for name in texts:
            if tree_method not in training_options.TREE_METHODS[name]:
                known = ", ".join(training_options.TREE_METHODS[name])
                raise ValueError("{} needs the hyperparameter tree_method, one of: {}".format(name, known))
    except ValueError as error:
        raise exceptions.UserError("xgbpatch_constraints: {}".format(error)) from None
    return texts


def _other_width(names: Sequence[str], columns: int) -> str:
    return "xgbpatch_feature_names has {} names, the train channel {} columns (LibSVM counts from 0)".format(
        len(names), columns
    )


def _served(folder: str) -> List[PredictCall]:
    """The models of a folder as the base serves them; one that was just written can be loaded."""
    load = serve_utils.get_loaded_booster
    ensemble = {"ensemble": True} if "ensemble" in inspect.signature(load).parameters else {}
    with silence():  # the base warns of hidden files, xgboost 3 of a name that tells no format
        model, form = load(folder, **ensemble)
    pairs = zip(model, form) if isinstance(model, list) else [(model, form)]
    return [_explained(each, each_form) for each, each_form in pairs]


def _explained(booster: xgboost.Booster, form: str) -> PredictCall:
    try:
        with silence():  # xgboost 1.4 to 1.7 warn of the base's `ntree_limit`
            return PredictCall(booster, model_booster.options_of(serve_utils.predict, booster, form))
    except Exception as error:  # such as linear models of 1.2, which xgboost refuses to cut
        logger.warning("The base does not predict with this model, it is explained as a whole: %s", error)
        return PredictCall(booster, {"validate_features": False})


def _write(job: TrainedJob, members: Sequence[PredictCall], options: TrainingOptions) -> None:
    width = model_booster.width(members[0].booster)
    names = _names(job, width)
    with _guarded(folder.RECORD):
        files.write_json(job.model_folder, folder.RECORD, _record(members, job.forest))
    with _guarded(folder.FEATURE_NAMES):
        files.write_json(job.model_folder, folder.FEATURE_NAMES, names)
    if options.background_rows:
        with _guarded(folder.BACKGROUND):
            rows = _sample(job.train, options.background_rows, width)
            files.write_array(job.model_folder, folder.BACKGROUND, files.dense(rows))
    if options.importance_rows:
        with _guarded("importance"):
            _write_importance(job, members, options.importance_rows, names)
    logger.info("Wrote %s", os.path.dirname(folder.path(job.model_folder, folder.RECORD)))


def _names(job: TrainedJob, width: int) -> List[str]:
    """Those that are known, or f0, f1, ..."""
    for names in (job.names, job.train.feature_names):
        if names is not None and len(names) == width:
            return list(names)
        if names is not None:
            logger.warning("%s", _other_width(names, width))
    return ["f{}".format(number) for number in range(width)]


def _sample(dmatrix: xgboost.DMatrix, most: int, width: int) -> Any:
    numbers = files.sample(dmatrix.num_row(), min(most, max(1, _MOST_CELLS // width)))
    return files.read_rows(dmatrix, numbers, width)


def _write_importance(job: TrainedJob, members: Sequence[PredictCall], most: int, names: Sequence[str]) -> None:
    split, dmatrix = ("train", job.train) if job.validation is None else ("validation", job.validation)
    for member in members:
        member.booster.set_param({"nthread": 0})  # all processors: loading a model to serve it leaves one
    with silence():
        importance = files.measure_importance(members, _sample(dmatrix, most, len(names)))
    about = {
        "split": split,
        "rows": importance.rows,
        "rows_of_split": dmatrix.num_row(),
        "seed": files.SEED,
        "space": "margin",
        "models": len(members),
        "tree_cuts": [
            # what of the base's options of prediction leaves trees out: nothing does where it is 0
            {name: member.options[name] for name in CUTS if np.any(member.options.get(name, 0))}
            for member in members
        ],
    }
    files.write_importance(job.model_folder, about, names, importance.values)


def _record(members: Sequence[PredictCall], forest: Optional[int]) -> Dict[str, Any]:
    configuration = model_booster.configuration(members[0].booster)["learner"]
    return {
        "xgboost": xgboost.__version__,
        "xgbpatch": os.environ.get(settings.RELEASE.name, ""),
        "base": os.environ.get(settings.BASE.name, ""),
        "objective": configuration["objective"]["name"],
        "features": model_booster.width(members[0].booster),
        "models": len(members),
        "rounds": [_rounds(member.booster, configuration, forest) for member in members],
    }


def _rounds(booster: xgboost.Booster, configuration: Mapping[str, Any], forest: Optional[int]) -> Optional[int]:
    """None where it cannot be told: of a linear model before xgboost 1.4."""
    if model_booster.XGBOOST >= (1, 6):
        return booster.num_boosted_rounds()
    parameters = configuration["gradient_booster"].get("gbtree_train_param", {})
    known = int(parameters.get("num_parallel_tree", 1))
    if hasattr(booster, "num_boosted_rounds"):
        return booster.num_boosted_rounds() * known // (forest or known)
    if not parameters:
        return None
    groups = max(1, int(configuration["learner_model_param"]["num_class"]))
    return len(booster.get_dump()) // (groups * (forest or known))


@contextlib.contextmanager
def _guarded(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("xgbpatch: %s could not be written; the model is complete without", what)
