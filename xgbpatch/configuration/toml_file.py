"""Reading `xgbpatch.toml`: defaults at the top, and a table for each image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xgbpatch import toml
from xgbpatch.configuration.grammar import parse
from xgbpatch.configuration.settings import KEYS, Given, Settings, blamed_on
from xgbpatch.errors import ConfigurationError
from xgbpatch.suggestion import choose_from

_IMAGES = "images"
_IMAGE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class TomlFile:
    """The settings for every image, and those of each image by name, in the file's order."""

    path: Path
    defaults: Settings
    images: Mapping[str, Settings]


def read(path: Path) -> TomlFile:
    """Read and check the whole file; raises `ConfigurationError` that names file, table and key."""
    document = _document(path)
    images = document.pop(_IMAGES, {})
    if not isinstance(images, dict):
        raise ConfigurationError(f'"{_IMAGES}" of "{path}" must be a table', "Write a table per image: [images.NAME].")
    defaults = _settings(document, path, "", (*KEYS, _IMAGES))
    return TomlFile(path, defaults, {name: _image(name, table, path) for name, table in images.items()})


def _document(path: Path) -> dict[str, Any]:
    try:
        return dict(toml.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigurationError(f'there is no configuration file "{path}"', "`xgbpatch init` writes one.") from error
    except toml.TOMLDecodeError as error:
        raise ConfigurationError(
            f'"{path}" is not TOML: {error}', "https://toml.io shows how it is written."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'cannot read "{path}": {error}') from error


def _image(name: str, table: Any, path: Path) -> Settings:
    with blamed_on(f'[{_IMAGES}.{name}] of "{path}"'):
        if not _IMAGE_NAME.fullmatch(name):
            raise ConfigurationError(
                f'"{name}" is not a name for an image', "Use small letters, digits, dashes and underscores."
            )
        if not isinstance(table, dict):
            raise ConfigurationError("must be a table", f"Write settings below [{_IMAGES}.{name}].")
    return _settings(table, path, f"[{_IMAGES}.{name}]", KEYS)


def _settings(table: Mapping[str, Any], path: Path, heading: str, allowed: tuple[str, ...]) -> Settings:
    place = f'{heading} of "{path}"' if heading else f'"{path}"'
    for key in table:
        if key not in allowed:
            raise ConfigurationError(f'"{key}" in {place} is not a setting', choose_from(key, allowed))
    return parse({key: Given(value, f'"{key}" in {place}') for key, value in table.items()}, path.parent)
