"""Configuration and manifest of an image made without an engine: values in, bytes out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xgbpatch import manifest as manifests
from xgbpatch.manifest import DOCKER_CONFIG, DOCKER_MANIFEST, Descriptor, Manifest
from xgbpatch.remote.image import RemoteImage

_OF_A_CONTAINER = ("container", "container_config")  # what a builder's last container was, not what the image is


@dataclass(frozen=True)
class Addition:
    """What an image has beyond its base: layers by the digest of their uncompressed bytes, variables, labels, and the
    moment it says it was created (RFC 3339)."""

    diff_ids: Sequence[str]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    created: str


def patched(base: RemoteImage, addition: Addition) -> bytes:
    """The configuration of `base` with `addition`: variables in place, new ones behind, as a Dockerfile's ENV would.

    Everything else stands as the base has it; equal input gives equal bytes.
    """
    document: dict[str, Any] = {key: value for key, value in base.config.items() if key not in _OF_A_CONTAINER}
    section = dict(document.get("config") or {})
    section["Env"] = _environment(section.get("Env") or (), addition.environment)
    section["Labels"] = {**(section.get("Labels") or {}), **addition.labels}
    rootfs = {"type": "layers", "diff_ids": [*base.diff_ids, *addition.diff_ids]}
    document.update(config=section, created=addition.created, rootfs=rootfs)
    if document.get("history"):
        document["history"] = [*document["history"], *_history(addition)]
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def manifest(base: Manifest, config: Descriptor, added: Sequence[Descriptor]) -> Manifest:
    """A Docker schema 2 manifest of the base's layers and `added` ones; raises `RegistryError` where the base's layers
    are of a kind that SageMaker refuses."""
    layers = manifests.repaired(base).layers
    document = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": _entry(config),
        "layers": [_entry(layer) for layer in (*layers, *added)],
    }
    return Manifest(json.dumps(document, indent=3).encode(), DOCKER_MANIFEST)


def descriptor(config: bytes) -> Descriptor:
    """Of a configuration's bytes."""
    return Descriptor(manifests.digest_of(config), DOCKER_CONFIG, len(config))


def _environment(pairs: Sequence[str], added: Mapping[str, str]) -> list[str]:
    rest = dict(added)
    found = [f"{name}={rest.pop(name, value)}" for name, _, value in (pair.partition("=") for pair in pairs)]
    return [*found, *(f"{name}={value}" for name, value in sorted(rest.items()))]


def _history(addition: Addition) -> list[dict[str, str]]:
    """An entry a layer: a history that tells of fewer layers than there are is refused by some tools."""
    entry = {"created": addition.created, "created_by": "xgbpatch", "comment": "adds /opt/xgbpatch"}
    return [entry for _ in addition.diff_ids]


def _entry(found: Descriptor) -> dict[str, Any]:
    return {"mediaType": found.media_type, "size": found.size, "digest": found.digest}
