"""The training entry point: SAGEMAKER_TRAINING_MODULE names `training:main`."""

import json
import logging
import os
import sys

from sagemaker_containers.beta import framework

from sagemaker_xgboost_container.algorithm_mode.train import sagemaker_train
from sagemaker_xgboost_container.constants import sm_env_constants

logger = logging.getLogger(__name__)


def run_algorithm_mode():
    """Trains on what SageMaker put under /opt/ml; the paths are in the environment."""
    environment = os.environ
    checkpoint_config = environment.get(sm_env_constants.SM_CHECKPOINT_CONFIG_FILE, "")
    sagemaker_train(
        train_config=_read(environment[sm_env_constants.SM_INPUT_TRAINING_CONFIG_FILE]),
        data_config=_read(environment[sm_env_constants.SM_INPUT_DATA_CONFIG_FILE]),
        train_path=environment[sm_env_constants.SM_CHANNEL_TRAIN],
        val_path=environment.get(sm_env_constants.SM_CHANNEL_VALIDATION),
        model_dir=environment[sm_env_constants.SM_MODEL_DIR],
        sm_hosts=json.loads(environment[sm_env_constants.SM_HOSTS]),
        sm_current_host=environment[sm_env_constants.SM_CURRENT_HOST],
        checkpoint_config=_read(checkpoint_config) if os.path.exists(checkpoint_config) else {},
    )


def _read(path):
    with open(path) as file:
        return json.load(file)


def train(training_environment):
    """Runs the user's module where the job names one (script mode), else algorithm mode."""
    if training_environment.user_entry_point is not None:
        logger.info("Running the user's module")
        framework.modules.run_module(
            training_environment.module_dir,
            training_environment.to_cmd_args(),
            training_environment.to_env_vars(),
            training_environment.module_name,
            capture_error=False,
        )
        return
    logger.info("Running algorithm mode")
    os.environ.update(training_environment.to_env_vars())
    run_algorithm_mode()


def main():
    """Always ends with SystemExit, so sagemaker-containers writes no success file."""
    train(framework.training_env())
    sys.exit(0)
