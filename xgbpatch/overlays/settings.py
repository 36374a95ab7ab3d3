"""What the environment asks of the overlays: read once, checked before anything is served."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import FrozenSet, Mapping, Optional, Tuple

from .explanation import PROBABILITY
from .request_options import SHAP_PROBABILITY, Manner
from .variables import (
    ENGINE,
    FEATURES,
    FIXES,
    SHAP_APPROXIMATE,
    SHAP_HEADER,
    SHAP_LAYOUT,
    SHAP_MEGABYTES,
    SHAP_SECONDS,
    SHAP_SPACE,
    SHAP_TOP_K,
    VARIABLES,
    Variable,
)

__all__ = ["VARIABLES", "Settings", "SettingsError", "read"]

SHAP = "shap"
TRAINING = "training"
REQUEST_MEGABYTES = 6
BATCH_MEGABYTES = 100


class SettingsError(ValueError):
    """A variable that cannot be accepted; the message names it, its value and what would be accepted."""


@dataclass(frozen=True)
class Settings:
    """What the environment asks for; `engine` is None where XGBPATCH_ENGINE is not set.

    `shap` is the layout append for every response, `manner` how an explanation is made where a request does not say.
    """

    features: FrozenSet[str]
    fixes: Tuple[str, ...]
    shap: bool
    shap_seconds: float
    shap_bytes: int
    manner: Manner
    engine: Optional[str]

    @property
    def active(self) -> bool:
        """Whether anything of the base has to be hooked."""
        return self.explains or self.engine is not None

    @property
    def explains(self) -> bool:
        """Whether a request may ask for SHAP values."""
        return SHAP in self.features

    @property
    def guarded(self) -> bool:
        """Whether a model of a newer xgboost is refused."""
        return TRAINING in self.features

    @property
    def accelerated(self) -> bool:
        return self.engine in ("auto", "daal4py")


def read(environment: Mapping[str, str]) -> Settings:
    """The settings of this process; raises SettingsError on a bad value or a feature that the image does not carry."""
    settings = Settings(
        features=frozenset(_names(environment, FEATURES)),
        fixes=_names(environment, FIXES),
        shap=_choice(environment, SHAP_LAYOUT) == "append",
        shap_seconds=_number(environment, SHAP_SECONDS, 50.0),
        shap_bytes=int(_number(environment, SHAP_MEGABYTES, _megabytes(environment)) * 1024**2),
        manner=_manner(environment),
        engine=_choice(environment, ENGINE),
    )
    _check_features(settings)
    return settings


def _manner(environment: Mapping[str, str]) -> Manner:
    return Manner(
        space=_choice(environment, SHAP_SPACE) or SHAP_SPACE.default,
        approximate=_choice(environment, SHAP_APPROXIMATE) == "on",
        top_k=_count(environment, SHAP_TOP_K),
        header=_choice(environment, SHAP_HEADER) == "on",
    )


def _check_features(settings: Settings) -> None:
    needs = (
        (SHAP, SHAP_LAYOUT, settings.shap),
        (SHAP, SHAP_HEADER, settings.manner.header),
        (SHAP, SHAP_TOP_K, settings.manner.top_k is not None),
        (SHAP, SHAP_APPROXIMATE, settings.manner.approximate),
        (SHAP, SHAP_SPACE, settings.manner.space == PROBABILITY),
        (SHAP_PROBABILITY, SHAP_SPACE, settings.manner.space == PROBABILITY),
        ("daal4py", ENGINE, settings.accelerated),
    )
    for feature, variable, asked in needs:
        if asked and feature not in settings.features:
            carried = ", ".join(sorted(settings.features)) or "none"
            raise SettingsError(
                "{} asks for a feature that this image does not carry (it carries: {}); build it with "
                "--feature {}".format(variable.name, carried, feature)
            )


def _names(environment: Mapping[str, str], variable: Variable) -> Tuple[str, ...]:
    return tuple(name.strip() for name in environment.get(variable.name, "").split(",") if name.strip())


def _choice(environment: Mapping[str, str], variable: Variable) -> Optional[str]:
    value = environment.get(variable.name, "").strip().lower()
    if value and value not in variable.allowed:
        nearest = difflib.get_close_matches(value, variable.allowed, 1)
        hint = '; did you mean "{}"?'.format(nearest[0]) if nearest else ""
        raise SettingsError(
            '{}="{}" is not known; allowed: {}{}'.format(variable.name, value, ", ".join(variable.allowed), hint)
        )
    return value or None


def _number(environment: Mapping[str, str], variable: Variable, default: float) -> float:
    text = environment.get(variable.name, "").strip() or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        unit = variable.name.rpartition("_")[2].lower()
        raise SettingsError('{}="{}" is not a number of {} above 0'.format(variable.name, text, unit))
    return number


def _count(environment: Mapping[str, str], variable: Variable) -> Optional[int]:
    text = environment.get(variable.name, "").strip()
    if not text:
        return None
    if not (text.isdecimal() and int(text) > 0):
        raise SettingsError('{}="{}" is not a whole number above 0'.format(variable.name, text))
    return int(text)


def _megabytes(environment: Mapping[str, str]) -> float:
    return BATCH_MEGABYTES if environment.get("SAGEMAKER_BATCH") else REQUEST_MEGABYTES
