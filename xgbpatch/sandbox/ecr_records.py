"""moto's records of a repository's images, made to agree with the registry's store.

moto keeps what images were put through its API; docker pushes to the registry without a word to it. The store is right
about what there is, and moto about what was deleted, and about scans.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from moto.ecr import models

from xgbpatch.sandbox.ecr_store import Repository, media_type
from xgbpatch.sandbox.state import RegistryHost

Record = Any  # moto's Repository: what its attributes may hold differs from what they are declared as
_moto: Any = models


@dataclass(frozen=True)
class Names:
    """The images of a repository at some moment."""

    tags: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()


def find(registry: RegistryHost, name: str) -> Record | None:
    """moto's record of that repository."""
    return _moto.ecr_backends[registry.account][registry.region].repositories.get(name)


def agree(record: Record, repository: Repository) -> Names:
    """Make the record that of the repository's images; what moto knows of their scans stays."""
    tags, known = repository.tags(), {image.image_digest: image for image in record.images}
    record.images = [
        known.get(digest) or _recorded(record, repository, digest, pushed)
        for digest, pushed in repository.images().items()
    ]
    for image in record.images:
        image.image_tags = sorted(tag for tag, digest in tags.items() if digest == image.image_digest)
        image.image_tag = image.image_tags[-1] if image.image_tags else None
    return _names(record)


def settle(record: Record | None, repository: Repository, before: Names) -> None:
    """Take out of the repository what moto has deleted of its record since; None: all of it."""
    if record is None:
        repository.drop()
    else:
        after = _names(record)
        repository.remove(before.tags - after.tags, before.digests - after.digests)


def is_immutable(record: Record, tag: str) -> bool:
    """Whether that tag, once put, cannot be put on another image."""
    excluded = any(fnmatchcase(tag, one["filter"]) for one in record.image_tag_mutability_exclusion_filters or ())
    return bool(record.is_tag_immutable() != excluded)


def _names(record: Record) -> Names:
    tags = frozenset(tag for image in record.images for tag in image.image_tags)
    return Names(tags, frozenset(image.image_digest for image in record.images))


def _recorded(record: Record, repository: Repository, digest: str, pushed: float) -> Any:
    manifest = repository.manifest(digest)
    image = _moto.Image(
        record.account_id, None, manifest, record.name, media_type(manifest), digest, record.registry_id
    )
    image.image_pushed_at = int(pushed)
    if record.image_scanning_configuration.get("scanOnPush"):
        image.last_scan = datetime.fromtimestamp(pushed)  # moto compares it with the local day
    return image
