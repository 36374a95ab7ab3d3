"""Our keys in the base's selectable inference: its keys are computed, and all are encoded, by its own functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np
from sagemaker_xgboost_container.algorithm_mode import serve_utils
from sagemaker_xgboost_container.constants import xgb_constants

from . import shap_keys
from .request_options import Manner
from .shap_keys import KeyValues

CSV = "text/csv"
RECORDIO = "application/x-recordio-protobuf"
ENCODINGS = (CSV, "application/json", "application/jsonlines", RECORDIO)


class Plain(object):
    """A raw prediction of an objective that the base has no keys for: its item is the prediction, one or many."""

    def __init__(self, raw: Any):
        self.item = np.asarray(raw).tolist


@dataclass(frozen=True)
class Form:
    """The keys of a response, in order, and its type, one of ENCODINGS."""

    keys: Sequence[str]
    accept: str

    @property
    def ours(self) -> List[str]:
        return [key for key in self.keys if key in shap_keys.KEYS]


def keys() -> Tuple[str, ...]:
    """The selected keys, where one of ours is among them, else nothing; never raises."""
    try:
        selected = serve_utils.get_selected_output_keys() if serve_utils.is_selectable_inference_output() else ()
    except Exception:  # the base says what is wrong, at the moment it always did
        return ()
    return tuple(selected) if set(selected) & set(shap_keys.KEYS) else ()


def asked_keys(selected: Sequence[str], asked: Manner) -> Tuple[str, ...]:
    """`selected`, and what a request adds to them (top_k, interactions=on) or leaves out (interactions=off)."""
    wanted = [key for key in selected if key != shap_keys.INTERACTIONS or asked.interactions is not False]
    if asked.interactions and shap_keys.INTERACTIONS not in wanted:
        wanted.append(shap_keys.INTERACTIONS)
    return tuple(wanted)


def predictions(raw: np.ndarray, selected: Sequence[str], learner: Mapping[str, Any]) -> List[Any]:
    """What the base selects for its own keys among `selected`, one dict a record.

    An objective that it refuses gets `predicted_score`, the plain prediction, and NaN for every other key.
    """
    theirs = [key for key in selected if key not in shap_keys.KEYS]
    objective = learner["objective"]["name"]
    classes = learner["learner_model_param"].get("num_class", "")
    if objective in serve_utils.VALID_OBJECTIVES and (raw.ndim == 1 or objective.startswith("multi:")):
        found: List[Any] = serve_utils.get_selected_predictions(raw, theirs, objective, num_class=classes)
        return found
    plain = [Plain(record) for record in raw]
    found = serve_utils.get_selected_predictions(plain, theirs, xgb_constants.REG_SQUAREDERR)
    return found


def encode(records: Sequence[Mapping[str, Any]], values: KeyValues, form: Form) -> bytes:
    """The first records, explained, as the base encodes them."""
    explained = [_explained(record, values, number, form) for number, record in enumerate(records)]
    body = serve_utils.encode_selected_predictions(explained, list(form.keys), form.accept)
    return body if isinstance(body, bytes) else body.encode("utf-8")


def _explained(record: Mapping[str, Any], values: KeyValues, number: int, form: Form) -> Dict[str, Any]:
    explained = dict(record)
    for key in form.ours:
        if form.accept == RECORDIO:
            explained.update(values.flat(key, number))
        elif form.accept == CSV:
            explained[key] = values.lined(key, number)
        else:
            explained[key] = values.structured(key, number)
    return explained
