"""Repairs of known bugs of the base; `install` takes those asked for, each where it acts.

Of the fix `libsvm-skew` a module has `libsvm_skew_not_needed()` (why the installed base does not need it, or an empty
string; found out by its behaviour or its source, never by its tag) and `install_libsvm_skew()`. Fixes of one subject
share a module; it imports at its top what every one of them needs where it acts.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any, Callable, Iterable, Tuple

logger = logging.getLogger(__name__)

COMMAND = "command"  # the command `serve`, before it starts a server
LOADING = "loading"  # a worker of the single-model server, before the base is imported and loads the model
SERVING = "serving"  # a worker of the single-model server, with the base imported
MODEL_SERVER = "model server"  # a worker of a multi-model endpoint
TRAINING = "training"


class FixModule(object):
    """The module of a fix, and the stages at which it acts."""

    def __init__(self, module: str, *stages: str):
        self.module = module
        self.stages = stages


# Where each fix acts. Known without importing it, because it imports the base's modules: in a worker that would load
# the model before LOADING is done, and in serving bring what only training needs. They are installed in this order, and
# the last stands around the others.
FIXES = {
    "checkpoint-resume": FixModule("checkpoint_resume", TRAINING),
    "custom-metrics": FixModule("metrics", TRAINING),
    "early-stopping": FixModule("early_stopping", TRAINING),
    "empty-rows": FixModule("libsvm", SERVING, MODEL_SERVER),
    "ensemble-vote": FixModule("answers", SERVING),
    "eval-metric-without-objective": FixModule("early_stopping", TRAINING),
    "jsonlines-accept": FixModule("answers", SERVING),
    "kfold-checkpoint": FixModule("kfold", TRAINING),
    "kfold-eval": FixModule("kfold", TRAINING),
    "libsvm-skew": FixModule("libsvm", SERVING, MODEL_SERVER),
    "metrics": FixModule("metrics", TRAINING),
    "mme-ensemble-vote": FixModule("answers", MODEL_SERVER),
    "mme-errors": FixModule("mme_errors", MODEL_SERVER),
    "mme-start": FixModule("server", COMMAND),
    "model-files": FixModule("model_folder", LOADING, MODEL_SERVER),
    "model-formats": FixModule("model_formats", LOADING, MODEL_SERVER),
    "model-missing": FixModule("model_folder", LOADING, MODEL_SERVER),
    "objectives": FixModule("objectives", TRAINING, SERVING),
    "pickle-refused": FixModule("model_folder", LOADING, MODEL_SERVER),
    "recordio-growth": FixModule("answers", SERVING),
    "row-width": FixModule("row_width", SERVING, MODEL_SERVER),
    "serve-exit-code": FixModule("server", COMMAND),
    # the last: the others are told what it has decoded
    "hyperparameter-encoding": FixModule("hyperparameter_encoding", TRAINING),
}


def functions(name: str) -> Tuple[Callable[[], str], Callable[[], None]]:
    """The fix's `not_needed` and `install`; its module is imported, and no other fix's."""
    module: Any = importlib.import_module("{}.{}".format(__package__, FIXES[name].module))
    own = name.replace("-", "_")
    return getattr(module, own + "_not_needed"), getattr(module, "install_" + own)


def install(names: Iterable[str], stage: str) -> None:
    """Install those of `names` that act at `stage`; the log says which, and which step aside and why."""
    for name in sorted(names, key=list(FIXES).index):
        if stage not in FIXES[name].stages:
            continue
        not_needed, install_fix = functions(name)
        reason = not_needed()
        if reason:
            logger.info("Fix %s steps aside: %s", name, reason)
            continue
        install_fix()
        logger.info("Fix %s: installed", name)
