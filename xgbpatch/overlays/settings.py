"""What is asked: by the variables of an image, one table that is read at start, by the headers of a request, and by the
text of a hyperparameter."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import html
import json
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Tuple


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


# What a request asks of its explanation, in its headers.


MARGIN = "margin"
PROBABILITY = "probability"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"  # SageMaker hands it through, both ways
SHAP_PROBABILITY = "shap-probability"
SWITCH = "shap"  # without it, nothing of a header is ours
SWITCHES = {"on": True, "off": False}


@dataclass(frozen=True)
class ShapOptions:
    """How contributions are computed; `space` is MARGIN or PROBABILITY, `approximate` xgboost's `approx_contribs`."""

    space: str = MARGIN
    approximate: bool = False
    interactions: bool = False


@dataclass(frozen=True)
class Explanation:
    """The contributions of n records, base value last, by F features.

    `values` is float32 (n, F + 1), or (n, K, F + 1) of K classes; `interactions`, where the options have them, float32
    (n, F + 1, F + 1), or (n, K, F + 1, F + 1), else None; `names` are F texts.
    """

    values: Any
    names: Tuple[str, ...]
    interactions: Any = None


class BadOption(ValueError):
    """An option with a value that is not allowed; the message names both, and the values that are."""


@dataclass(frozen=True)
class ResponseOptions:
    """How an explanation is made and written: items of ATTRIBUTES, or parameters of Accept, `shap=on;top_k=5`.

    `top_k` None: all features (of the key `shap_top_k`: five); `interactions` None: where their key was selected;
    `header`: CSV begins with a line of names.
    """

    space: str = MARGIN
    approximate: bool = False
    interactions: Optional[bool] = None
    top_k: Optional[int] = None
    header: bool = False

    def shap_options(self, interactions: bool) -> ShapOptions:
        """What has to be computed for it."""
        return ShapOptions(self.space, self.approximate, interactions)

    def attributes(self) -> str:
        """What a client may read about the values that it was sent, as items of ATTRIBUTES."""
        return "shap=on;space={};approximate={}".format(self.space, "on" if self.approximate else "off")


def of_request(attributes: Optional[str], accept: Optional[str]) -> Tuple[Optional[str], Dict[str, str]]:
    """(what the base is to see as Accept, the options of both headers; those of Accept count more).

    Options are there only beside `shap=`; the rest of either header is someone else's, and stays as it is.
    """
    options = _options((attributes or "").split(";"))
    ranges = [text.split(";") for text in (accept or "").split(",")]
    of_accept = _options(text for parts in ranges for text in parts[1:])
    if of_accept:
        others = (parts[:1] + [text for text in parts[1:] if _item(text)[0] not in READERS] for parts in ranges)
        accept = ",".join(";".join(parts) for parts in others)
    return accept, dict(options, **of_accept)


def apply(options: Mapping[str, str], settings: Any) -> Optional[ResponseOptions]:
    """Those of the settings with what `options` change, or None where they say `shap=off`; raises BadOption."""
    values = {name: READERS[name](name, text) for name, text in options.items()}
    explained = values.pop(SWITCH)
    response_options = dataclasses.replace(settings.response_options, **values)
    if response_options.space == PROBABILITY and SHAP_PROBABILITY not in settings.features:
        raise BadOption(
            'space="probability" needs the feature {}, which this image does not carry (it carries: {})'.format(
                SHAP_PROBABILITY, ", ".join(sorted(settings.features))
            )
        )
    return response_options if explained else None


def _options(texts: Iterable[str]) -> Dict[str, str]:
    options = {name: value for name, value in map(_item, texts) if name in READERS}
    return options if SWITCH in options else {}


def _item(text: str) -> Tuple[str, str]:
    """(name, value) of `name=value`; of any other text an empty name."""
    name, equals, value = text.partition("=")
    return name.strip().lower() if equals else "", value.strip().strip('"').strip()


def _switch(name: str, text: str) -> bool:
    return SWITCHES[_one_of(name, text, tuple(SWITCHES))]


def _space(name: str, text: str) -> str:
    return _one_of(name, text, (MARGIN, PROBABILITY))


def _one_of(name: str, text: str, allowed: Tuple[str, ...]) -> str:
    if text.lower() not in allowed:
        allowed_values = ", ".join(allowed)
        raise BadOption("{}={} is not allowed; allowed: {}".format(name, quoted(text), allowed_values))
    return text.lower()


def _whole(name: str, text: str) -> int:
    number = count(text)
    if number is None:
        shown = quoted(text)
        raise BadOption("{}={} is not allowed; allowed: a whole number above 0".format(name, shown))
    return number


READERS: Mapping[str, Callable[[str, str], Any]] = {
    SWITCH: _switch,
    "top_k": _whole,
    "interactions": _switch,
    "approximate": _switch,
    "space": _space,
    "header": _switch,
}


# How a refusal is worded: its text shows no path of the container, and nothing of a header as it came.


TEXT = "text/plain; charset=utf-8"  # of a refusal
_SHOWN = 60  # characters of a value
_DIGITS = 9
_FOLDERS = re.compile(r"(?<![\w.:/-])/(?:[^\s/'\"`,:;()<>\[\]]+/)+(?=[^\s/])")


def quoted(value: str) -> str:
    """The beginning of `value` in double quotes, as printable ASCII without markup."""
    shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "..."
    return '"{}"'.format(html.escape(ascii(shown)[1:-1], quote=False))


def without_folders(text: str) -> str:
    """`text` with the file names of its absolute paths alone."""
    return _FOLDERS.sub("", text)


def count(text: str) -> Optional[int]:
    """The whole number above 0 that `text` writes, or None; of more digits than any use has, None too."""
    number = int(text) if text.isdecimal() and len(text) <= _DIGITS else 0
    return number or None


# The text of a hyperparameter as SDKs write it: as it is, as JSON, or as Python's `str` of a value.


_MARKS = ("[", "(", "{", '"', "'")
_DEEPEST = 4  # of JSON within JSON


def decoded(text: str) -> Any:
    """What `text` writes where it begins with a bracket or a quote: a list, a tuple, a dict or a text; else `text`.

    `"a,b"` in quotes is the text a,b; `["a"]` and `['a']` are lists. Spaces around it are no part of it. Raises
    ValueError for a text that begins so and is neither JSON nor Python.
    """
    value: Any = text.strip()
    for _ in range(_DEEPEST):
        if not (isinstance(value, str) and value.startswith(_MARKS)):
            break
        value = _literal(value)
        value = value.strip() if isinstance(value, str) else value
    return value


def items(value: Any) -> List[Any]:
    """The items of a decoded list or comma list, without the spaces and the quotes around them; raises ValueError."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, str):
        raise ValueError("it is no list")
    parts = [part.strip() for part in value.split(",")]
    return [part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" else part for part in parts]


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except Exception as error:  # a dozen kinds, MemoryError among them
        raise ValueError("it is neither JSON nor a value of Python") from error
