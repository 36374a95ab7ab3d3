"""The official images: which versions and regions there are, where each lies, and what it is expected to hold."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from xgbpatch import toml
from xgbpatch.errors import ConfigurationError
from xgbpatch.image_tables import REFUSED, ImageTable, ShippedTable, newest
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture
from xgbpatch.suggestion import choose_from

NOTICE = datetime.timedelta(days=90)


class Support(Enum):
    """Whether AWS patches a version. `ENDING` begins `NOTICE` before the last day; `UNKNOWN`: AWS names no date."""

    PATCHED = "patched"
    ENDING = "ending"
    ENDED = "ended"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class VersionInfo:
    """What a version is expected to hold; empty strings where it is newer than this xgbpatch.

    `end_of_patch` is the last day AWS patches it, None where AWS names none. Expectations only: facts come from
    inspecting the image.
    """

    version: str
    python: str = ""
    xgboost: str = ""
    glibc: str = ""
    end_of_patch: datetime.date | None = None
    note: str = ""
    architectures: tuple[Architecture, ...] = (Architecture.AMD64,)

    def support(self, today: datetime.date) -> Support:
        """Where `today` stands towards the end of patches."""
        if self.end_of_patch is None:
            return Support.UNKNOWN
        if self.end_of_patch < today:
            return Support.ENDED
        return Support.ENDING if self.end_of_patch - today <= NOTICE else Support.PATCHED


def source() -> str:
    """Where the table of images comes from, for people."""
    return _table().source


def regions() -> tuple[str, ...]:
    """Every region with a registry, of all partitions, sorted."""
    return _table().regions()


def versions() -> tuple[VersionInfo, ...]:
    """Every version, oldest first."""
    table, described = _table(), _descriptions()
    return tuple(_info(version, table, described) for version in table.versions(Architecture.AMD64))


def image_uri(version: str, region: str, architecture: Architecture = Architecture.AMD64) -> ImageReference:
    """The official image by tag; raises `ConfigurationError` with the allowed values and the nearest match."""
    check_version(version, architecture)
    check_region(region)
    return _table().uri(version, region, architecture)


def check_version(version: str, architecture: Architecture = Architecture.AMD64) -> None:
    """Raise `ConfigurationError` for a version that AWS does not publish for `architecture`, or that is a trap."""
    refuse_moving(version)
    known, published = _table().versions(Architecture.AMD64), _table().versions(architecture)
    if version not in known:
        raise ConfigurationError(
            f'"{version}" is not a version of the SageMaker XGBoost image', choose_from(version, known)
        )
    if version not in published:
        raise ConfigurationError(
            f'AWS publishes no {architecture.value} image of version "{version}"',
            f"Versions for {architecture.value}: {', '.join(published)}.",
        )


def check_region(region: str) -> None:
    """Raise `ConfigurationError` for a region without a registry of SageMaker XGBoost images."""
    if region not in regions():
        raise ConfigurationError(
            f'"{region}" is not a region with SageMaker XGBoost images', choose_from(region, regions())
        )


def refuse_moving(version: str) -> None:
    """Raise `ConfigurationError` for `1` and `latest`: SageMaker's oldest image (sagemaker-python-sdk issue 1838)."""
    if version in REFUSED:
        raise ConfigurationError(
            f'version "{version}" is refused: in SageMaker it names the oldest image (XGBoost 0.72), not the newest',
            f"Name one of: {', '.join(_table().versions(Architecture.AMD64))}.",
        )


@cache
def _table() -> ImageTable:
    return newest(ShippedTable.load())


@cache
def _descriptions() -> Mapping[str, Any]:
    return toml.shipped("versions.toml")


def _info(version: str, table: ImageTable, described: Mapping[str, Any]) -> VersionInfo:
    built_for = tuple(architecture for architecture in Architecture if version in table.versions(architecture))
    return VersionInfo(version=version, architectures=built_for, **described.get(version, {}))
