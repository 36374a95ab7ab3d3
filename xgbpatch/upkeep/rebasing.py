"""A published image moved onto a new base without an engine: the same layers, and a new configuration.

The sequence, and why it has no bad moment: the image is held to what it claims, the two bases are compared, then the
new base's blobs that the repository lacks are mounted or streamed, the configuration follows, and the manifest comes
last and in one step. The result is byte for byte what the registry builder makes of the same spec on the new base.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

from xgbpatch import hooks
from xgbpatch.design import rfc3339
from xgbpatch.errors import ConfigurationError, DriftError, XgbpatchError
from xgbpatch.facts import Facts, UpstreamModule
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference
from xgbpatch.remote import assembly, config, inspection, transfer
from xgbpatch.remote.blobs import Traffic
from xgbpatch.remote.config import Addition
from xgbpatch.remote.depot import Depot
from xgbpatch.remote.image import RemoteImage, load, load_base
from xgbpatch.upkeep import claims, drift, relocation
from xgbpatch.upkeep.claims import Claim
from xgbpatch.upkeep.drift import Clause, Ground
from xgbpatch.upkeep.relocation import Move


@dataclass(frozen=True)
class Wish:
    """What is asked: `to` is the new base (None: the old one's tag as it stands now; a digest without a repository: the
    old one's repository), `tag` the new tag (empty: the old one with the new base's digest in it). `accept_drift` goes
    on where a person has read the difference."""

    image: ImageReference
    to: ImageReference | None = None
    tag: str = ""
    accept_drift: bool = False


@dataclass(frozen=True)
class Rebased:
    """Where the image stands now, by tag and digest, on which base, and what had to be moved for it. `up_to_date` means
    that it stood there already; `accepted` are the differences of the bases that were accepted, in words."""

    reference: ImageReference
    base: ImageReference
    up_to_date: bool = False
    accepted: tuple[str, ...] = ()
    traffic: Traffic = field(default_factory=Traffic)


def rebase(depot: Depot, wish: Wish) -> Rebased:
    """Put the image of `wish` onto the new base, in its own repository; an image that stands there stays as it is.

    Raises `DriftError` with every broken clause, `PackageError` where its packages were resolved for another base, the
    errors of `claims`, `BaseImageError`, `RegistryError` and `AwsError`.
    """
    claim = claims.claimed(depot, load(depot.registry, wish.image))
    base = load_base(depot.registry, _new_base(claim.provenance, wish.to), claim.image.architecture or "amd64")
    if base.reference.digest == claim.base.reference.digest:
        return Rebased(claim.image.reference, base.reference, up_to_date=True)
    destination = claim.image.reference.with_tag(wish.tag or _new_tag(depot, claim, base.reference))
    patch = claims.substance(depot, claim)
    old, new = _grounds(depot, claim, base, patch.replaced)
    accepted = _accepted(depot, wish, drift.compare(old, new))
    move = Move(claim, patch.environment, base)
    addition = _addition(move, new.entries, rfc3339(depot.moment or assembly.created(base)))
    standing = assembly.standing(depot, destination, addition.labels, claim.image.architecture or "amd64")
    if standing:
        return Rebased(standing.reference, base.reference, True, accepted)
    reference, traffic = _put(depot, move, addition, destination)
    return Rebased(reference, base.reference, False, accepted, traffic)


def _new_base(made: Provenance, to: ImageReference | None) -> ImageReference:
    old = ImageReference.parse(made.base_name)
    if to is None:
        if not old.tag:
            raise ConfigurationError(f'the base "{old}" was named without a tag, which could move', "Name one: --to.")
        return old
    if not to.repository:
        return old.with_digest(to.digest)
    if not to.host:
        raise ConfigurationError(f'the base "{to}" names no registry', "Write host/repository:tag or a digest.")
    return to


def _new_tag(depot: Depot, claim: Claim, base: ImageReference) -> str:
    """The image's version tag with the new base's digest for the old one's. Where it was named by another tag, an alias
    for one, its version tag is looked for."""
    image, old = claim.image.reference, relocation.mark(claim.base.reference.digest)
    if old in image.tag:
        return image.tag.replace(old, relocation.mark(base.digest))
    for tag in depot.registry.tags(image):
        found = depot.registry.head(image.with_tag(tag)) if old in tag else None
        if found and found.digest == image.digest:
            return tag.replace(old, relocation.mark(base.digest))
    raise ConfigurationError(
        f'no tag of "{image}" names its base ("{old}"), so none follows for the new one', "Name it: --tag TAG."
    )


def _grounds(depot: Depot, claim: Claim, base: RemoteImage, replaced: tuple[str, ...]) -> tuple[Ground, Ground]:
    """The old base and the new one as the patch stands on them; raises `PackageError` where its packages do not fit.

    What the old base was like is in the image's label. Its layers are read only where the label does not tell all, and
    for the difference where there is one.
    """
    made, facts = claim.provenance, _facts(depot, base)
    relocation.check_packages(made, facts)
    entries = made.hooks
    if not entries or not set(replaced) <= set(hooks.replaced(entries)):
        entries = hooks.recorded(made.features, made.fixes, replaced, _facts(depot, claim.base))
    old, new = Ground(entries), drift.on(facts, entries)
    return (Ground(entries, _texts(depot, claim.base)) if drift.compare(old, new) else old), new


def _texts(depot: Depot, base: RemoteImage) -> Mapping[str, UpstreamModule]:
    """Only to show a difference: a base that cannot be read must not hide that there is one."""
    try:
        return _facts(depot, base).modules
    except XgbpatchError:
        return {}


def _facts(depot: Depot, base: RemoteImage) -> Facts:
    return inspection.inspect(base, depot.blobs_of(base.reference), depot.cache, depot.progress)


def _accepted(depot: Depot, wish: Wish, broken: tuple[Clause, ...]) -> tuple[str, ...]:
    """The broken clauses in words; raises `DriftError` with all of them unless they were accepted."""
    if not broken:
        return ()
    told = "\n".join(f"  {clause.words}\n{clause.difference}".rstrip() for clause in broken)
    if not wish.accept_drift:
        raise DriftError(
            f'the new base of "{wish.image}" differs in what its patch relies on:\n{told}',
            "Where the patch still holds on it, go on with --accept-drift; test-local tells.",
        )
    depot.progress.line(f"The new base differs in what the patch relies on, which was accepted:\n{told}")
    return tuple(clause.words for clause in broken)


def _addition(move: Move, entries: tuple[str, ...], created: str) -> Addition:
    return Addition(
        [layer.diff_id for layer in move.claim.layers],
        relocation.environment(move),
        relocation.labels(move, entries, created),
        created,
    )


def _put(depot: Depot, move: Move, addition: Addition, destination: ImageReference) -> tuple[ImageReference, Traffic]:
    depot.progress.line(f"Moving {move.claim.image.reference} onto {move.base.reference}")
    content = config.patched(move.base, addition)
    manifest = config.manifest(
        move.base.manifest, config.descriptor(content), [layer.blob for layer in move.claim.layers]
    )
    target = depot.blobs_of(destination)
    traffic = transfer.copy(depot.blobs_of(move.base.reference), target, move.base.layers, depot.progress)
    traffic += transfer.put(target, io.BytesIO(content), manifest.config, depot.progress)
    return assembly.named(depot, manifest, destination), traffic
