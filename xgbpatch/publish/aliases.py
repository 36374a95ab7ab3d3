"""What an alias tag (`prod`) named before, kept in the registry itself: by `push` and by `promote`, for a rollback.

Three tags: `prod`; `prod.previous`, what it named before; `prod.withdrawn`, what the last rollback took it away from.
Each is put in one step, in an order that leaves a name on both images whenever the sequence is cut off:

- forward: `prod.previous` is put on what `prod` names, then `prod` on the new image. Cut off in between, `prod` has not
  moved, and the same move again ends it.
- back (`rollback_alias`): `prod.withdrawn` is put on what `prod` names, then `prod` on its previous target,
  then `prod.previous` on the withdrawn one, so that a second rollback goes forward again. Cut off after the second
  step, `prod` is where it should be and the withdrawn image still has a name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from xgbpatch.build import ownership
from xgbpatch.contract.model import Report
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError, RegistryError
from xgbpatch.oci.image import RemoteImage
from xgbpatch.oci.manifest import Manifest
from xgbpatch.publish import test_record
from xgbpatch.publish.test_record import TestRecord
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.client import Registry

PREVIOUS = ".previous"
WITHDRAWN = ".withdrawn"


@dataclass(frozen=True)
class MovedAlias:
    """An alias (its tag, and the digest that it names now) and the digest it named before, empty where it is new.

    `up_to_date`: it named that digest already, and nothing was put.
    """

    alias: ImageReference
    before: str
    up_to_date: bool = False


def alias_reference(place: ImageReference, name: str) -> ImageReference:
    """The alias `name` in the repository of `place`; raises `ConfigurationError` for a name no alias can have."""
    if name.endswith((PREVIOUS, WITHDRAWN)):
        raise ConfigurationError(
            f'"{name}" cannot be an alias: the tag keeps what the alias named before',
            f'Name "{name.rpartition(".")[0]}".',
        )
    place.require_host()
    ImageReference.parse(f"{place.name}:{name}{WITHDRAWN}")  # the longest of the three tags
    return place.with_tag(name)


def memory_tag(alias: ImageReference, suffix: str) -> ImageReference:
    """The tag in which `alias` remembers its previous target, or what it was withdrawn from."""
    return alias.with_tag(alias.tag + suffix)


def move_alias(registry: Registry, alias: ImageReference, manifest: Manifest) -> MovedAlias:
    """Move `alias` forward to the image of `manifest`. Nothing is put where it names that already.

    Raises `RegistryError`, and `ConfigurationError` for a version tag; the alias then names what it named before.
    """
    before = registry.find(alias)
    if before is None:
        return MovedAlias(put_tag(registry, alias, manifest), "")
    if before.digest == manifest.digest:
        return MovedAlias(alias.with_digest(before.digest), before.digest, up_to_date=True)
    refuse_version_tag(registry, alias, before)
    put_tag(registry, memory_tag(alias, PREVIOUS), before)
    return MovedAlias(put_tag(registry, alias, manifest), before.digest)


def withdrawn_digest(registry: Registry, alias: ImageReference) -> str:
    """The digest that the last rollback took `alias` away from; empty where there was none, or the alias has moved on.

    Right after a rollback `.previous` names it too. A rollback that was cut off before that has left `.previous` on
    what the alias names now. Either ends with the next move forward.
    """
    withdrawn = registry.head(memory_tag(alias, WITHDRAWN))
    if withdrawn is None:
        return ""
    heads = [registry.head(alias), registry.head(memory_tag(alias, PREVIOUS))]
    now, previous = (head.digest if head else "" for head in heads)
    return withdrawn.digest if withdrawn.digest != now and previous in (withdrawn.digest, now) else ""


def refuse_version_tag(registry: Registry, alias: ImageReference, manifest: Manifest) -> None:
    """Raises `ConfigurationError` where `alias` is the tag that the image of `manifest` was made under: its label says
    it, and of an older image, the base's digest in the tag."""
    if manifest.is_index:
        return
    labels = RemoteImage(alias, manifest, registry.config(alias, manifest)).provenance
    if labels is None:
        return
    mark = labels.base_digest.removeprefix("sha256:")[:12]
    if alias.tag == labels.tag or (mark and mark in alias.tag):
        raise ConfigurationError(f'"{alias}" is a version tag, which never moves', "Give an alias: --alias prod.")


