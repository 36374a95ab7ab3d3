"""Alias tags (`prod`) that move to what has been tested, and back. How they remember: `xgbpatch.alias_memory`."""

from __future__ import annotations

from xgbpatch import alias_memory
from xgbpatch.alias_memory import PREVIOUS, WITHDRAWN, Moved, alias, memory
from xgbpatch.errors import RegistryError
from xgbpatch.manifest import Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.remote.depot import Depot


def promote(depot: Depot, image: ImageReference, name: str) -> Moved:
    """Move the alias to the image that `image` names by digest. That it was tested is the caller's to know.

    Raises `RegistryError`; the alias then names what it named before.
    """
    moved = alias_memory.move(depot.registry, alias(image, name), depot.registry.manifest(image.pinned))
    if not moved.up_to_date:
        depot.progress.line(f'"{moved.alias.with_digest("")}" names "{moved.alias.digest}"')
    return moved


def rollback(depot: Depot, place: ImageReference, name: str, to: str = "") -> Moved:
    """Move the alias back to its previous target, or to the digest `to`; what it named becomes the previous one.

    Raises `RegistryError` where there is nothing to go back to, and `ConfigurationError` for a version tag.
    """
    reference = alias(place, name)
    before = depot.registry.manifest(reference)
    alias_memory.refuse_version_tag(depot.registry, reference, before)
    target = _target(depot, reference, to)
    if before.digest == target.digest:
        raise RegistryError(
            f'"{reference}" names "{before.digest}" already', _way_back(depot, reference, before.digest)
        )
    _put(depot, memory(reference, WITHDRAWN), before)
    moved = _put(depot, reference, target)
    _put(depot, memory(reference, PREVIOUS), before)
    return Moved(moved, before.digest)


def previous(depot: Depot, place: ImageReference, name: str) -> str:
    """The digest to which a rollback would go, or empty."""
    found = depot.registry.head(memory(alias(place, name), PREVIOUS))
    return found.digest if found else ""


def _target(depot: Depot, reference: ImageReference, to: str) -> Manifest:
    if to:
        return depot.registry.manifest(reference.with_digest(to).pinned)
    found = depot.registry.find(memory(reference, PREVIOUS))
    if found is None:
        raise RegistryError(f'"{reference}" has no previous target', "It moved once or never; name one: --to DIGEST.")
    return found


def _way_back(depot: Depot, reference: ImageReference, digest: str) -> str:
    """What a rollback that was cut off has left to say."""
    withdrawn = depot.registry.head(memory(reference, WITHDRAWN))
    if withdrawn is None or withdrawn.digest == digest:
        return ""
    return f"The last rollback took it away from {withdrawn.digest}, which --to names."


def _put(depot: Depot, reference: ImageReference, manifest: Manifest) -> ImageReference:
    put = alias_memory.put(depot.registry, reference, manifest)
    depot.progress.line(f'"{reference}" names "{manifest.digest}"')
    return put
