"""PEP 508 requirements, one by one and from a requirements file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from xgbpatch.errors import ConfigurationError

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_OPTION = re.compile(r"(?:^|\s)(-{1,2}[A-Za-z][\w-]*)")


def requirement(written: str) -> str:
    """`written` as PEP 508 spells it; raises `ConfigurationError` that quotes what is wrong with it."""
    try:
        return str(Requirement(written))
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(
            f'"{written}" is not a requirement: {reason}', 'Write it as pip does: "shap", "shap==0.46.0", "shap>=0.44".'
        ) from error


def requirements_in(path: Path) -> tuple[str, ...]:
    """The requirements of a file in pip's format, without its options.

    Options (`-r`, `--hash`, `--index-url`…) are refused by line rather than dropped: what they promise would not hold.
    """
    return tuple(dict.fromkeys(_checked(path, number, line) for number, line in _lines(_read(path))))


def _checked(path: Path, number: int, line: str) -> str:
    option = _OPTION.search(line)
    if option:
        raise ConfigurationError(
            f'line {number} of "{path}" holds the option "{option[1]}"',
            "List plain requirements only; xgbpatch resolves them for the base and pins each wheel by its hash.",
        )
    try:
        return requirement(line)
    except ConfigurationError as error:
        raise ConfigurationError(f'line {number} of "{path}": {error.message}', error.next_step) from error


def _lines(content: str) -> Iterator[tuple[int, str]]:
    """Logical lines with the number of their first line: a backslash at the end continues a line."""
    begun, collected = 0, ""
    for number, line in enumerate(content.splitlines(), 1):
        begun = begun or number
        collected += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        yield from _meaningful(begun, collected)
        begun, collected = 0, ""
    yield from _meaningful(begun, collected)


def _meaningful(number: int, line: str) -> Iterator[tuple[int, str]]:
    bare = _COMMENT.sub("", line).strip()
    if bare:
        yield number, bare


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'cannot read "{path}" as a requirements file: {error}') from error
