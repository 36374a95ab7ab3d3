"""Image manifests as values: what SageMaker accepts, what is wrong with one, and its repair. Reads and sends nothing.

SageMaker has refused OCI manifests ("Unsupported manifest media type", amazon-sagemaker-feedback issue 180, mlflow
issue 13834), which a Docker Engine with containerd's image store writes (moby pull request 51532). The two formats
differ in media types only: configuration and layers are the same bytes under the same digests, so a manifest can be
written anew without moving a layer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from xgbpatch.errors import RegistryError
from xgbpatch.oci import document

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MEDIA_TYPES = (DOCKER_MANIFEST, OCI_MANIFEST, DOCKER_INDEX, OCI_INDEX)

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_ENTRY = {
    "digest": str, "mediaType": str, "size": int, "artifactType": str, "platform": {"os": str, "architecture": str},
}  # fmt: skip
_SHAPE = {"mediaType": str, "config": _ENTRY, "layers": [_ENTRY], "manifests": [_ENTRY]}
_INDEXES = frozenset({DOCKER_INDEX, OCI_INDEX})
_DOCKER_TWIN = {OCI_CONFIG: DOCKER_CONFIG, OCI_LAYER: DOCKER_LAYER}


@dataclass(frozen=True)
class Descriptor:
    """What a registry says of a stored object: `sha256:…`, media type, size in bytes."""

    digest: str
    media_type: str
    size: int

    @classmethod
    def parse(cls, entry: Any, owner: str) -> Descriptor:
        """Of an entry of a JSON document; raises `RegistryError`, which says what its `owner` does without."""
        document: Any = entry or {}
        descriptor = cls(document.get("digest"), document.get("mediaType"), document.get("size"))
        if not (
            is_digest(descriptor.digest)
            and type(descriptor.media_type) is str
            and type(descriptor.size) is int
            and descriptor.size >= 0
        ):
            raise RegistryError(f"{owner} without digest, type or size")
        return descriptor

    @property
    def document(self) -> dict[str, Any]:
        """As a manifest writes it."""
        return {"mediaType": self.media_type, "size": self.size, "digest": self.digest}


@dataclass(frozen=True)
class Manifest:
    """A manifest or index exactly as a registry stores it; its bytes are its identity."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    @property
    def descriptor(self) -> Descriptor:
        """Of these bytes. Without a media type from the registry it is the one that the manifest gives itself."""
        return Descriptor(self.digest, self.media_type or str(self.document.get("mediaType") or ""), len(self.content))

    @property
    def is_index(self) -> bool:
        return self.media_type in _INDEXES

    @cached_property
    def document(self) -> Mapping[str, Any]:
        """The JSON object; raises `RegistryError` where the bytes hold none that is a manifest or an index."""
        return document.parse(self.content, f'manifest "{self.digest}"', _SHAPE)

    @property
    def config(self) -> Descriptor:
        """Of the image's configuration; its digest is the image ID that the classic engine shows."""
        return _descriptor(self, self.document.get("config"))

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """Base first."""
        return tuple(_descriptor(self, layer) for layer in self.document.get("layers") or ())


def is_digest(text: object) -> bool:
    """Whether it is a `sha256:…`; no registry that holds an image of SageMaker's uses another algorithm."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def digest_of(content: bytes) -> str:
    """`sha256:…` of any stored object."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def complaints(manifest: Manifest) -> tuple[str, ...]:
    """What SageMaker would refuse in `manifest`, in words; empty when it is a Docker schema 2 image manifest."""
    if manifest.is_index:
        return (f'it is an index ("{manifest.media_type}") and not one image',)
    complaints = [_complaint("manifest", manifest.media_type, DOCKER_MANIFEST)]
    declared = manifest.document.get("mediaType")
    if declared != manifest.media_type:
        complaints.append(f'the manifest calls itself "{declared}" and was stored as "{manifest.media_type}"')
    complaints.append(_complaint("configuration", manifest.config.media_type, DOCKER_CONFIG))
    complaints += sorted({_complaint("layer", layer.media_type, DOCKER_LAYER) for layer in manifest.layers})
    return tuple(complaint for complaint in complaints if complaint)


def repaired(manifest: Manifest) -> Manifest:
    """The same image as a Docker schema 2 manifest; annotations go, since that format has no place for them.

    Raises `RegistryError` for an index and for layers that are not gzip: their bytes would have to change.
    """
    if manifest.is_index:
        raise RegistryError(
            f'"{manifest.digest}" is an index and cannot become one image\'s manifest',
            "Build for a single platform and without attestations (--provenance=false where BuildKit builds).",
        )
    layers = [_twin(layer, DOCKER_LAYER) for layer in manifest.layers]
    return docker_manifest(_twin(manifest.config, DOCKER_CONFIG), layers)


def docker_manifest(config: Descriptor, layers: Iterable[Descriptor]) -> Manifest:
    """A Docker schema 2 image manifest."""
    content = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": config.document,
        "layers": [layer.document for layer in layers],
    }
    return Manifest(json.dumps(content, indent=3).encode(), DOCKER_MANIFEST)


def select(index: Manifest, architecture: str) -> Descriptor:
    """The image for linux on `architecture` in an index; raises `RegistryError` naming the platforms it has."""
    entries = index.document.get("manifests") or ()
    platforms = {_platform(entry): entry for entry in reversed(entries)}
    if f"linux/{architecture}" not in platforms:
        raise RegistryError(
            f'index "{index.digest}" holds no image for "linux/{architecture}"',
            f"It holds: {', '.join(sorted(platforms)) or 'nothing'}.",
        )
    return _descriptor(index, platforms[f"linux/{architecture}"])


def _platform(entry: Mapping[str, Any]) -> str:
    platform = entry.get("platform") or {}
    return f"{platform.get('os', 'unknown')}/{platform.get('architecture', 'unknown')}"


def _descriptor(manifest: Manifest, entry: Any) -> Descriptor:
    return Descriptor.parse(entry, f'manifest "{manifest.digest}" has a descriptor')


def _complaint(what: str, actual: str, expected: str) -> str:
    return "" if actual == expected else f'the {what} is "{actual}" and not "{expected}"'


def _twin(descriptor: Descriptor, media_type: str) -> Descriptor:
    if _DOCKER_TWIN.get(descriptor.media_type, descriptor.media_type) != media_type:
        raise RegistryError(
            f'"{descriptor.digest}" is "{descriptor.media_type}", which cannot become "{media_type}"',
            "SageMaker takes gzip layers only: build and push with gzip compression.",
        )
    return replace(descriptor, media_type=media_type)
