"""All that a repository holds: images, indexes and artifacts, with their tags; and which image is newer than which."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from xgbpatch.aws import EcrImages
from xgbpatch.errors import XgbpatchError
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import OCI_MANIFEST, Manifest
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference
from xgbpatch.registry.client import Registry

_REFERRERS = re.compile(r"sha256-([0-9a-f]{64})(\..+)?")  # the referrers tag schema, and cosign's own tags
_AT_ONCE = 4


@dataclass(frozen=True)
class ListedImage:
    """What a repository's list says of a digest; `pushed` is None where the registry does not tell."""

    digest: str
    tags: tuple[str, ...]
    pushed: datetime | None = None


class Repository(Protocol):
    """How a repository is listed and emptied; ECR differs from the rest."""

    place: ImageReference

    def listed(self) -> tuple[ListedImage, ...]: ...

    def delete(self, items: Sequence[ListedImage]) -> Mapping[str, str]:
        """Delete with their tags; why one was not deleted, by digest. What is missing is no failure."""
        ...


@dataclass(frozen=True)
class RepositoryItem:
    """Something in a repository; `image` is None for an index and for an artifact that is no image."""

    listed: ListedImage
    manifest: Manifest
    image: RemoteImage | None

    @property
    def provenance(self) -> Provenance | None:
        return self.image.provenance if self.image else None

    @property
    def created(self) -> datetime | None:
        """The moment that the image says it was made at."""
        provenance = self.provenance
        with suppress(ValueError):
            moment = datetime.fromisoformat(provenance.created.replace("Z", "+00:00")) if provenance else None
            return moment if moment and moment.tzinfo else None
        return None

    @property
    def when(self) -> datetime | None:
        """When the image was pushed, else its `created`: by this, images are sorted from old to new."""
        return self.listed.pushed or self.created

    @property
    def order(self) -> tuple[datetime, ...]:
        """Of two pushes in the same second, the registries' resolution, `created` tells the later one."""
        return tuple(moment for moment in (self.when, self.created) if moment)

    @property
    def subject(self) -> str:
        """The digest of the image that this artifact points to; empty for an image."""
        named = [f"sha256:{match[1]}" for tag in self.listed.tags if (match := _REFERRERS.fullmatch(tag))]
        if named and len(named) == len(self.listed.tags):
            return named[0]
        if self.listed.tags:
            return ""
        return str((self.manifest.document.get("subject") or {}).get("digest", ""))

    @property
    def parts(self) -> tuple[str, ...]:
        """The digests that an index lists."""
        return tuple(str(part.get("digest", "")) for part in self.manifest.document.get("manifests") or ())

    @property
    def line(self) -> tuple[str, ...]:
        """Images with the same one are successive versions of one image: its name in the configuration, version and
        architecture. What was built without a name is told by what was asked for."""
        provenance = self.provenance
        if provenance is None or self.image is None:
            return ()
        content = provenance.asked_digest or ",".join((*provenance.features, "+", *provenance.fixes))
        name = (provenance.image,) if provenance.image not in ("", "default") else ("", content)
        return (*name, provenance.version, self.image.architecture)


def repository(registry: Registry, place: ImageReference) -> Repository:
    """The repository of `place`, listed the way its registry offers."""
    return EcrRepository(EcrImages(place)) if place.ecr else TaggedRepository(registry, place)


def list_repository(registry: Registry, where: Repository) -> tuple[RepositoryItem, ...]:
    """Everything in the repository, its manifests and configurations read. Raises `RegistryError` and `AwsError`."""
    listed = where.listed()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        items = pool.map(partial(_item, registry, where.place), listed)
    return tuple(item for item in items if item is not None)


def newer(item: RepositoryItem, items: Iterable[RepositoryItem]) -> tuple[RepositoryItem, ...]:
    """The later versions of the same image, the newest first; none where it cannot be told."""
    order, line = item.order, item.line
    later = [other for other in items if line and other.line == line and order and other.order > order]
    return tuple(sorted(later, key=lambda other: other.order, reverse=True))


class EcrRepository:
    """ECR lists untagged images too, and tells when each was pushed."""

    def __init__(self, images: EcrImages) -> None:
        self.place = images.place
        self._images = images

    def listed(self) -> tuple[ListedImage, ...]:
        return tuple(ListedImage(image.digest, image.tags, image.pushed) for image in self._images.images())

    def delete(self, items: Sequence[ListedImage]) -> Mapping[str, str]:
        """By tag, so that what gets another tag in this very moment stays with that."""
        known = {image.digest: image.tags for image in items}
        failures = self._images.delete(known)
        left = [image.digest for image in self.listed() if set(image.tags) - set(known.get(image.digest, image.tags))]
        return {**dict.fromkeys(left, "it got another tag meanwhile"), **failures}


class TaggedRepository:
    """Any other registry lists tags; artifacts are found where clients keep their list under a tag."""

    def __init__(self, registry: Registry, place: ImageReference) -> None:
        self.place = place
        self._registry = registry

    def listed(self) -> tuple[ListedImage, ...]:
        tags: dict[str, list[str]] = {}
        for tag in self._registry.tags(self.place):
            there = self._registry.head(self.place.with_tag(tag))
            if there is None:
                continue
            tags.setdefault(there.digest, []).append(tag)
            if _REFERRERS.fullmatch(tag) and (index := self._registry.find(self.place.with_tag(tag))):
                for artifact in index.document.get("manifests") or ():
                    tags.setdefault(str(artifact.get("digest", "")), [])
        return tuple(ListedImage(digest, tuple(names)) for digest, names in tags.items())

    def delete(self, items: Sequence[ListedImage]) -> Mapping[str, str]:
        failures = {}
        for digest in (image.digest for image in items):
            try:
                if not self._registry.delete(replace(self.place, tag="", digest=digest)):
                    failures[digest] = "this registry deletes nothing (distribution: storage.delete.enabled)"
            except XgbpatchError as error:
                failures[digest] = error.message
        return failures


def _item(registry: Registry, place: ImageReference, listed: ListedImage) -> RepositoryItem | None:
    reference = replace(place, tag="", digest=listed.digest)
    manifest = registry.find(reference)
    if manifest is None:
        return None
    image = None
    if _is_image(manifest):
        image = RemoteImage(reference, manifest, registry.config(reference, manifest))
    return RepositoryItem(listed, manifest, image)


def _is_image(manifest: Manifest) -> bool:
    """An artifact's configuration may be anything."""
    if manifest.is_index or not manifest.document.get("config"):
        return False
    own: Mapping[str, Any] = manifest.document
    types = ("application/vnd.docker.container.image", "application/vnd.oci.image.config")
    return manifest.media_type != OCI_MANIFEST or (
        not own.get("artifactType") and not own.get("subject") and manifest.config.media_type.startswith(types)
    )
