"""From a spec to its base, pinned: a tag becomes a digest at once, and all that follows uses the digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xgbpatch import catalogue
from xgbpatch.errors import BaseImageError, ConfigurationError
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Architecture, Spec

if TYPE_CHECKING:
    from xgbpatch.engine.client import Engine
    from xgbpatch.engine.types import LocalImage
    from xgbpatch.registry.client import Registry


@dataclass(frozen=True)
class Base:
    """The base of an image. `reference` carries the tag it was found under and its digest.

    The digest is that of the image's manifest in its registry, never of an index; where `reference` has no host, it is
    the image ID in the local engine.
    """

    reference: ImageReference
    version: str
    architecture: Architecture


def resolve(spec: Spec, registry: Registry | None, engine: Engine | None = None) -> Base:
    """The base that `spec` names; only the registry is asked, nothing is pulled.

    A base image without a registry host is looked up in `engine`, and needs no `registry`.
    Raises `BaseImageError` where there is no such image, `RegistryError` where the registry refuses.
    """
    reference = spec.base_image or catalogue.image_uri(spec.version, spec.region, spec.architecture)
    local = engine.image(reference.pinned) if engine and reference.host and reference.digest else None
    if local:  # a digest that the engine holds needs no registry
        _require(local, reference, spec.architecture)
        pinned = reference
    elif reference.host and registry:
        pinned = _in_registry(reference, spec, registry)
    else:
        pinned = _in_engine(reference, spec.architecture, engine)
    return Base(pinned, spec.version, spec.architecture)


def _in_registry(reference: ImageReference, spec: Spec, registry: Registry) -> ImageReference:
    from xgbpatch.oci.manifest import DOCKER_INDEX, OCI_INDEX, select

    descriptor = registry.head(reference)
    if descriptor is None:
        raise BaseImageError(f'there is no image "{reference}"', _next_step(spec))
    pinned = reference.with_digest(descriptor.digest)
    if descriptor.media_type not in (DOCKER_INDEX, OCI_INDEX):
        return pinned
    return reference.with_digest(select(registry.manifest(pinned), spec.architecture.value).digest)


def _next_step(spec: Spec) -> str:
    if spec.base_image:
        return "Check its registry, repository and tag."
    return f'AWS may not have published version "{spec.version}" in "{spec.region}" yet: try another region or version.'


def _in_engine(reference: ImageReference, architecture: Architecture, engine: Engine | None) -> ImageReference:
    if engine is None:
        raise ConfigurationError(f'"{reference}" names no registry, and no engine was given', "Name its registry host.")
    image = engine.image(reference.digest or reference)
    if image is None:
        raise BaseImageError(
            f'the local engine holds no image "{reference}"',
            "Build or pull it first, or name its registry host as well.",
        )
    _require(image, reference, architecture)
    return reference.with_digest(image.id)


def _require(image: LocalImage, reference: ImageReference, architecture: Architecture) -> None:
    if image.architecture != architecture.value:
        raise BaseImageError(
            f'"{reference}" is built for "{image.architecture}" and not for "{architecture.value}"',
            f"Pass --arch {image.architecture}, or name another image.",
        )
