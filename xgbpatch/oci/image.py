"""An image as a value, manifest and configuration; and the configuration of a patched one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xgbpatch import provenance
from xgbpatch.oci import manifest as oci_manifest
from xgbpatch.oci.manifest import DOCKER_CONFIG, Descriptor, Manifest
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference

CONFIGURATION: Mapping[str, Any] = {  # what is used of a configuration document (OCI image-spec, config.md)
    "architecture": str,
    "created": str,
    "config": {"Env": [str], "Labels": {"*": str}, "WorkingDir": str},
    "rootfs": {"diff_ids": [str]},
    "history": [dict],
}


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


# Configuration and manifest of an image made without an engine: values in, bytes out.


_OF_A_CONTAINER = ("container", "container_config")  # what a builder's last container was, not what the image is


def patched_config(
    base: RemoteImage,
    *,
    diff_ids: Sequence[str],
    environment: Mapping[str, str],
    labels: Mapping[str, str],
    created: str,
) -> bytes:
    """The configuration of `base` with more layers (by the digest of their uncompressed bytes), variables and labels,
    `created` at another moment (RFC 3339). Variables change in place, new ones come behind, as with a Dockerfile's ENV.

    Everything else stands as the base has it; equal input gives equal bytes.
    """
    document: dict[str, Any] = {key: value for key, value in base.config.items() if key not in _OF_A_CONTAINER}
    section = dict(document.get("config") or {})
    added = dict(environment)
    pairs = [pair.partition("=") for pair in section.get("Env") or ()]
    section["Env"] = [f"{name}={added.pop(name, value)}" for name, _, value in pairs]
    section["Env"] += [f"{name}={value}" for name, value in sorted(added.items())]
    section["Labels"] = {**(section.get("Labels") or {}), **labels}
    rootfs = {"type": "layers", "diff_ids": [*base.diff_ids, *diff_ids]}
    document.update(config=section, created=created, rootfs=rootfs)
    if document.get("history"):  # an entry a layer: one that tells of fewer layers is refused by some tools
        entry = {"created": created, "created_by": "xgbpatch", "comment": "adds /opt/xgbpatch"}
        document["history"] = [*document["history"], *(entry for _ in diff_ids)]
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def patched_manifest(base: Manifest, config: bytes, added: Sequence[Descriptor]) -> Manifest:
    """A Docker schema 2 manifest of a configuration, the base's layers and `added` ones; raises `RegistryError` where
    the base's layers are of a kind that SageMaker refuses."""
    descriptor = Descriptor(oci_manifest.digest_of(config), DOCKER_CONFIG, len(config))
    return oci_manifest.docker_manifest(descriptor, (*oci_manifest.repaired(base).layers, *added))
