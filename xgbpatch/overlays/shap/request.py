"""What a request asks of its explanation: headers to options."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple

MARGIN = "margin"
PROBABILITY = "probability"


@dataclass(frozen=True)
class ShapOptions:
    """How contributions are computed.

    `space` is MARGIN or PROBABILITY; `approximate` is xgboost's `approx_contribs`.
    """

    space: str = MARGIN
    approximate: bool = False
    interactions: bool = False


@dataclass(frozen=True)
class Explanation:
    """The contributions of n records, base value last, by F features.

    `values` is float32 (n, F + 1), or (n, K, F + 1) of K classes; `interactions`, where they were wished for, float32
    (n, F + 1, F + 1), or (n, K, F + 1, F + 1), else None; `names` are F texts.
    """

    values: Any
    names: Tuple[str, ...]
    interactions: Any = None


# What one request asks: items of a SageMaker header, or parameters of Accept, `shap=on;top_k=5`.


ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"  # SageMaker hands it through, both ways
SHAP_PROBABILITY = "shap-probability"
SWITCH = "shap"  # without it, nothing of a header is ours
SWITCHES = {"on": True, "off": False}


class BadOption(ValueError):
    """An option with a value that is not allowed; the message names both, and the values that are."""


@dataclass(frozen=True)
class ResponseOptions:
    """How an explanation is made and written.

    `top_k` None: all features (of the key `shap_top_k`: five); `interactions` None: where their key was selected;
    `header`: CSV begins with a line of names.
    """

    space: str = MARGIN
    approximate: bool = False
    interactions: Optional[bool] = None
    top_k: Optional[int] = None
    header: bool = False

    def wish(self, interactions: bool) -> ShapOptions:
        """What has to be computed for it."""
        return ShapOptions(self.space, self.approximate, interactions)

    def stated(self) -> str:
        """What a client may read about the values that it was sent, as items of ATTRIBUTES."""
        return "shap=on;space={};approximate={}".format(self.space, "on" if self.approximate else "off")


def of_request(attributes: Optional[str], accept: Optional[str]) -> Tuple[Optional[str], Dict[str, str]]:
    """(what the base is to see as Accept, the options of both headers; those of Accept count more).

    Options are there only beside `shap=`; the rest of either header is someone else's, and stays as it is.
    """
    accept, parameters = _of_accept(accept)
    return accept, dict(_of_attributes(attributes), **parameters)


def apply(options: Mapping[str, str], settings: Any) -> Optional[ResponseOptions]:
    """The manner of the settings with what `options` change, or None where they say `shap=off`; raises BadOption."""
    values = {name: READERS[name](name, text) for name, text in options.items()}
    explained = values.pop(SWITCH)
    manner = dataclasses.replace(settings.manner, **values)
    if manner.space == PROBABILITY and SHAP_PROBABILITY not in settings.features:
        raise BadOption(
            'space="probability" needs the feature {}, which this image does not carry (it carries: {})'.format(
                SHAP_PROBABILITY, ", ".join(sorted(settings.features))
            )
        )
    return manner if explained else None


def _of_attributes(header: Optional[str]) -> Dict[str, str]:
    if not header or SWITCH not in header.lower():
        return {}
    return _ours(header.split(";"))


def _of_accept(header: Optional[str]) -> Tuple[Optional[str], Dict[str, str]]:
    if not header or SWITCH not in header.lower():
        return header, {}
    ranges = [text.split(";") for text in header.split(",")]
    found = _ours(text for parts in ranges for text in parts[1:])
    if not found:
        return header, {}
    return ",".join(";".join(_stripped(parts)) for parts in ranges), found


def _switch(name: str, text: str) -> bool:
    return SWITCHES[_one_of(name, text, tuple(SWITCHES))]


def _space(name: str, text: str) -> str:
    return _one_of(name, text, (MARGIN, PROBABILITY))


def _count(name: str, text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise BadOption('{}="{}" is not allowed; allowed: a whole number above 0'.format(name, text))
    return int(text)


def _one_of(name: str, text: str, allowed: Tuple[str, ...]) -> str:
    if text.lower() not in allowed:
        raise BadOption('{}="{}" is not allowed; allowed: {}'.format(name, text, ", ".join(allowed)))
    return text.lower()


READERS: Mapping[str, Callable[[str, str], Any]] = {
    SWITCH: _switch,
    "top_k": _count,
    "interactions": _switch,
    "approximate": _switch,
    "space": _space,
    "header": _switch,
}


def _ours(texts: Iterable[str]) -> Dict[str, str]:
    found = dict(_item(text) for text in texts if _is_ours(text))
    return found if SWITCH in found else {}


def _is_ours(text: str) -> bool:
    return "=" in text and _item(text)[0] in READERS


def _item(text: str) -> Tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"').strip()


def _stripped(parts: List[str]) -> List[str]:
    return parts[:1] + [text for text in parts[1:] if not _is_ours(text)]
