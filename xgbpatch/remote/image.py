"""An image as its registry holds it: manifest and configuration, read once and verified."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xgbpatch import provenance
from xgbpatch.errors import BaseImageError, RegistryError
from xgbpatch.manifest import Descriptor, Manifest, select
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Registry


@dataclass(frozen=True)
class RemoteImage:
    """`reference` carries the manifest's digest; `config` is the image's configuration document (OCI image-spec,
    config.md), as its builder wrote it."""

    reference: ImageReference
    manifest: Manifest
    config: Mapping[str, Any]

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """The blobs, base first."""
        return self.manifest.layers

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the uncompressed layers, base first."""
        return tuple((self.config.get("rootfs") or {}).get("diff_ids") or ())

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self._section.get("Env") or () if "=" in pair)

    @property
    def labels(self) -> dict[str, str]:
        return dict(self._section.get("Labels") or {})

    @property
    def created(self) -> str:
        """RFC 3339, or empty."""
        return str(self.config.get("created") or "")

    @property
    def architecture(self) -> str:
        return str(self.config.get("architecture") or "")

    @property
    def provenance(self) -> Provenance | None:
        """How xgbpatch made it, or None for an image of another maker."""
        return provenance.read(self.labels)

    @property
    def _section(self) -> Mapping[str, Any]:
        return self.config.get("config") or {}


def find(registry: Registry, reference: ImageReference, architecture: str = "amd64") -> RemoteImage | None:
    """The image under `reference`, or None where there is none; of an index the one for linux on `architecture`."""
    manifest = registry.find(reference)
    if manifest is not None and manifest.is_index:
        manifest = registry.manifest(reference.with_digest(select(manifest, architecture).digest))
    if manifest is None:
        return None
    return RemoteImage(reference.with_digest(manifest.digest), manifest, registry.config(reference, manifest))


def load(registry: Registry, reference: ImageReference, architecture: str = "amd64") -> RemoteImage:
    """As `find`; raises `RegistryError` where there is none."""
    found = find(registry, reference, architecture)
    if found is None:
        raise RegistryError(f'"{reference}" does not exist', "Check the repository, the tag and the region.")
    return found


def load_base(registry: Registry, reference: ImageReference, architecture: str) -> RemoteImage:
    """As `load`; raises `BaseImageError` where it is for another architecture, whatever its tag or digest promised."""
    found = load(registry, reference, architecture)
    if found.architecture != architecture:
        raise BaseImageError(
            f'"{reference}" is built for "{found.architecture}" and not for "{architecture}"',
            f"Pass --arch {found.architecture or 'ARCH'}, or name another image.",
        )
    return found
