"""Which way a registry is spoken to: ECR by its own calls, any other by the HTTP API."""

from __future__ import annotations

from collections.abc import Callable

from xgbpatch.aws import EcrLayers, NewImage
from xgbpatch.errors import RegistryError
from xgbpatch.keychain import Keychain
from xgbpatch.manifest import Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Registry
from xgbpatch.remote.blobs import Blobs
from xgbpatch.remote.ecr_blobs import EcrBlobs
from xgbpatch.remote.http_blobs import HttpBlobs


def registry_of(keychain: Keychain) -> Registry:
    """The HTTP API, with `PutImage` in the place of its PUT where a manifest goes to ECR."""
    return _EcrAwareRegistry(keychain)


def blob_doors(registry: Registry, keychain: Keychain) -> Callable[[ImageReference], Blobs]:
    """Blobs by repository; connections and authorizations are the registry's."""

    def blobs_of(reference: ImageReference) -> Blobs:
        layers = _layers(keychain, reference)
        return EcrBlobs(reference, layers, registry.session) if layers else HttpBlobs(reference, registry.session)

    return blobs_of


def _layers(keychain: Keychain, reference: ImageReference) -> EcrLayers | None:
    door = keychain.amazon(reference)
    return door.layers(reference.ecr.account, reference.repository) if door and reference.ecr else None


class _EcrAwareRegistry(Registry):
    def __init__(self, keychain: Keychain) -> None:
        super().__init__(keychain)
        self._keychain = keychain

    def put_manifest(self, reference: ImageReference, manifest: Manifest) -> ImageReference:
        """As everywhere; raises `AwsError` too, and `RegistryError` for an immutable tag that is taken."""
        layers = _layers(self._keychain, reference)
        if layers is None:
            return super().put_manifest(reference, manifest)
        if not layers.put(NewImage(manifest.content, manifest.media_type, manifest.digest, reference.tag)):
            raise RegistryError(
                f'"{reference.name}:{reference.tag}" is another image already, and the tags of this repository are '
                "immutable",
                "Choose another tag.",
            )
        return reference.with_digest(manifest.digest)
