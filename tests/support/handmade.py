"""Images made by hand and put into a registry by HTTP: no engine, and every byte of them is the test's own."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from support.layers import tar_of
from xgbpatch.oci import manifest
from xgbpatch.oci.manifest import Descriptor, Manifest
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services, copy
from xgbpatch.registry.blobs import HttpBlobs
from xgbpatch.registry.client import Registry, load_image


def services_on(cache: Path, registry: Registry | None = None) -> Services:
    """A services that stays anonymous."""
    client = registry or Registry(lambda reference: None, lambda seconds: None)
    return Services(client, lambda reference: HttpBlobs(reference, client.session), cache, Silent())


@dataclass(frozen=True)
class HandLayer:
    """A gzip-compressed tar."""

    plain: bytes
    level: int = 6

    @cached_property
    def blob(self) -> bytes:
        return gzip.compress(self.plain, self.level, mtime=0)

    @property
    def diff_id(self) -> str:
        return sha256(self.plain)


@dataclass(frozen=True)
class HandImage:
    """An image's parts, before any registry knows it."""

    layers: Sequence[HandLayer]
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    created: str = "2026-11-01T10:00:00Z"
    architecture: str = "amd64"

    @property
    def config(self) -> bytes:
        document = {
            "architecture": self.architecture,
            "os": "linux",
            "created": self.created,
            "config": {
                "Env": [f"{name}={value}" for name, value in self.environment.items()],
                "Labels": dict(self.labels),
                **self.settings,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
        }
        return json.dumps(document).encode()


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tar(files: Mapping[str, bytes]) -> HandLayer:
    """A layer with these files (path without the leading slash → content)."""
    return HandLayer(tar_of(sorted(files.items())))


def put(services: Services, reference: ImageReference, image: HandImage) -> ImageReference:
    """Put the image under the reference's tag; returns it with its digest."""
    blobs = services.blobs_of(reference)
    layers = [_blob(blobs, layer.blob, manifest.DOCKER_LAYER) for layer in image.layers]
    config = _blob(blobs, image.config, manifest.DOCKER_CONFIG)
    document = {
        "schemaVersion": 2,
        "mediaType": manifest.DOCKER_MANIFEST,
        "config": _entry(config),
        "layers": [_entry(layer) for layer in layers],
    }
    return services.registry.put_manifest(
        reference, Manifest(json.dumps(document, indent=3).encode(), manifest.DOCKER_MANIFEST)
    )


def forge(
    services: Services, image: ImageReference, change: Callable[[dict[str, Any]], object] = lambda config: None, *,
    layers: Sequence[HandLayer] | None = None, added: Sequence[HandLayer] = (),
) -> ImageReference:  # fmt: skip
    """Put the image's tag on one with another configuration, and `layers` in the place of its own, or `added` ones."""
    original = load_image(services.registry, image)
    document = json.loads(json.dumps(original.config))
    entries = list(original.manifest.document["layers"])
    if layers is not None:
        document["rootfs"]["diff_ids"], entries = [], []
    blobs = services.blobs_of(image)
    for layer in (*(layers or ()), *added):
        document["rootfs"]["diff_ids"].append(layer.diff_id)
        entries.append(_entry(_blob(blobs, layer.blob, manifest.DOCKER_LAYER)))
    change(document)
    config = _entry(_blob(blobs, json.dumps(document).encode(), manifest.DOCKER_CONFIG))
    content = {**original.manifest.document, "config": config, "layers": entries}
    forged = Manifest(json.dumps(content).encode(), original.manifest.media_type)
    return services.registry.put_manifest(image.with_tag(image.tag), forged)


def plain_layer(services: Services, image: ImageReference, position: int = -1) -> HandLayer:
    """A layer of an image in a registry."""
    digest = load_image(services.registry, image).layers[position].digest
    with services.blobs_of(image).opened(digest) as pieces:
        return HandLayer(gzip.decompress(b"".join(pieces)))


# By host and digest, a repository of this process's tests that has the blob: hundreds of tests put the same bases.
_REPOSITORIES: dict[tuple[str, str], ImageReference] = {}


def _blob(blobs: HttpBlobs, content: bytes, media_type: str) -> Descriptor:
    descriptor = Descriptor(sha256(content), media_type, len(content))
    key = (blobs.reference.host, descriptor.digest)
    earlier = _REPOSITORIES.setdefault(key, blobs.reference)
    if earlier.name == blobs.reference.name or not (
        type(blobs) is HttpBlobs and blobs.mount(descriptor.digest, earlier)
    ):
        copy.put(blobs, io.BytesIO(content), descriptor, Silent())
        _REPOSITORIES[key] = blobs.reference
    return descriptor


def _entry(descriptor: Descriptor) -> dict[str, object]:
    return {"mediaType": descriptor.media_type, "size": descriptor.size, "digest": descriptor.digest}
