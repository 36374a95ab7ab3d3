"""What a request asks of its explanation: headers to options, and how a refusal is worded.

The text of an error shows no path of the container, and nothing of a header as it came.
"""

from __future__ import annotations

import dataclasses
import html
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Tuple

MARGIN = "margin"
PROBABILITY = "probability"
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"  # SageMaker hands it through, both ways
SHAP_PROBABILITY = "shap-probability"
SWITCH = "shap"  # without it, nothing of a header is ours
SWITCHES = {"on": True, "off": False}
TEXT = "text/plain; charset=utf-8"  # of a refusal
_SHOWN = 60  # characters of a value
_DIGITS = 9
_FOLDERS = re.compile(r"(?<![\w.:/-])/(?:[^\s/'\"`,:;()<>\[\]]+/)+(?=[^\s/])")


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


def _count(name: str, text: str) -> int:
    number = count(text)
    if number is None:
        shown = quoted(text)
        raise BadOption("{}={} is not allowed; allowed: a whole number above 0".format(name, shown))
    return number


READERS: Mapping[str, Callable[[str, str], Any]] = {
    SWITCH: _switch,
    "top_k": _count,
    "interactions": _switch,
    "approximate": _switch,
    "space": _space,
    "header": _switch,
}


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
