"""Which engine predicts with a booster: xgboost, or oneDAL where it was proved to answer the same."""

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

    Never raises: whatever goes wrong on the way to oneDAL is a reason for the booster. Logs the choice.
    """
    if setting not in ("auto", "daal4py"):
        return booster_for("XGBPATCH_ENGINE={}".format(setting or "booster"))
    try:
        from ..onedal import engine  # an image without the feature never loads it

        choice = engine.accelerate(booster, options, setting)
    except Unsuitable as reason:
        choice = booster_for(str(reason))
    except Exception as error:
        logger.exception("daal4py could not be used")
        choice = booster_for("{}: {}".format(type(error).__name__, error))
    logger.info("Engine: %s (%s)", choice.engine, choice.reason)
    return choice
