"""What one place (flags, variables, a table of the file) says about an image, before the places are put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture, Replacement, UserFile

FILE_NAME = "xgbpatch.toml"


@dataclass(frozen=True)
class Given:
    """A value as it was written, and where: `--version`, `XGBPATCH_VERSION`, `"version" in [images.a] of "…"`."""

    value: Any
    origin: str


@dataclass(frozen=True)
class SpecSettings:
    """Checked values; None where a place is silent. Fields are named after the keys of `xgbpatch.toml`.

    `origins` tells for each field where its value was written.
    """

    version: str | None = None
    region: str | None = None
    architecture: Architecture | None = None
    base_image: ImageReference | None = None
    features: tuple[str, ...] | None = None
    fixes: tuple[str, ...] | None = None
    packages: tuple[str, ...] | None = None
    requirements: tuple[str, ...] | None = None
    files: tuple[UserFile, ...] | None = None
    replace: tuple[Replacement, ...] | None = None
    environment: Mapping[str, str] | None = None
    repository: str | None = None
    tag: str | None = None
    aliases: tuple[str, ...] | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def over(self, lower: SpecSettings) -> SpecSettings:
        """These settings where they speak, `lower` elsewhere; only `environment` is put together name by name."""
        merged = {key: getattr(self if getattr(self, key) is not None else lower, key) for key in KEYS}
        if self.environment is not None and lower.environment is not None:
            merged["environment"] = {**lower.environment, **self.environment}
        return SpecSettings(**merged, origins={**lower.origins, **self.origins})

    def origin(self, key: str) -> str:
        return self.origins.get(key, f'"{key}"')


KEYS = tuple(item.name for item in fields(SpecSettings) if item.name != "origins")


@dataclass(frozen=True)
class Flags:
    """The command line's image selection as text; None or empty where a flag was not given.

    `files` are `SRC[:TARGET]`, `environment` is `NAME=VALUE`, `features`, `fixes` and `aliases` may hold commas.
    """

    config: Path | None = None
    images: tuple[str, ...] = ()
    version: str | None = None
    region: str | None = None
    architecture: str | None = None
    base_image: str | None = None
    features: tuple[str, ...] = ()
    fixes: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    requirements: str | None = None
    files: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    repository: str | None = None
    tag: str | None = None
    aliases: tuple[str, ...] = ()


@contextmanager
def blamed_on(origin: str) -> Iterator[None]:
    """Put `origin` before the message of a `ConfigurationError` raised inside."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{origin}: {error.message}", error.next_step) from error
