"""From margins to predictions without a booster, by the native library. What it gives has to be proved."""

from __future__ import annotations

import ctypes
from typing import Callable, List

import numpy as np

from ..model import accelerator, booster
from ..model.choice import Unsuitable
from . import library

SIGMOID, SIGMOID_CLAMPED, EXPONENTIAL, SOFTMAX = range(4)  # as in link.c

Link = Callable[[np.ndarray], np.ndarray]


def candidates(objective: str) -> List[Link]:
    """The links that a release of xgboost may have for `objective`: one of them is to be proved.

    Each makes predictions float32 (n,) or (n, outputs) of margins float32 (n, outputs), which it may overwrite. Raises
    Unsuitable.
    """
    if objective in accelerator.IDENTITY:
        return [_flat]
    if objective in booster.LOGIT:
        return [_native(SIGMOID_CLAMPED), _native(SIGMOID)]
    if objective in booster.LOG:
        return [_native(EXPONENTIAL)]
    if objective == "binary:hinge":
        return [lambda margins: _flat((margins > 0).astype(np.float32))]
    if objective == "multi:softmax":
        return [lambda margins: np.argmax(margins, axis=1).astype(np.float32)]
    if objective == "multi:softprob":
        return [_native(SOFTMAX)]
    raise Unsuitable('the objective "{}" is not known'.format(objective))


def _flat(margins: np.ndarray) -> np.ndarray:
    return margins[:, 0] if margins.shape[1] == 1 else margins


def _native(kind: int) -> Link:
    link = library.function(
        "xgbpatch_link", ctypes.c_int32, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, result=ctypes.c_int32
    )

    def predictions(margins: np.ndarray) -> np.ndarray:
        link(kind, margins.ctypes.data, *margins.shape)
        return _flat(margins)

    return predictions
