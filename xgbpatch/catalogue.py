"""The official images: versions, regions and URIs, from the shipped table or a newer one of AWS's SDK."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol

from packaging.version import InvalidVersion, Version

from xgbpatch.errors import ConfigurationError
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture
from xgbpatch.util import did_you_mean, load_data

if TYPE_CHECKING:
    from xgbpatch.provenance import Provenance

SDK = "sagemaker-core"
SCOPES = {Architecture.AMD64: "training", Architecture.ARM64: "inference_graviton"}  # training and inference agree
REFUSED = ("1", "latest")
NOTICE = datetime.timedelta(days=90)


class ImageTable(Protocol):
    """Which images AWS publishes. `uri` expects a version and a region that the table holds."""

    @property
    def source(self) -> str: ...

    def versions(self, architecture: Architecture) -> tuple[str, ...]: ...

    def regions(self) -> tuple[str, ...]: ...

    def uri(self, version: str, region: str, architecture: Architecture) -> ImageReference: ...


@dataclass(frozen=True)
class ShippedTable:
    """`data/registries.json`: host by region, and repository and tag by scope and version."""

    sdk_version: str
    hosts: Mapping[str, str]
    images: Mapping[str, Mapping[str, Mapping[str, str]]]

    @classmethod
    def load(cls) -> ShippedTable:
        """Written by `scripts/registries`."""
        text = (files("xgbpatch") / "data" / "registries.json").read_text(encoding="utf-8")
        document = json.loads(text)
        return cls(document[SDK], document["hosts"], document["images"])

    @property
    def source(self) -> str:
        return f"shipped table of {SDK} {self.sdk_version}"

    def versions(self, architecture: Architecture) -> tuple[str, ...]:
        return tuple(self.images[SCOPES[architecture]])

    def regions(self) -> tuple[str, ...]:
        return tuple(self.hosts)

    def uri(self, version: str, region: str, architecture: Architecture) -> ImageReference:
        image = self.images[SCOPES[architecture]][version]
        return ImageReference(self.hosts[region], image["repository"], image["tag"])


@dataclass(frozen=True)
class SdkTable:
    """The table of an installed SDK. `load` takes about two seconds: the SDK imports pandas and scipy."""

    sdk_version: str
    image_uris: Any  # the module `sagemaker.core.image_uris`, which carries no types

    @classmethod
    def load(cls, sdk_version: str) -> SdkTable:
        """Raises `ImportError` where the SDK is installed but broken."""
        from sagemaker.core import image_uris

        return cls(sdk_version, image_uris)

    @property
    def source(self) -> str:
        return f"{SDK} {self.sdk_version}"

    def versions(self, architecture: Architecture) -> tuple[str, ...]:
        return tuple(version for version in self._entries(architecture) if version not in REFUSED)

    def regions(self) -> tuple[str, ...]:
        entries = self._entries(Architecture.AMD64)
        offered = [entry["registries"] for version, entry in entries.items() if version not in REFUSED]
        return tuple(sorted({region for registries in offered for region in registries}))

    def uri(self, version: str, region: str, architecture: Architecture) -> ImageReference:
        text = self.image_uris.retrieve("xgboost", region, version=version, image_scope=SCOPES[architecture])
        return ImageReference.parse(text)

    def _entries(self, architecture: Architecture) -> Mapping[str, Any]:
        entries: Mapping[str, Any] = self.image_uris.config_for_framework("xgboost")[SCOPES[architecture]]["versions"]
        return entries


def newest_table(shipped: ShippedTable) -> ImageTable:
    """The SDK's table where an SDK newer than the shipped table is installed and works, else the shipped one."""
    installed = _installed_sdk()
    if not installed or Version(installed) <= Version(shipped.sdk_version):
        return shipped
    try:
        return SdkTable.load(installed)
    except ImportError:  # an optional extra that is broken must not cost the command its result
        return shipped


def _installed_sdk() -> str | None:
    try:
        return metadata.version(SDK)
    except metadata.PackageNotFoundError:
        return None


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
    published = {architecture: table.versions(architecture) for architecture in Architecture}
    return tuple(
        VersionInfo(
            version=version,
            architectures=tuple(one for one in Architecture if version in published[one]),
            **described.get(version, {}),
        )
        for version in published[Architecture.AMD64]
    )


def image_uri(version: str, region: str, architecture: Architecture = Architecture.AMD64) -> ImageReference:
    """The official image by tag; raises `ConfigurationError` with the allowed values and the nearest match."""
    check_version(version, architecture)
    check_region(region)
    return _table().uri(version, region, architecture)


def xgboost_of(version: str, provenance: Provenance | None) -> Version | None:
    """The xgboost of an image: as its labels say, else as that version of the official image holds it."""
    pins = dict(package.split("==", 1) for package in (provenance.base_packages if provenance else ()))
    try:
        return Version(pins.get("xgboost") or _descriptions().get(version, {}).get("xgboost") or "")
    except InvalidVersion:
        return None


def check_version(version: str, architecture: Architecture = Architecture.AMD64) -> None:
    """Raise `ConfigurationError` for a version that AWS does not publish for `architecture`, or that is a trap."""
    refuse_moving(version)
    known, published = _table().versions(Architecture.AMD64), _table().versions(architecture)
    if version not in known:
        raise ConfigurationError(
            f'"{version}" is not a version of the SageMaker XGBoost image', did_you_mean(version, known)
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
            f'"{region}" is not a region with SageMaker XGBoost images', did_you_mean(region, regions())
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
    return newest_table(ShippedTable.load())


@cache
def _descriptions() -> Mapping[str, Any]:
    return load_data("versions.toml")
