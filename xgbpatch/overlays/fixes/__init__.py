"""Repairs of known bugs of the base, one module each; `install` takes those asked for, each where it acts.

A module has `not_needed()` (why the installed base does not need it, or an empty string; found out by its behaviour or
its source, never by its tag) and `install()`.
"""

from __future__ import annotations

import importlib
import logging
from typing import Iterable

logger = logging.getLogger(__name__)

COMMAND = "command"  # the command `serve`, before it starts a server
LOADING = "loading"  # a worker of the single-model server, before the base is imported and loads the model
SERVING = "serving"  # a worker of the single-model server, with the base imported
MODEL_SERVER = "model server"  # a worker of a multi-model endpoint
TRAINING = "training"


# Where each fix acts. Known without importing it, because it imports the base's modules: in a worker that would load
# the model before LOADING is done, and in serving bring what only training needs. They are installed in this order, and
# the last stands around the others.
STAGES = {
    "checkpoint-resume": (TRAINING,),
    "custom-metrics": (TRAINING,),
    "early-stopping": (TRAINING,),
    "empty-rows": (SERVING, MODEL_SERVER),
    "ensemble-vote": (SERVING,),
    "eval-metric-without-objective": (TRAINING,),
    "jsonlines-accept": (SERVING,),
    "kfold-checkpoint": (TRAINING,),
    "kfold-eval": (TRAINING,),
    "libsvm-skew": (SERVING, MODEL_SERVER),
    "metrics": (TRAINING,),
    "mme-ensemble-vote": (MODEL_SERVER,),
    "mme-errors": (MODEL_SERVER,),
    "mme-start": (COMMAND,),
    "model-files": (LOADING, MODEL_SERVER),
    "model-formats": (LOADING, MODEL_SERVER),
    "model-missing": (LOADING, MODEL_SERVER),
    "objectives": (TRAINING, SERVING),
    "pickle-refused": (LOADING, MODEL_SERVER),
    "recordio-growth": (SERVING,),
    "row-width": (SERVING, MODEL_SERVER),
    "serve-exit-code": (COMMAND,),
    "hyperparameter-encoding": (TRAINING,),  # the last: the others are told what it has decoded
}


def install(names: Iterable[str], stage: str) -> None:
    """Install those of `names` that act at `stage`; the log says which, and which step aside and why."""
    for name in sorted(names, key=list(STAGES).index):
        if stage not in STAGES[name]:
            continue
        fix = importlib.import_module("{}.{}".format(__package__, name.replace("-", "_")))
        reason = fix.not_needed()
        if reason:
            logger.info("Fix %s steps aside: %s", name, reason)
            continue
        fix.install()
        logger.info("Fix %s: installed", name)
