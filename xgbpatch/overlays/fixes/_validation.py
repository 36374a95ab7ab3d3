"""The base's check of the hyperparameters, which fixes make give way where the xgboost inside knows better."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Callable, Dict, Iterator, Mapping

from sagemaker_algorithm_toolkit import exceptions
from sagemaker_xgboost_container.algorithm_mode import hyperparameter_validation, metrics

Check = Callable[[Any, Dict[str, Any], Callable[[Mapping[str, Any]], Dict[str, Any]]], Dict[str, Any]]


def adapt(check: Check) -> None:
    """Have `check(hyperparameters, given, validate)` stand for the base's `validate(given)`.

    What `check` changes of the base's `hyperparameters` is gone after it, so that the next job is asked anew.
    """
    base = hyperparameter_validation.initialize

    @functools.wraps(base)
    def initialize(*positional: Any, **named: Any) -> Any:
        hyperparameters = base(*positional, **named)
        validate = hyperparameters.validate

        def validate_once(given: Dict[str, Any]) -> Dict[str, Any]:
            with _restored(hyperparameters.hyperparameters):
                return check(hyperparameters, given, validate)

        hyperparameters.validate = validate_once
        return hyperparameters

    hyperparameter_validation.initialize = initialize


@contextlib.contextmanager
def _restored(known: Dict[str, Any]) -> Iterator[None]:
    """Puts every hyperparameter of `known` back as it was."""
    kept = {name: (hyperparameter, dict(vars(hyperparameter))) for name, hyperparameter in known.items()}
    try:
        yield
    finally:
        known.clear()
        for name, (hyperparameter, attributes) in kept.items():
            vars(hyperparameter).clear()
            vars(hyperparameter).update(attributes)
            known[name] = hyperparameter


def appeal(hyperparameter: Any, method: str, ask: Callable[..., None]) -> Callable[..., None]:
    """Have `ask(refusal, *arguments)` decide where the base's `method` refuses a value of `hyperparameter`.

    It returns where the value is to pass, and raises what is to be said. Returns the base's method.
    """
    base: Callable[..., None] = getattr(hyperparameter, method)

    def decide(*arguments: Any) -> None:
        try:
            base(*arguments)
        except exceptions.UserError as refusal:
            ask(refusal, *arguments)

    setattr(hyperparameter, method, decide)
    return base


def left_to(base_refuses: Mapping[str, str]) -> str:
    """Why a fix is not needed, or an empty string: whether the base refuses a job with these hyperparameters."""
    try:
        hyperparameter_validation.initialize(metrics.initialize()).validate(dict(base_refuses))
    except exceptions.UserError:
        return ""
    except Exception as error:
        return "this base has its own answer ({}: {})".format(type(error).__name__, error)
    return "this base leaves it to its xgboost"
