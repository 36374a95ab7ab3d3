"""Artifacts that point to an image: OCI manifests with a `subject` (OCI image and distribution specifications 1.1).

A registry that knows the referrers API keeps the list by itself. For any other (distribution 2.8 is one) the list is
kept by its clients: an index under the tag `sha256-<digest of the image>`, the specification's referrers tag schema.
That tag is read, extended, put and looked at again; no registry offers a conditional PUT, so of two clients that
extend it within the same moment the later may still win. The artifact itself is never lost by that.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xgbpatch.errors import RegistryError
from xgbpatch.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest, digest_of
from xgbpatch.progress import Silent
from xgbpatch.reference import ImageReference
from xgbpatch.registry import copy
from xgbpatch.registry.blobs import BlobStore
from xgbpatch.registry.client import Registry, require_status
from xgbpatch.registry.http import RegistryRequest

_EMPTY = b"{}"  # what the specification prescribes where an artifact has no configuration
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_UNKNOWN_API = frozenset({400, 404, 405, 501})
_TRIES = 5
_LARGEST = 64 << 20  # bytes of an artifact that is read into memory


@dataclass(frozen=True)
class Artifact:
    """What is attached: `kind` is its artifact type, `media_type` that of its bytes. Equal artifacts are one."""

    kind: str
    media_type: str
    content: bytes = field(repr=False)
    annotations: Mapping[str, str] = field(default_factory=dict)


def attach(registry: Registry, blobs: BlobStore, subject: ImageReference, artifact: Artifact) -> Descriptor:
    """Attach `artifact` to the image that `subject` names by digest; what is attached already is not sent again.

    Returns the descriptor of the artifact's manifest. Raises `RegistryError` and `AwsError`.
    """
    image = registry.find(subject.pinned)  # read: what a HEAD says of its size is an intermediary's word
    if image is None:
        raise RegistryError(f'"{subject}" does not exist, so nothing can be attached to it')
    if not image.descriptor.media_type:
        raise RegistryError(f'the registry does not tell what kind of manifest "{subject}" is')
    manifest = _manifest(image.descriptor, artifact)
    place = subject.pinned.with_digest(manifest.digest)
    if registry.head(place) is None:
        for content, layer in ((artifact.content, manifest.layers[0]), (_EMPTY, manifest.config)):
            copy.put(blobs, io.BytesIO(content), layer, Silent())
        registry.put_manifest(place, manifest)
    if _listed_by_api(registry, subject) is None:
        entry = {**manifest.descriptor.document, "artifactType": artifact.kind, **_annotations(artifact)}
        _keep_listed(registry, subject, entry)
    return manifest.descriptor


def attached(registry: Registry, subject: ImageReference, artifact_type: str) -> tuple[Descriptor, ...]:
    """The manifests of that type which point to the image `subject` names by digest, in the registry's order."""
    listed = _listed_by_api(registry, subject)
    entries = _tagged(registry, subject) if listed is None else listed
    matching = [entry for entry in entries if entry.get("artifactType") == artifact_type]
    return tuple(Descriptor.parse(entry, "the registry lists an attached artifact") for entry in matching)


def read(registry: Registry, blobs: BlobStore, descriptor: Descriptor) -> bytes:
    """The bytes of an artifact that `attached` listed, verified."""
    manifest = registry.manifest(blobs.reference.with_digest(descriptor.digest))
    if not manifest.layers:
        raise RegistryError(f'artifact "{descriptor.digest}" holds nothing')
    layer, content = manifest.layers[0], b""
    if layer.size > _LARGEST:
        raise RegistryError(f'artifact "{descriptor.digest}" has {layer.size} bytes, more than {_LARGEST >> 20} MiB')
    with blobs.opened(layer.digest) as pieces:
        for piece in pieces:
            content += piece
            if len(content) > layer.size:
                break
    if digest_of(content) != layer.digest:
        raise RegistryError(f'the registry sent wrong bytes for artifact "{descriptor.digest}"', "Try again.")
    return content


def fallback(subject: ImageReference) -> ImageReference:
    """The tag under which clients keep the list where the registry does not (referrers tag schema)."""
    return subject.with_tag(subject.pinned.digest.replace(":", "-"))


def _manifest(subject: Descriptor, artifact: Artifact) -> Manifest:
    """Without a date, so that the same bytes are the same artifact."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact.kind,
        "config": {"mediaType": _EMPTY_TYPE, "digest": digest_of(_EMPTY), "size": len(_EMPTY)},
        "layers": [Descriptor(digest_of(artifact.content), artifact.media_type, len(artifact.content)).document],
        "subject": subject.document,
        **_annotations(artifact),
    }
    return Manifest(json.dumps(document, indent=2, sort_keys=True).encode(), OCI_MANIFEST)


def _listed_by_api(registry: Registry, subject: ImageReference) -> list[Mapping[str, Any]] | None:
    """What the referrers API lists, or None where the registry has none."""
    entries: list[Mapping[str, Any]] = []
    path, visited = f"referrers/{subject.pinned.digest}", set[str]()
    while path and path not in visited:
        visited.add(path)
        answer = registry.session.send(RegistryRequest(subject, "GET", path, {"Accept": OCI_INDEX}))
        if answer.status in _UNKNOWN_API and not entries:
            return None
        require_status(answer, (200,), f'list what is attached to "{subject}"')
        entries += _entries(Manifest(answer.body, OCI_INDEX))
        path = answer.next_page
    return entries


def _tagged(registry: Registry, subject: ImageReference) -> list[Mapping[str, Any]]:
    index = registry.find(fallback(subject))
    if index is not None and not index.is_index:
        raise RegistryError(
            f'the tag "{fallback(subject)}" is no list of what is attached to the image', "Remove that tag."
        )
    return _entries(index) if index else []


def _keep_listed(registry: Registry, subject: ImageReference, entry: Mapping[str, Any]) -> None:
    for _ in range(_TRIES):
        listed = _tagged(registry, subject)
        if any(other.get("digest") == entry["digest"] for other in listed):
            return
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*listed, entry]}
        index = Manifest(json.dumps(document, indent=2, sort_keys=True).encode(), OCI_INDEX)
        registry.put_manifest(fallback(subject), index)
    if not any(other.get("digest") == entry["digest"] for other in _tagged(registry, subject)):
        raise RegistryError(f'the tag "{fallback(subject)}" was changed by others at each try', "Try again.")


def _entries(index: Manifest) -> list[Mapping[str, Any]]:
    return list(index.document.get("manifests") or ())


def _annotations(artifact: Artifact) -> dict[str, Any]:
    return {"annotations": dict(artifact.annotations)} if artifact.annotations else {}
