"""The environment variables of the overlays: one table, read once, checked before anything is served."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import FrozenSet, Mapping, Optional, Tuple


class SettingsError(ValueError):
    """A variable that cannot be accepted; the message names it, its value and what would be accepted."""


@dataclass(frozen=True)
class Variable:
    """One variable: the values it takes (empty: free text, checked by its reader) and what each does."""

    name: str
    allowed: Tuple[str, ...]
    default: str
    meaning: str


FEATURES = Variable(
    "XGBPATCH_FEATURES",
    (),
    "",
    "Features this image carries, comma-separated. Baked by the build; not for users.",
)
SHAP_LAYOUT = Variable(
    "XGBPATCH_SHAP_LAYOUT",
    ("off", "append"),
    "off",
    "append: base value and one SHAP value a feature follow the prediction of each record. Needs the feature shap.",
)
SHAP_SECONDS = Variable(
    "XGBPATCH_SHAP_SECONDS",
    (),
    "50",
    "Seconds that the SHAP values of one request may take, by an estimate made when the model is loaded; "
    "a request above it is refused (413) with the number of records that fit. SageMaker ends a request after 60.",
)
ENGINE = Variable(
    "XGBPATCH_ENGINE",
    ("booster", "auto", "daal4py"),
    "booster",
    "booster: xgboost predicts. daal4py: oneDAL predicts where it was proved bit for bit equal. auto: the same, where "
    "it was also measured to be faster. Needs the feature daal4py, which sets it to auto.",
)
VARIABLES = (FEATURES, SHAP_LAYOUT, SHAP_SECONDS, ENGINE)


@dataclass(frozen=True)
class Settings:
    """What the environment asks for; `engine` is None where XGBPATCH_ENGINE is not set."""

    features: FrozenSet[str]
    shap: bool
    shap_seconds: float
    engine: Optional[str]

    @property
    def active(self) -> bool:
        """Whether anything of the base has to be hooked."""
        return self.shap or self.engine is not None

    @property
    def accelerated(self) -> bool:
        return self.engine in ("auto", "daal4py")


def read(environment: Mapping[str, str]) -> Settings:
    """The settings of this process; raises SettingsError on a bad value or a feature that the image does not carry."""
    features = frozenset(name.strip() for name in environment.get(FEATURES.name, "").split(",") if name.strip())
    shap = _choice(environment, SHAP_LAYOUT) == "append"
    engine = _choice(environment, ENGINE)
    settings = Settings(features, shap, _seconds(environment), engine)
    if settings.shap:
        _require("shap", SHAP_LAYOUT, settings)
    if settings.accelerated:
        _require("daal4py", ENGINE, settings)
    return settings


def _choice(environment: Mapping[str, str], variable: Variable):
    value = environment.get(variable.name, "").strip().lower()
    if value and value not in variable.allowed:
        nearest = difflib.get_close_matches(value, variable.allowed, 1)
        hint = '; did you mean "{}"?'.format(nearest[0]) if nearest else ""
        raise SettingsError(
            '{}="{}" is not known; allowed: {}{}'.format(variable.name, value, ", ".join(variable.allowed), hint)
        )
    return value or None


def _seconds(environment: Mapping[str, str]):
    text = environment.get(SHAP_SECONDS.name, "").strip() or SHAP_SECONDS.default
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SettingsError('{}="{}" is not a number of seconds above 0'.format(SHAP_SECONDS.name, text))
    return seconds


def _require(feature: str, variable: Variable, settings: Settings):
    if feature not in settings.features:
        raise SettingsError(
            "{} asks for a feature that this image does not carry (it carries: {}); build it with --feature {}".format(
                variable.name, ", ".join(sorted(settings.features)) or "none", feature
            )
        )
