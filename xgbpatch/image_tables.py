"""AWS's table of registries and tags, twice: as it ships with xgbpatch, and as an installed sagemaker-core has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.resources import files
from typing import Any, Protocol

from packaging.version import Version

from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture

SDK = "sagemaker-core"
SCOPES = {Architecture.AMD64: "training", Architecture.ARM64: "inference_graviton"}  # training and inference agree
REFUSED = ("1", "latest")


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
        kept = [entry["registries"] for version, entry in entries.items() if version not in REFUSED]
        return tuple(sorted({region for registries in kept for region in registries}))

    def uri(self, version: str, region: str, architecture: Architecture) -> ImageReference:
        text = self.image_uris.retrieve("xgboost", region, version=version, image_scope=SCOPES[architecture])
        return ImageReference.parse(text)

    def _entries(self, architecture: Architecture) -> Mapping[str, Any]:
        entries: Mapping[str, Any] = self.image_uris.config_for_framework("xgboost")[SCOPES[architecture]]["versions"]
        return entries


def newest(shipped: ShippedTable) -> ImageTable:
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
