"""Which engine predicts with a booster: xgboost, or another that was proved to answer the same."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Mapping, Optional

import xgboost

logger = logging.getLogger(__name__)


class Unsuitable(Exception):
    """Why the booster has to predict."""


@dataclass(frozen=True)
class Choice:
    """`answer(dmatrix, options)` predicts, or returns None for the booster to do it; None where that is always so.

    `accelerator` is the proved Accelerator behind it, if there is one.
    """

    answer: Any
    engine: str
    reason: str
    accelerator: Any = None


def booster_for(reason: str) -> Choice:
    """The Choice of the booster."""
    return Choice(None, "booster", reason)


def choose(booster: xgboost.Booster, options: Mapping[str, Any], setting: Optional[str]) -> Choice:
    """The Choice for a booster that the base asks with `options`; `setting` is the engine of the settings, or None.

    Never raises: whatever goes wrong on the way to an engine is a reason for the booster. Logs the choice.
    """
    if setting not in ("auto", "daal4py", "native"):
        return booster_for("XGBPATCH_ENGINE={}".format(setting or "booster"))
    try:  # an engine that was not asked for is never loaded
        if setting == "native":
            from ..native import engine as native

            choice = native.accelerate(booster, options)
        else:
            from ..onedal import engine as onedal

            choice = onedal.accelerate(booster, options, setting)
    except Unsuitable as reason:
        choice = booster_for(str(reason))
    except Exception as error:
        logger.exception("%s could not be used", "daal4py" if setting == "auto" else setting)
        choice = booster_for("{}: {}".format(type(error).__name__, error))
    logger.info("Engine: %s (%s)", choice.engine, choice.reason)
    return choice