def refuse_foreign(services: Services, image: ImageReference, manifest: Manifest) -> None:
    """Raises `ContractError` where the image has labels of ours and another content: whatever is built on an image
    inherits them. Where nothing can prove it either way (a base that is gone, or in no registry), that is said: it is
    the caller's user who names the image, and it is tested by digest."""
    if manifest.is_index:
        return
    remote = RemoteImage(image, manifest, services.registry.config(image, manifest))
    if remote.provenance is None:
        return
    try:
        ownership.prove(services, remote)
    except ContractError as error:
        raise ContractError(
            f'"{image}" is not what its labels say, and no alias moves to it: {error.message}',
            "Build it from a spec (xgbpatch build): a spec can add files, packages and variables.",
        ) from error
    except (BaseImageError, ConfigurationError) as error:
        services.progress.line(f"whether it is what its labels say could not be found out: {error.message}")


def put_tag(registry: Registry, tag: ImageReference, manifest: Manifest) -> ImageReference:
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


# Alias tags (`prod`) that move to what has been tested, and back. How they remember: the module's docstring.


def promote_alias(services: Services, image: ImageReference, name: str) -> MovedAlias:
    """Move the alias to the image that `image` names by digest. That it was tested is the caller's to know.

    Raises `RegistryError`; the alias then names what it named before.
    """
    moved = move_alias(services.registry, alias_reference(image, name), services.registry.manifest(image.pinned))
    if not moved.up_to_date:
        services.progress.line(f'"{moved.alias.with_digest("")}" names "{moved.alias.digest}"')
    return moved


def rollback_alias(services: Services, place: ImageReference, name: str, to: str = "") -> MovedAlias:
    """Move the alias back to its previous target, or to the digest `to`; what it named becomes the previous one.

    Raises `RegistryError` where there is nothing to go back to, and `ConfigurationError` for a version tag.
    """
    reference = alias_reference(place, name)
    before = services.registry.manifest(reference)
    refuse_version_tag(services.registry, reference, before)
    if to:
        target = services.registry.manifest(reference.with_digest(to).pinned)
    elif (previous := services.registry.find(memory_tag(reference, PREVIOUS))) is not None:
        target = previous
    else:
        raise RegistryError(
            f'"{reference}" has no previous target', "It has named one image only. Name another: --to DIGEST."
        )
    if before.digest == target.digest:  # perhaps a rollback that was cut off: its memory tells the way on
        withdrawn = services.registry.head(memory_tag(reference, WITHDRAWN))
        way = ""
        if withdrawn is not None and withdrawn.digest != before.digest:
            way = f"The last rollback took it away from {withdrawn.digest}, which --to names."
        raise RegistryError(f'"{reference}" names "{before.digest}" already', way)
    for tag, manifest in (
        (memory_tag(reference, WITHDRAWN), before),
        (reference, target),
        (memory_tag(reference, PREVIOUS), before),
    ):
        put_tag(services.registry, tag, manifest)
        services.progress.line(f'"{tag}" names "{manifest.digest}"')
    return MovedAlias(reference.with_digest(target.digest), before.digest)


# Tested first, then moved: what `promote` and `rollback` do.


@dataclass(frozen=True)
class Promotion:
    """The image by digest, the record that it passed, whether it had to be tested for it now, and each alias."""

    image: ImageReference
    record: TestRecord
    tested_now: bool
    moved: tuple[MovedAlias, ...]


@dataclass(frozen=True)
class Tester:
    """How an image without a record gets one: `try_out` runs `test-local` on it, at `moment` (UTC)."""

    try_out: Callable[[ImageReference], Report]
    moment: datetime


def promote(services: Services, image: ImageReference, names: Sequence[str], tester: Tester) -> Promotion:
    """Move the aliases `names` to `image` once `test-local` has passed on its digest.

    Raises `ContractError` where it does not pass, or is another image than its labels say; no alias has moved then.
    """
    for name in names:
        alias_reference(image, name)  # a name that cannot be is refused before minutes of testing
    manifest = services.registry.manifest(image)
    pinned = image.with_digest(manifest.digest)
    refuse_foreign(services, pinned, manifest)
    known = test_record.latest_pass(services, pinned)
    record = known or test_record.record(services, pinned, tester.try_out(pinned), tester.moment)
    services.progress.line(f'"{pinned.pinned}" passed test-local ({record.date}, xgbpatch {record.version})')
    return Promotion(pinned, record, known is None, tuple(promote_alias(services, pinned, name) for name in names))


def rollback(services: Services, place: ImageReference, name: str, to: str = "") -> MovedAlias:
    """Move the alias back: to its previous target, or to the digest `to`, which must have been tested once."""
    if to:
        image = replace(place, tag="", digest=to)
        previous = services.registry.head(memory_tag(alias_reference(place, name), PREVIOUS))
        if previous is None or previous.digest != to:
            services.registry.manifest(image)  # one that is not there cannot have been tested
            if test_record.latest_pass(services, image) is None:
                next_step = f"xgbpatch promote {image} --alias {name}"
                raise ContractError(f'"{image}" was never promoted or tested', next_step)
    return rollback_alias(services, place, name, to)
