"""The variables of an image: one table, read once and checked at start."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import FrozenSet, Mapping, Optional, Sequence, Tuple

from .shap.request import PROBABILITY, SHAP_PROBABILITY, ResponseOptions, count, quoted


@dataclass(frozen=True)
class Variable:
    """One variable: the values it takes (empty: free text, checked by its reader) and what each does."""

    name: str
    allowed: Tuple[str, ...]
    default: str
    meaning: str


FEATURES = Variable(
    "XGBPATCH_FEATURES", (), "", "Features this image carries, comma-separated. Baked by the build; not for users."
)
FIXES = Variable(
    "XGBPATCH_FIXES", (), "", "Fixes this image carries, comma-separated. Baked by the build; not for users."
)
BASE = Variable(
    "XGBPATCH_BASE",
    (),
    "",
    "The base this image was built from, by tag and digest. Baked with the feature training; not for users.",
)
RELEASE = Variable(
    "XGBPATCH_RELEASE",
    (),
    "",
    "The xgbpatch this image was built with. Baked with the feature training; not for users.",
)
SHAP_LAYOUT = Variable(
    "XGBPATCH_SHAP_LAYOUT",
    ("off", "append"),
    "off",
    "append: base value and one SHAP value a feature follow the prediction of each record. Needs the feature shap.",
)
SHAP_HEADER = Variable(
    "XGBPATCH_SHAP_HEADER",
    ("off", "on"),
    "off",
    "on: an explained CSV response begins with a line that names its columns; never in batch transform, where a line "
    "is a record. Needs the feature shap.",
)
SHAP_TOP_K = Variable(
    "XGBPATCH_SHAP_TOP_K",
    (),
    "",
    "How many features an explanation names, the strongest by |value| first. Without it, append writes the values of "
    "all features, and the key shap_top_k five. Needs the feature shap.",
)
SHAP_SPACE = Variable(
    "XGBPATCH_SHAP_SPACE",
    ("margin", "probability"),
    "margin",
    "margin: values add up to the margin. probability: to the prediction, against the background rows that stand "
    "beside the model. Needs the feature shap; probability needs shap-probability too.",
)
SHAP_APPROXIMATE = Variable(
    "XGBPATCH_SHAP_APPROXIMATE",
    ("off", "on"),
    "off",
    "on: xgboost's approximate contributions (Saabas) in the place of exact tree SHAP. Needs the feature shap.",
)
SHAP_SECONDS = Variable(
    "XGBPATCH_SHAP_SECONDS",
    (),
    "50",
    "Seconds that computing and writing the SHAP values of one request may take, by an estimate; a request "
    "above it is refused (413) with the number of records that fit. SageMaker ends a request after 60.",
)
SHAP_MEGABYTES = Variable(
    "XGBPATCH_SHAP_MEGABYTES",
    (),
    "",
    "MiB that an explained response may have, 6 without it and 100 in batch transform, as SageMaker's own limits; a "
    "larger one is refused (413) with the number of records that fit.",
)
ENGINE = Variable(
    "XGBPATCH_ENGINE",
    ("booster", "native", "auto", "daal4py"),
    "booster",
    "booster: xgboost predicts. native: the library of xgbpatch predicts where it was proved bit for bit equal. "
    "daal4py: the same by oneDAL. auto: oneDAL, where it was also measured to be faster. The last two need the feature "
    "daal4py, which sets it to auto.",
)
VARIABLES = (
    *(FEATURES, FIXES, BASE, RELEASE),
    *(SHAP_LAYOUT, SHAP_HEADER, SHAP_TOP_K, SHAP_SPACE, SHAP_APPROXIMATE, SHAP_SECONDS, SHAP_MEGABYTES),
    ENGINE,
)
SHAP = "shap"
TRAINING = "training"
JSON_INPUT = "json-input"
FAST = "fast"
REQUEST_MEGABYTES = 6
BATCH_MEGABYTES = 100
MOST = 1e9  # seconds or MiB that a variable may name


class SettingsError(ValueError):
    """A variable that cannot be accepted; the message names it, its value and what would be accepted."""


@dataclass(frozen=True)
class Settings:
    """What the environment asks for; `engine` is None where XGBPATCH_ENGINE is not set.

    `shap` is the layout append for every response, `response_options` are those of a request that names none.
    """

    features: FrozenSet[str]
    fixes: Tuple[str, ...]
    shap: bool
    shap_seconds: float
    shap_bytes: int
    response_options: ResponseOptions
    engine: Optional[str]

    @property
    def active(self) -> bool:
        """Whether anything of the base has to be hooked."""
        return self.predicts or self.reads_json

    @property
    def predicts(self) -> bool:
        """Whether prediction has to be hooked."""
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
    def reads_json(self) -> bool:
        """Whether requests may be JSON."""
        return JSON_INPUT in self.features

    @property
    def fast(self) -> bool:
        """Whether the lean server serves single models."""
        return FAST in self.features

    @property
    def accelerated(self) -> bool:
        """Whether another engine than xgboost may predict."""
        return self.engine in ("native", "auto", "daal4py")


def read(environment: Mapping[str, str]) -> Settings:
    """The settings of this process; raises SettingsError on a bad value or a feature that the image does not carry."""
    megabytes = BATCH_MEGABYTES if environment.get("SAGEMAKER_BATCH") else REQUEST_MEGABYTES
    settings = Settings(
        features=frozenset(_names(environment, FEATURES)),
        fixes=_names(environment, FIXES),
        shap=_choice(environment, SHAP_LAYOUT) == "append",
        shap_seconds=_number(environment, SHAP_SECONDS, 50.0),
        shap_bytes=int(_number(environment, SHAP_MEGABYTES, megabytes) * 1024**2),
        response_options=ResponseOptions(
            space=_choice(environment, SHAP_SPACE) or SHAP_SPACE.default,
            approximate=_choice(environment, SHAP_APPROXIMATE) == "on",
            top_k=_count(environment, SHAP_TOP_K),
            header=_choice(environment, SHAP_HEADER) == "on",
        ),
        engine=_choice(environment, ENGINE),
    )
    options = settings.response_options
    needs = (
        (SHAP, SHAP_LAYOUT, settings.shap),
        (SHAP, SHAP_HEADER, options.header),
        (SHAP, SHAP_TOP_K, options.top_k is not None),
        (SHAP, SHAP_APPROXIMATE, options.approximate),
        (SHAP, SHAP_SPACE, options.space == PROBABILITY),
        (SHAP_PROBABILITY, SHAP_SPACE, options.space == PROBABILITY),
        ("daal4py", ENGINE, settings.engine in ("auto", "daal4py")),
    )
    for feature, variable, needed in needs:
        if needed and feature not in settings.features:
            carried = ", ".join(sorted(settings.features)) or "none"
            raise SettingsError(
                "{} asks for a feature that this image does not carry (it carries: {}); build it with "
                "--feature {}".format(variable.name, carried, feature)
            )
    return settings


def did_you_mean(text: str, known: Sequence[str]) -> str:
    """The end of a refusal of `text`, where one of `known` is like it."""
    nearest = difflib.get_close_matches(text, known, 1)
    return '; did you mean "{}"?'.format(nearest[0]) if nearest else ""


def _names(environment: Mapping[str, str], variable: Variable) -> Tuple[str, ...]:
    return tuple(name.strip() for name in environment.get(variable.name, "").split(",") if name.strip())


def _choice(environment: Mapping[str, str], variable: Variable) -> Optional[str]:
    value = environment.get(variable.name, "").strip().lower()
    if value and value not in variable.allowed:
        allowed = ", ".join(variable.allowed) + did_you_mean(value, variable.allowed)
        raise SettingsError('{}="{}" is not known; allowed: {}'.format(variable.name, value, allowed))
    return value or None


def _number(environment: Mapping[str, str], variable: Variable, default: float) -> float:
    text = environment.get(variable.name, "").strip() or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= MOST:
        unit, shown = variable.name.rpartition("_")[2].lower(), quoted(text)
        raise SettingsError("{}={} is not a number of {} above 0".format(variable.name, shown, unit))
    return number


def _count(environment: Mapping[str, str], variable: Variable) -> Optional[int]:
    text = environment.get(variable.name, "").strip()
    if not text:
        return None
    number = count(text)
    if number is None:
        raise SettingsError("{}={} is not a whole number above 0".format(variable.name, quoted(text)))
    return number
