"""Algorithm mode's training: checks what came, reads the channels, trains on one host or on all, saves the model."""

import logging
import os

from sagemaker_algorithm_toolkit import exceptions as exc
from sagemaker_algorithm_toolkit.channel_validation import CONTENT_TYPE, TRAINING_INPUT_MODE, Channel

from sagemaker_xgboost_container import _training_behaviour as behaviour
from sagemaker_xgboost_container import distributed
from sagemaker_xgboost_container.algorithm_mode import _boosting, _folds
from sagemaker_xgboost_container.algorithm_mode import channel_validation as cv
from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation as hpv
from sagemaker_xgboost_container.algorithm_mode import metrics as metrics_mod
from sagemaker_xgboost_container.constants.sm_env_constants import SM_OUTPUT_DATA_DIR
from sagemaker_xgboost_container.constants.xgb_constants import CUSTOMER_ERRORS, TRAIN_CHANNEL, VAL_CHANNEL
from sagemaker_xgboost_container.data_utils import (
    check_data_redundancy,
    get_content_type,
    get_dmatrix,
    get_size,
    validate_data_file_path,
)

logger = logging.getLogger(__name__)


def get_validated_dmatrices(
    train_path, validate_path, content_type, csv_weights=0, is_pipe=False, combine_train_val=False
):
    """DMatrices of train, validation and both together, None for what is not there or (both) not wanted."""
    sizes = [get_size(path, is_pipe) if path else 0 for path in (train_path, validate_path)]
    logger.info("train holds %d bytes, validation %d", *sizes)
    if not is_pipe:
        _check_files([path for path, size in zip((train_path, validate_path), sizes) if size], content_type)
    train, validation = (
        get_dmatrix(path, content_type, csv_weights, is_pipe) if size else None
        for path, size in zip((train_path, validate_path), sizes)
    )
    if not combine_train_val or train is None or validation is None:
        return train, validation, train
    return train, validation, get_dmatrix([train_path, validate_path], content_type, csv_weights, is_pipe)


def _check_files(paths, content_type):
    for path in paths:
        validate_data_file_path(path, content_type)
    if len(paths) == 2:
        check_data_redundancy(*paths)


def sagemaker_train(
    train_config, data_config, train_path, val_path, model_dir, sm_hosts, sm_current_host, checkpoint_config
):
    """Trains with the text of hyperparameters.json and inputdataconfig.json; the first host saves under `model_dir`.

    Raises UserError for what the user has to change, AlgorithmError for other failures of XGBoost.
    """
    config = hpv.initialize(metrics_mod.initialize()).validate(train_config)
    channels = cv.initialize().validate(data_config)
    if config.pop("use_dask_gpu_training", "false") == "true":
        raise exc.UserError("this stand-in does not train on GPUs with Dask, which the official image does")
    dmatrices = _read_channels(config, channels, train_path, val_path)
    job = {
        "train_cfg": config,
        "train_dmatrix": dmatrices[0],
        "val_dmatrix": dmatrices[1],
        "train_val_dmatrix": dmatrices[2],
        "model_dir": model_dir,
        "checkpoint_dir": checkpoint_config.get("LocalPath"),
    }
    if len(sm_hosts) > 1:
        _train_together(job, bool(val_path), sm_hosts, sm_current_host)
    elif sm_hosts:
        _train_alone(job, train_path, val_path)
    else:
        raise exc.PlatformError("the list of hosts is empty")


def _read_channels(config, channels, train_path, val_path):
    train = channels[TRAIN_CHANNEL]
    is_pipe = train[TRAINING_INPUT_MODE] == Channel.PIPE_MODE
    csv_weights = config.pop("csv_weights", 0)
    content_type = get_content_type(train[CONTENT_TYPE])
    return get_validated_dmatrices(train_path, val_path, content_type, csv_weights, is_pipe, "_kfold" in config)


def _train_alone(job, train_path, val_path):
    for name, path, dmatrix in (
        (TRAIN_CHANNEL, train_path, job["train_dmatrix"]),
        (VAL_CHANNEL, val_path, job["val_dmatrix"]),
    ):
        if path and dmatrix is None:
            raise exc.UserError("the {} channel, '{}', holds no data".format(name, path))
    train_job(is_master=True, **job)


def _train_together(job, has_validation, sm_hosts, sm_current_host):
    distributed.wait_hostname_resolution(sm_hosts)
    included = job["train_dmatrix"] is not None
    if has_validation and behaviour.EXCLUDES_WITHOUT_VALIDATION:
        included = included and job["val_dmatrix"] is not None
    if not included:
        logger.warning("'%s' has no data and leaves the training", sm_current_host)
    distributed.rabit_run(
        exec_fun=train_job,
        args=job,
        include_in_training=included,
        hosts=sm_hosts,
        current_host=sm_current_host,
        update_rabit_args=True,
    )


def train_job(train_cfg, train_dmatrix, val_dmatrix, train_val_dmatrix, model_dir, checkpoint_dir, is_master):
    """Trains one model, or one a fold with `_kfold`; only with `is_master` are they saved."""
    if behaviour.REPORTS_SAVING:
        print("TRAIN_JOB_DEBUG: is_master={}".format(is_master), flush=True)
    logger.info("Train matrix has %d rows and %d columns", train_dmatrix.num_row(), train_dmatrix.num_col())
    plan = _boosting.plan(train_cfg, _boosting.Folders(model_dir, checkpoint_dir), is_master)
    try:
        if plan.folds is None:
            boosters = [_boosting.boost(plan, train_dmatrix, _boosting.Watch(train_dmatrix, val_dmatrix))]
        else:
            output = os.environ[SM_OUTPUT_DATA_DIR]
            boosters = _folds.boost(plan, _folds.Data(train_dmatrix, val_dmatrix, train_val_dmatrix), output)
    except Exception as error:
        raise _blamed(error) from error
    _boosting.save(plan, boosters)


def _blamed(error):
    if any(fragment in str(error) for fragment in CUSTOMER_ERRORS):
        return exc.UserError(str(error))
    return exc.AlgorithmError("XGB train call failed with exception:\n {}".format(error))


def print_cv_metric(num_round, evals_results):
    _folds.print_summary(num_round, evals_results)
