"""JSON of others: held to a size, a depth and types before anything else sees it.

What passes can be walked, written again and put into an address or a message: it is no deeper than `DEEPEST`, its texts
are text (JSON can spell halves of characters), its numbers are numbers, and no name of an object stands twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from xgbpatch.errors import RegistryError

LARGEST = 8 << 20  # bytes; distribution's own limit for a manifest is 4 MiB
DEEPEST = 64  # documents of OCI have 5 levels
_MOST_DIGITS = 18  # a number of bytes; Python refuses to read those of thousands
STRANGER = "See what answers there: a login page, a proxy, or a builder that wrote something else."


def parse(content: bytes, what: str, shape: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object in `content`; raises `RegistryError`, which begins with `what` it is, for anything else.

    `shape` has types by name: a type, a list of one shape (any number of such values), a dict (names of an object, each
    of which may be missing or null, as Go writes them), or `{"*": shape}` (an object with any names; objects
    may be null).
    """
    if len(content) > LARGEST:
        raise RegistryError(f"{what} has more than {LARGEST >> 20} MiB", STRANGER)
    try:
        document = json.loads(
            content, parse_int=_integer, parse_float=_float, parse_constant=_float, object_pairs_hook=_object
        )
        _require_plain(document)
    except (ValueError, RecursionError) as error:  # the second one: deeper than Python reads
        raise RegistryError(f"{what} is not JSON: {error}", STRANGER) from error
    if not isinstance(document, dict):
        raise RegistryError(f"{what} is not a JSON object", STRANGER)
    wrong = next(_misfits(document, shape or {}), "")
    if wrong:
        raise RegistryError(f'{what} is not of its kind, by "{wrong}"', STRANGER)
    return document


def _misfits(value: Any, shape: Any, path: str = "") -> Iterator[str]:
    """Where `value` is not of that shape."""
    if isinstance(shape, type):
        if type(value) is not shape:
            yield path
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield path
            return
        for item in value:
            yield from _misfits(item, shape[0], path)
    elif not isinstance(value, dict):
        yield path
    elif "*" in shape:
        for item in value.values():
            if item is not None or not isinstance(shape["*"], dict):
                yield from _misfits(item, shape["*"], path)
    else:
        for name in shape:
            if value.get(name) is not None:
                yield from _misfits(value[name], shape[name], f"{path}.{name}" if path else name)


def _require_plain(document: Any) -> None:
    """Raises `ValueError` for what is too deep, or holds a text that is none."""
    level = [document]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, str):
                value.encode()
            elif isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
        if not below:
            return
        level = below
    raise ValueError(f"it is deeper than {DEEPEST} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that stands twice each reader takes what it likes: Python the last value, Go both, put together."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice in it")
    return document


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no number")
    return number
