"""What an alias tag (`prod`) named before, kept in the registry itself: by `push` and by `promote`, for a rollback.

Three tags: `prod`; `prod.previous`, what it named before; `prod.withdrawn`, what the last rollback took it away from.
Each is put in one step, in an order that leaves a name on both images whenever the sequence is cut off:

- forward: `prod.previous` is put on what `prod` names, then `prod` on the new image. Cut off in between, `prod` has not
  moved, and the same move again ends it.
- back (`xgbpatch.upkeep.aliases`): `prod.withdrawn` is put on what `prod` names, then `prod` on its previous target,
  then `prod.previous` on the withdrawn one, so that a second rollback goes forward again. Cut off after the second
  step, `prod` is where it should be and the withdrawn image still has a name.
"""

from __future__ import annotations

from dataclasses import dataclass

from xgbpatch.errors import ConfigurationError, RegistryError
from xgbpatch.manifest import Manifest
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Registry
from xgbpatch.remote.image import RemoteImage

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


def memory(alias: ImageReference, suffix: str) -> ImageReference:
    """The tag in which `alias` remembers its previous target, or what it was withdrawn from."""
    return alias.with_tag(alias.tag + suffix)


def move(registry: Registry, alias: ImageReference, manifest: Manifest) -> Moved:
    """Move `alias` forward to the image of `manifest`. Nothing is put where it names that already.

    Raises `RegistryError`, and `ConfigurationError` for a version tag; the alias then names what it named before.
    """
    before = registry.find(alias)
    if before is None:
        return Moved(put(registry, alias, manifest), "")
    if before.digest == manifest.digest:
        return Moved(alias.with_digest(before.digest), before.digest, up_to_date=True)
    refuse_version_tag(registry, alias, before)
    put(registry, memory(alias, PREVIOUS), before)
    return Moved(put(registry, alias, manifest), before.digest)


def withdrawn(registry: Registry, alias: ImageReference) -> str:
    """The digest that the last rollback took `alias` away from; empty where there was none, or the alias has moved on.

    Right after a rollback `.previous` names it too. A rollback that was cut off before that has left `.previous` on
    what the alias names now. Either ends with the next move forward.
    """
    taken = registry.head(memory(alias, WITHDRAWN))
    if taken is None:
        return ""
    heads = [registry.head(alias), registry.head(memory(alias, PREVIOUS))]
    now, previous = (head.digest if head else "" for head in heads)
    return taken.digest if taken.digest != now and previous in (taken.digest, now) else ""


def refuse_version_tag(registry: Registry, alias: ImageReference, held: Manifest) -> None:
    """Raises `ConfigurationError` where `alias`, under which `held` stands, is the tag that image was made under."""
    if held.is_index:
        return
    made = RemoteImage(alias, held, registry.config(alias, held)).provenance
    if made and made.base_digest and made.base_digest.removeprefix("sha256:")[:12] in alias.tag:
        raise ConfigurationError(f'"{alias}" is a version tag, which never moves', "Give an alias: --alias prod.")


def put(registry: Registry, tag: ImageReference, manifest: Manifest) -> ImageReference:
    """Put `manifest` under an alias or a tag of its memory; raises `RegistryError`, which tells of immutable tags."""
    try:
        return registry.put_manifest(tag, manifest)
    except RegistryError as error:
        if "immutable" not in error.message.lower():
            raise
        raise RegistryError(
            f'"{tag}" cannot move: its repository has immutable tags',
            "Exempt the alias and what begins with it (ECR: IMMUTABLE_WITH_EXCLUSION), or use mutable tags.",
        ) from error
