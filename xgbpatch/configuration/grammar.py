"""What each setting may hold. Flags, variables and the file all pass through here, so they obey the same rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Formatter
from types import MappingProxyType
from typing import Any

from xgbpatch.catalogue import refuse_moving
from xgbpatch.configuration import shapes
from xgbpatch.configuration.environment import environment
from xgbpatch.configuration.requirement_lines import requirement, requirements_in
from xgbpatch.configuration.settings import Given, Settings, blamed_on
from xgbpatch.configuration.user_files import existing, replacements, user_files
from xgbpatch.errors import ConfigurationError
from xgbpatch.features import FEATURES
from xgbpatch.fixes import ALL, fix
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture
from xgbpatch.suggestion import choose_from

TAG_FIELDS = MappingProxyType({"version": "3.2-0", "base": "0" * 12, "spec": "0" * 8})  # with values of usual length
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d{1,2}")


def parse(given: Mapping[str, Given], folder: Path) -> Settings:
    """Check every value; relative paths start at `folder`. Raises `ConfigurationError` that names the origin."""
    values: dict[str, Any] = {}
    for key, item in given.items():
        with blamed_on(item.origin):
            values[key] = PARSERS[key](item.value, folder)
    return Settings(**values, origins={key: item.origin for key, item in given.items()})


def _version(value: Any, _: Path) -> str:
    version = shapes.text(value)
    refuse_moving(version)
    if not _VERSION.fullmatch(version):
        raise ConfigurationError(f'"{version}" cannot be a version', 'Versions look like "3.2-0": xgbpatch versions.')
    return version


def _region(value: Any, _: Path) -> str:
    region = shapes.text(value)
    if not _REGION.fullmatch(region):
        raise ConfigurationError(f'"{region}" is not a region', 'Regions look like "eu-central-1".')
    return region


def _architecture(value: Any, _: Path) -> Architecture:
    name, allowed = shapes.text(value), [architecture.value for architecture in Architecture]
    if name not in allowed:
        raise ConfigurationError(f'"{name}" is not an architecture', choose_from(name, allowed))
    return Architecture(name)


def _base_image(value: Any, _: Path) -> ImageReference:
    return ImageReference.parse(shapes.text(value))


def _features(value: Any, _: Path) -> tuple[str, ...]:
    names = shapes.texts(value)
    for name in names:
        if name not in FEATURES:
            raise ConfigurationError(f'"{name}" is not a feature', choose_from(name, tuple(FEATURES)))
    return names


def _fixes(value: Any, _: Path) -> tuple[str, ...]:
    names = shapes.texts(value)
    for name in names:
        if name != ALL:
            fix(name)
    return names


def _packages(value: Any, _: Path) -> tuple[str, ...]:
    return tuple(requirement(item) for item in shapes.texts(value))


def _requirements(value: Any, folder: Path) -> tuple[str, ...]:
    return requirements_in(existing(value, folder))


def _environment(value: Any, _: Path) -> Mapping[str, str]:
    return environment(value)


def _repository(value: Any, _: Path) -> str:
    reference = ImageReference.parse(shapes.text(value))
    if reference.host or reference.tag or reference.digest:
        raise ConfigurationError(
            f'"{value}" holds more than a repository: a registry, a tag or a digest',
            f'Write "{reference.repository}"; the registry is named when pushing.',
        )
    return reference.repository


def _tag_pattern(value: Any, _: Path) -> str:
    pattern = shapes.text(value)
    for name in _fields(pattern):
        if name not in TAG_FIELDS:
            raise ConfigurationError(f'"{{{name}}}" is not a field of a tag pattern', choose_from(name, TAG_FIELDS))
    _check_tag(pattern.format(**TAG_FIELDS), pattern)
    return pattern


def _fields(pattern: str) -> list[str]:
    try:
        pieces = list(Formatter().parse(pattern))
    except ValueError as error:
        raise ConfigurationError(f'"{pattern}" is not a tag pattern: {error}', _PATTERN_HELP) from error
    if any(format_spec or conversion for _, _, format_spec, conversion in pieces):
        raise ConfigurationError(f'"{pattern}" formats a field, which tag patterns cannot', _PATTERN_HELP)
    return [name for _, name, _, _ in pieces if name is not None]


_PATTERN_HELP = 'Write it as "{version}-{base}-{spec}".'


def _aliases(value: Any, _: Path) -> tuple[str, ...]:
    aliases = shapes.texts(value)
    for alias in aliases:
        _check_tag(alias, alias)
    return aliases


def _check_tag(tag: str, written: str) -> None:
    if not _TAG.fullmatch(tag):
        raise ConfigurationError(
            f'"{written}" does not make a valid tag',
            "Tags hold up to 128 letters, digits, dots, dashes and underscores, and start with a letter or digit.",
        )


PARSERS: Mapping[str, Callable[[Any, Path], Any]] = MappingProxyType({
    "version": _version,
    "region": _region,
    "architecture": _architecture,
    "base_image": _base_image,
    "features": _features,
    "fixes": _fixes,
    "packages": _packages,
    "requirements": _requirements,
    "files": user_files,
    "replace": replacements,
    "environment": _environment,
    "repository": _repository,
    "tag": _tag_pattern,
    "aliases": _aliases,
})  # fmt: skip
