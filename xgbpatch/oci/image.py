"""An image as a value, manifest and configuration; and the configuration of a patched one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
_OF_A_BUILDER = frozenset({  # of `config`: what the builder's last container was, or what is compared by itself
    "Env", "Labels", "Image", "Hostname", "Domainname", "AttachStdin", "AttachStdout", "AttachStderr", "Tty",
    "OpenStdin", "StdinOnce", "ArgsEscaped",
})  # fmt: skip
_PLATFORM = ("architecture", "os", "variant", "os.version", "os.features")


@dataclass(frozen=True)
class ImageSummary:
    """What an image is, wherever it lies. `layers` are diff IDs, base first; `settings` are all else that decides how
    it runs (Cmd, User, Healthcheck, OnBuild, …, and its platform), empty ones left out."""

    layers: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    settings: Mapping[str, Any]

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> ImageSummary:
        """Of a configuration document (OCI image-spec, config.md)."""
        section = document.get("config") or {}
        settings = {name: value for name, value in section.items() if name not in _OF_A_BUILDER}
        settings.update({name: document.get(name) for name in _PLATFORM})
        for part in (document, section):  # to an engine, which Go decodes for, "Config" is "config" too
            letters = Counter(map(str.casefold, part))
            settings.update({f"{name} twice": True for name in part if letters[name.casefold()] > 1})
        entries = [(entry, *entry.partition("=")) for entry in section.get("Env") or ()]
        counts = Counter(name for _, name, _, _ in entries)
        # which of two values holds is for each program to say, and so is what an entry without "=" means
        settings["Env"] = [entry for entry, name, equals, _ in entries if not equals or counts[name] > 1]
        return cls(
            layers=tuple((document.get("rootfs") or {}).get("diff_ids") or ()),
            environment={name: value for _, name, equals, value in entries if equals},
            labels=dict(section.get("Labels") or {}),
            settings={name: value for name, value in settings.items() if value},
        )

    def differences(
        self, base: ImageSummary, environment: Mapping[str, str], labels: Mapping[str, str]
    ) -> Iterator[str]:
        """Every way in which this image is not `base` with those variables and labels, in words; layers may be more."""
        if self.layers[: len(base.layers)] != base.layers:
            yield "the base's layers are not the first layers of the image"
        for what, own, expected in (
            ("variable", self.environment, {**base.environment, **environment}),
            ("label", self.labels, {**base.labels, **labels}),
            ("setting", self.settings, base.settings),
        ):
            for name in sorted({*own, *expected}):
                if name not in expected:
                    yield f'{what} "{name}" is "{own[name]}", and nobody asked for it'
                elif own.get(name) != expected[name]:
                    yield f'{what} "{name}" is "{own.get(name)}" instead of "{expected[name]}"'

    def is_configured_as(self, other: ImageSummary) -> bool:
        """Whether all but the layers is the same, whenever and by which xgbpatch each was made."""
        same = (self.environment, self.settings) == (other.environment, other.settings)
        return same and provenance.equal(self.labels, other.labels)


@dataclass(frozen=True)
class RemoteImage:
    """`reference` carries the manifest's digest; `config` is the image's configuration document (OCI image-spec,
    config.md), as its builder wrote it."""

    reference: ImageReference
    manifest: Manifest
    config: Mapping[str, Any]

    @property
    def summary(self) -> ImageSummary:
        return ImageSummary.of_document(self.config)

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
