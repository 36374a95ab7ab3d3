"""The shapes that a raw value may have, before anything is known about its meaning."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from xgbpatch.errors import ConfigurationError
from xgbpatch.suggestion import choose_from

_NAMES = {bool: "true or false", str: "text", int: "a number", float: "a number", list: "a list", dict: "a table"}


def text(value: Any) -> str:
    """Raises `ConfigurationError` for anything but text that says something."""
    if not isinstance(value, str):
        raise ConfigurationError(f"must be text, not {_shape(value)}", f'Write it in quotes: "{value}".')
    if not value.strip():
        raise ConfigurationError("must not be empty", "Name a value, or leave it out.")
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts; what stands in it twice counts once."""
    if not isinstance(value, list):
        raise ConfigurationError(f"must be a list of texts, not {_shape(value)}", 'Write it as ["one", "two"].')
    return tuple(dict.fromkeys(text(item) for item in value))


def table(value: Any, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """A table that has all of `required` and nothing beyond `optional`."""
    if not isinstance(value, dict):
        raise ConfigurationError(f"must be a table, not {_shape(value)}")
    allowed = (*required, *optional)
    for key in value:
        if key not in allowed:
            raise ConfigurationError(f'"{key}" is not a key here', choose_from(key, allowed))
    for key in required:
        if key not in value:
            raise ConfigurationError(f'"{key}" is missing', f"Every entry needs {', '.join(required)}.")
    return value


def tables(value: Any, required: Collection[str], optional: Collection[str] = ()) -> list[dict[str, Any]]:
    """An array of tables, as `[[files]]` writes it."""
    if not isinstance(value, list):
        raise ConfigurationError(f"must be an array of tables, not {_shape(value)}", "Write it with double brackets.")
    return [table(entry, required, optional) for entry in value]


def _shape(value: Any) -> str:
    return _NAMES.get(type(value), type(value).__name__)
