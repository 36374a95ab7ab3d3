"""Alias tags (`prod`): they move to what has been tested, and remember in the registry itself where they were.

Three tags: `prod`; `prod.previous`, what it named before; `prod.withdrawn`, what the last rollback took it away from.
Each is put in one step, in an order that leaves a name on both images whenever the sequence is cut off:

- promote: `prod.previous` is put on what `prod` names, then `prod` on the new image. Cut off in between, `prod` has not
  moved, and the same promote again ends it.
- rollback: `prod.withdrawn` is put on what `prod` names, then `prod` on its previous target, then `prod.previous` on
  the withdrawn one, so that a second rollback goes forward again. Cut off after the second step, `prod` is where it
  should be and the withdrawn image still has a name.
"""

from __future__ import annotations

from dataclasses import dataclass

from xgbpatch.errors import ConfigurationError, RegistryError
from xgbpatch.manifest import Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.remote.depot import Depot
from xgbpatch.remote.image import RemoteImage
from xgbpatch.upkeep import relocation

PREVIOUS = ".previous"
WITHDRAWN = ".withdrawn"


@dataclass(frozen=True)
class Moved:
    """An alias (its tag, and the digest that it names now) and the digest it named before, empty where it is new.

    `up_to_date`: it named that digest already, and nothing was put.
    """

    alias: ImageReference
    before: str
    up_to_date: bool = False


def alias(place: ImageReference, name: str) -> ImageReference:
    """The alias `name` in the repository of `place`; raises `ConfigurationError` for a name no alias can have."""
    if name.endswith((PREVIOUS, WITHDRAWN)):
        raise ConfigurationError(f'"{name}" is the memory of an alias, not one', f'Name "{name.rpartition(".")[0]}".')
    if not place.host:
        raise ConfigurationError(
            f'"{place}" names no registry', "Write host/repository:tag or host/repository@sha256:…"
        )
    ImageReference.parse(f"{place.name}:{name}{WITHDRAWN}")  # the longest of the three tags
    return place.with_tag(name)


def promote(depot: Depot, image: ImageReference, name: str) -> Moved:
    """Move the alias to the image that `image` names by digest. That it was tested is the caller's to know.

    Raises `RegistryError`; the alias then names what it named before.
    """
    reference, manifest = alias(image, name), depot.registry.manifest(image.pinned)
    before = depot.registry.find(reference)
    if before is None:
        return Moved(_put(depot, reference, manifest), "")
    if before.digest == manifest.digest:
        return Moved(reference.with_digest(before.digest), before.digest, up_to_date=True)
    _refuse_version_tag(depot, reference, before)
    _put(depot, _memory(reference, PREVIOUS), before)
    return Moved(_put(depot, reference, manifest), before.digest)


def rollback(depot: Depot, place: ImageReference, name: str, to: str = "") -> Moved:
    """Move the alias back to its previous target, or to the digest `to`; what it named becomes the previous one.

    Raises `RegistryError` where there is nothing to go back to.
    """
    reference = alias(place, name)
    before, target = depot.registry.manifest(reference), _target(depot, reference, to)
    if before.digest == target.digest:
        raise RegistryError(
            f'"{reference}" names "{before.digest}" already', _way_back(depot, reference, before.digest)
        )
    _put(depot, _memory(reference, WITHDRAWN), before)
    moved = _put(depot, reference, target)
    _put(depot, _memory(reference, PREVIOUS), before)
    return Moved(moved, before.digest)


def previous(depot: Depot, place: ImageReference, name: str) -> str:
    """The digest to which a rollback would go, or empty."""
    found = depot.registry.head(_memory(alias(place, name), PREVIOUS))
    return found.digest if found else ""


def _memory(reference: ImageReference, suffix: str) -> ImageReference:
    return reference.with_tag(reference.tag + suffix)


def _target(depot: Depot, reference: ImageReference, to: str) -> Manifest:
    if to:
        return depot.registry.manifest(reference.with_digest(to).pinned)
    found = depot.registry.find(_memory(reference, PREVIOUS))
    if found is None:
        raise RegistryError(f'"{reference}" has no previous target', "It moved once or never; name one: --to DIGEST.")
    return found


def _way_back(depot: Depot, reference: ImageReference, digest: str) -> str:
    """What a rollback that was cut off has left to say."""
    withdrawn = depot.registry.head(_memory(reference, WITHDRAWN))
    if withdrawn is None or withdrawn.digest == digest:
        return ""
    return f"The last rollback took it away from {withdrawn.digest}, which --to names."


def _refuse_version_tag(depot: Depot, reference: ImageReference, before: Manifest) -> None:
    if before.is_index:
        return
    made = RemoteImage(reference, before, depot.registry.config(reference, before)).provenance
    if made and made.base_digest and relocation.mark(made.base_digest) in reference.tag:
        raise ConfigurationError(f'"{reference}" is a version tag, which never moves', "Give an alias: --alias prod.")


def _put(depot: Depot, reference: ImageReference, manifest: Manifest) -> ImageReference:
    try:
        put = depot.registry.put_manifest(reference, manifest)
    except RegistryError as error:
        if "immutable" not in error.message.lower():
            raise
        raise RegistryError(
            f'"{reference}" cannot move: its repository has immutable tags',
            "Exempt the alias and what begins with it (ECR: IMMUTABLE_WITH_EXCLUSION), or use mutable tags.",
        ) from error
    depot.progress.line(f'"{reference}" names "{manifest.digest}"')
    return put
