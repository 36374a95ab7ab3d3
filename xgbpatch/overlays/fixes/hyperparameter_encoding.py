"""Hyperparameters as SDKs send them: JSON text, or Python's `str` of a list, which the base refuses (every version)."""

from __future__ import annotations

import functools
import json
from typing import Any, Dict

from sagemaker_algorithm_toolkit import hyperparameter_validation as kinds
from sagemaker_xgboost_container import training
from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation, metrics

from ..settings import decoded, items


def hyperparameter_encoding_not_needed() -> str:
    """Whether the base takes a number in quotes."""
    try:
        hyperparameter_validation.initialize(metrics.initialize()).validate({"num_round": '"1"'})
    except Exception:
        return ""
    return "a number in quotes is read as a number"


def install_hyperparameter_encoding() -> None:
    """Have the base told what was meant; what it reads by itself stays as it is."""
    base = training.sagemaker_train

    @functools.wraps(base)
    def sagemaker_train(train_config: Dict[str, Any], *positional: Any, **named: Any) -> Any:
        known = hyperparameter_validation.initialize(metrics.initialize())
        plain = {name: _plain(known, name, value) for name, value in train_config.items()}
        return base(plain, *positional, **named)

    training.sagemaker_train = sagemaker_train


def _plain(known: Any, name: str, text: Any) -> Any:
    """The text that the base reads as what `text` writes; `text` itself where it reads that already, or nobody does."""
    hyperparameter = known.hyperparameters.get(known.aliases.get(name, name))
    try:
        value = decoded(text) if isinstance(text, str) else None
    except ValueError:
        return text
    lists_fail = isinstance(hyperparameter, kinds.TupleHyperparameter) and isinstance(value, list)  # in every xgboost
    if value is None or (hyperparameter is not None and _reads(hyperparameter, text) and not lists_fail):
        return text
    return _written(hyperparameter, value)


def _written(hyperparameter: Any, value: Any) -> str:
    """A decoded value as the base writes one of its kind."""
    if isinstance(hyperparameter, kinds.CommaSeparatedListHyperparameter) and isinstance(value, (str, list, tuple)):
        return ",".join(map(str, items(value)))
    if isinstance(hyperparameter, kinds.TupleHyperparameter) and isinstance(value, (list, tuple)):
        return str(tuple(value))
    if value in ("True", "False"):  # Python's; the base's are "true" and "false"
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


def _reads(hyperparameter: Any, text: str) -> bool:
    """Whether the base accepts `text`, the rules between hyperparameters apart."""
    try:
        hyperparameter.validate_range(hyperparameter.parse(text))
    except Exception:
        return False
    return True
