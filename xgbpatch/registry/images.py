"""Images as they stand in a registry: manifest and configuration in one value."""

from __future__ import annotations

from xgbpatch.errors import BaseImageError, RegistryError
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import select
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry


def find_image(registry: Registry, reference: ImageReference, architecture: str = "amd64") -> RemoteImage | None:
    """The image under `reference`, or None where there is none; of an index the one for linux on `architecture`."""
    manifest = registry.find(reference)
    if manifest is not None and manifest.is_index:
        manifest = registry.manifest(reference.with_digest(select(manifest, architecture).digest))
    if manifest is None:
        return None
    return RemoteImage(reference.with_digest(manifest.digest), manifest, registry.config(reference, manifest))


def load_image(registry: Registry, reference: ImageReference, architecture: str = "amd64") -> RemoteImage:
    """As `find_image`; raises `RegistryError` where there is none."""
    found = find_image(registry, reference, architecture)
    if found is None:
        raise RegistryError(f'"{reference}" does not exist', "Check the repository, the tag and the region.")
    return found


def load_base(registry: Registry, reference: ImageReference, architecture: str) -> RemoteImage:
    """As `load_image`; raises `BaseImageError` where it is for another architecture, whatever its tag or digest
    promised."""
    found = load_image(registry, reference, architecture)
    if found.architecture != architecture:
        raise BaseImageError(
            f'"{reference}" is built for "{found.architecture}" and not for "{architecture}"',
            f"Pass --arch {found.architecture or 'ARCH'}, or name another image.",
        )
    return found
