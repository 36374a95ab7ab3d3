"""The text of a hyperparameter as SDKs write it: as it is, as JSON, or as Python's `str` of a value."""

from __future__ import annotations

import ast
import json
from typing import Any, List

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
        value = _value(value)
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


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except Exception as error:  # a dozen kinds, MemoryError among them
        raise ValueError("it is neither JSON nor a value of Python") from error
