"""The rows of `versions.toml`: what each stand-in version is made of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from xgbpatch.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class StandinVersion:
    """One version: its Python minor (`3.8`), where Python lies, and every distribution it holds (`name==version`).

    `venv` says that `prefix` is a virtual environment on /usr/bin, as in 3.2-0, and no interpreter of its own. `java`
    is the major version in the official image.
    """

    name: str
    python: str
    prefix: str
    venv: bool
    java: int
    packages: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    differences: tuple[str, ...]

    @property
    def site_packages(self) -> str:
        """The folder as the official image's facts write it; with `venv` that is through the link `lib64`."""
        return f"{self.prefix}/{'lib64' if self.venv else 'lib'}/python{self.python}/site-packages"

    @property
    def xgboost(self) -> str:
        """The version of xgboost."""
        return dict(pin.split("==") for pin in self.packages)["xgboost"]


def standin_version(name: str) -> StandinVersion:
    """The row of that name; raises `ConfigurationError` with the allowed names."""
    try:
        return VERSIONS[name]
    except KeyError:
        raise ConfigurationError(
            f'there is no stand-in base for version "{name}"', f"Choose one of {', '.join(VERSIONS)}."
        ) from None


_TABLE: Mapping[str, Any] = tomllib.loads(files(__package__).joinpath("versions.toml").read_text(encoding="utf-8"))
_COMMON = _TABLE["common"]
VERSIONS: Mapping[str, StandinVersion] = MappingProxyType({
    name: StandinVersion(
        name=name,
        python=row["python"],
        prefix=row["prefix"],
        venv=row.get("venv", False),
        java=row.get("java", 8),
        packages=tuple(row["packages"]),
        environment=MappingProxyType({**_COMMON["environment"], **row.get("environment", {})}),
        labels=MappingProxyType({**_COMMON["labels"], **row.get("labels", {})}),
        differences=(*_COMMON["differences"], *row.get("differences", ())),
    )
    for name, row in _TABLE["versions"].items()
})  # fmt: skip
# The Debian releases, and the packages beyond the minimum that the image takes from each.
SUITES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: tuple(packages) for name, packages in _TABLE["suites"].items()}
)
