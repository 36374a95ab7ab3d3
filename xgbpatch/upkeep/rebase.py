"""A published image moved onto a new base without an engine: the same layers, and a new configuration.

The sequence, and why it has no bad moment: the image is held to what it claims, the two bases are compared, then
the new base's blobs that the repository lacks are mounted or streamed, the configuration follows, and the manifest
comes last and in one step. The result is byte for byte what the registry builder makes of the same spec on the new
base.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from packaging.utils import canonicalize_name
from packaging.version import Version

from xgbpatch import layout, provenance
from xgbpatch.build import ownership
from xgbpatch.build import registry as registry_builder
from xgbpatch.build.definition import rfc3339
from xgbpatch.build.ownership import OwnedImage
from xgbpatch.errors import ConfigurationError, DriftError, PackageError, XgbpatchError
from xgbpatch.inspection import layers
from xgbpatch.inspection.facts import Facts
from xgbpatch.oci import image as oci_image
from xgbpatch.oci.image import RemoteImage
from xgbpatch.patch import hooks
from xgbpatch.patch.compose import digest_of, extended
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services, copy
from xgbpatch.registry.blobs import Traffic
from xgbpatch.registry.client import load_base, load_image
from xgbpatch.upkeep import drift
from xgbpatch.upkeep.drift import BaseSnapshot


@dataclass(frozen=True)
class RebaseResult:
    """Where the image stands now, by tag and digest, on which base, and what had to be moved for it. `up_to_date` means
    that it stood there already; `accepted` are the differences of the bases that were accepted, in words."""

    reference: ImageReference
    base: ImageReference
    up_to_date: bool = False
    accepted: tuple[str, ...] = ()
    traffic: Traffic = field(default_factory=Traffic)


def rebase(
    services: Services, image: ImageReference, to: ImageReference | None = None, *,
    tag: str = "", accept_drift: bool = False,
) -> RebaseResult:  # fmt: skip
    """Put `image` onto the new base, in its own repository; an image that stands there stays as it is.

    `to` is the new base (None: the old one's tag as it stands now; a digest without a repository: the old one's
    repository), `tag` the new tag (empty: the old one with the new base's digest in it). `accept_drift` goes on where a
    person has read the difference.

    Raises `DriftError` with every broken clause, `PackageError` where its packages were resolved for another base, the
    errors of `ownership`, `BaseImageError`, `RegistryError` and `AwsError`.
    """
    for name in (image, *([to] if to and to.repository else [])):
        name.require_host()
    owned = ownership.verify_ownership(services, load_image(services.registry, image))
    base = load_base(services.registry, _new_base(owned.provenance, to), owned.image.architecture or "amd64")
    if base.reference.digest == owned.base.reference.digest:
        ownership.prove(services, owned.image, owned.base.reference)
        return RebaseResult(owned.image.reference, base.reference, up_to_date=True)
    destination = owned.image.reference.with_tag(tag or _new_tag(services, owned, base.reference))
    patch = ownership.patch_contents(services, owned)
    old, new = _snapshots(services, owned, base, patch.replaced)
    broken = drift.compare(old, new)
    if broken:
        differences = "\n".join(f"  {clause.words}\n{clause.difference}".rstrip() for clause in broken)
        if not accept_drift:
            raise DriftError(
                f'the new base of "{image}" differs in what its patch relies on:\n{differences}',
                "Where the patch still holds on it, go on with --accept-drift; test-local tells.",
            )
        services.progress.line(f"The new base differs in what the patch relies on, which was accepted:\n{differences}")
    accepted = tuple(clause.words for clause in broken)
    environment = moved_environment(owned, patch.environment, base)
    created = rfc3339(services.created or registry_builder.created_of(base))
    labels = moved_labels(
        owned, base.reference, environment=environment, hooks=new.entries, created=created, tag=destination.tag
    )
    standing = registry_builder.existing_image(services, destination, labels, base.reference, base.architecture)
    if standing:
        return RebaseResult(standing.reference, base.reference, True, accepted)
    services.progress.line(f"Moving {owned.image.reference} onto {base.reference}")
    diff_ids = [layer.diff_id for layer in owned.layers]
    content = oci_image.patched_config(base, diff_ids=diff_ids, environment=environment, labels=labels, created=created)
    manifest = oci_image.patched_manifest(base.manifest, content, [layer.blob for layer in owned.layers])
    target = services.blobs_of(destination)
    traffic = copy.copy(services.blobs_of(base.reference), target, base.layers, services.progress)
    traffic += copy.put(target, io.BytesIO(content), manifest.config, services.progress)
    reference = registry_builder.put_tag(services, manifest, destination)
    return RebaseResult(reference, base.reference, False, accepted, traffic)


def _new_base(provenance: Provenance, to: ImageReference | None) -> ImageReference:
    old = ImageReference.parse(provenance.base_name)
    if to is None:
        if not old.tag:
            raise ConfigurationError(f'the base "{old}" was named without a tag, which could move', "Name one: --to.")
        return old
    if not to.repository:
        return old.with_digest(to.digest)
    if not to.host:
        raise ConfigurationError(f'the base "{to}" names no registry', "Write host/repository:tag or a digest.")
    return to


def _new_tag(services: Services, owned: OwnedImage, base: ImageReference) -> str:
    """The image's version tag with the new base's digest for the old one's. Where it was named by another tag, an alias
    for one, its version tag is looked for."""
    image, old = owned.image.reference, rebase_mark(owned.base.reference.digest)
    if old in image.tag:
        return image.tag.replace(old, rebase_mark(base.digest))
    for tag in services.registry.tags(image):
        manifest = services.registry.head(image.with_tag(tag)) if old in tag else None
        if manifest and manifest.digest == image.digest:
            return tag.replace(old, rebase_mark(base.digest))
    raise ConfigurationError(
        f'no tag of "{image}" names its base ("{old}"), so none follows for the new one', "Name it: --tag TAG."
    )


def _snapshots(
    services: Services, owned: OwnedImage, base: RemoteImage, replaced: tuple[str, ...]
) -> tuple[BaseSnapshot, BaseSnapshot]:
    """The old base and the new one as the patch stands on them; raises `PackageError` where its packages do not fit.

    What the old base was like is in the image's label. Its layers are read only where the label does not tell all, and
    for the difference where there is one.
    """
    labels, facts = owned.provenance, _facts(services, base)
    check_packages(labels, facts)
    entries = labels.hooks
    if not entries or not set(replaced) <= set(hooks.replaced(entries)):
        entries = hooks.recorded(labels.features, labels.fixes, replaced, _facts(services, owned.base))
    old, new = BaseSnapshot(entries), drift.snapshot_of(facts, entries)
    if drift.compare(old, new):
        with suppress(XgbpatchError):  # a base that cannot be read must not hide that there is a difference
            old = BaseSnapshot(entries, _facts(services, owned.base).modules)
    return old, new


def _facts(services: Services, base: RemoteImage) -> Facts:
    return layers.inspect(base, services.blobs_of(base.reference), services.cache, services.progress)


def moved_environment(owned: OwnedImage, variables: Mapping[str, str], new: RemoteImage) -> dict[str, str]:
    """The patch's variables on the new base. What extends one of the base's extends the new base's; a value of the
    user's own stays as it is."""
    environment, old_path = dict(variables), owned.base.environment.get("PATH")
    ours = {layout.search_path(old_path)} if old_path else {layout.search_path(old_path), layout.BIN}  # older images
    if environment.get("PATH") in ours:
        environment["PATH"] = layout.search_path(new.environment.get("PATH"))
    imports = _imports(environment.get("PYTHONPATH", ""), owned.base.environment, new.environment)
    if imports is not None:
        environment["PYTHONPATH"] = imports
    if environment.get("XGBPATCH_BASE") == str(owned.provenance.base):
        environment["XGBPATCH_BASE"] = str(new.reference)
    return environment


def moved_labels(
    owned: OwnedImage, base: ImageReference, *,
    environment: Mapping[str, str], hooks: tuple[str, ...], created: str, tag: str,
) -> dict[str, str]:  # fmt: skip
    """All labels beyond the new base's own: the image's, with what is true of the new base."""
    labels = owned.provenance
    files = labels.files_digest.removeprefix("sha256:")
    moved = replace(
        labels,
        base_name=str(replace(base, digest="")),
        base_digest=base.digest,
        patch_digest=f"sha256:{digest_of(files, environment)}",
        hooks=hooks,
        created=created,
        tag=tag,
    )
    written = provenance.write(moved)
    replaced = {*written, *owned.base.labels}
    others = {name: value for name, value in owned.image.labels.items() if name not in replaced}
    return {**written, **others}


def rebase_mark(digest: str) -> str:
    """How `{base}` of a tag pattern shows a base's digest."""
    return digest.removeprefix("sha256:")[:12]


def check_packages(provenance: Provenance, facts: Facts) -> None:
    """Raises `PackageError` where the new base has other distributions than those the packages were resolved beside."""
    if not provenance.packages:
        return
    pins = {f"{each.name}=={each.version}" for each in facts.distributions.values()}
    ours = {canonicalize_name(package.partition("==")[0]) for package in provenance.packages}
    before = {item.partition("==")[0]: item for item in provenance.base_packages}
    added = {name for name in facts.distributions if name in ours and name not in before}
    moved = sorted({*before.values()} - pins) + [f"{name} is new" for name in sorted(added)]
    glibc = provenance.python.rpartition(" glibc-")[2]
    if glibc and Version(facts.python.glibc or "0") < Version(glibc):
        moved.append(f"glibc {glibc}")
    if moved:
        shown = moved[:10] + ([f"… and {len(moved) - 10} more"] if len(moved) > 10 else [])
        raise PackageError(
            "the packages of the image were resolved beside distributions that the new base has no longer: "
            + ", ".join(shown),
            "Rebuild instead, which resolves them again: xgbpatch build.",
        )


def _imports(value: str, old: Mapping[str, str], new: Mapping[str, str]) -> str | None:
    """`composition` puts our folders last; any other value is the user's."""
    before = old.get("PYTHONPATH")
    if before is not None and not value.startswith(f"{before}:"):
        return None
    folders = (value if before is None else value.removeprefix(f"{before}:")).split(":")
    return extended(new.get("PYTHONPATH"), folders) if folders[0] == layout.OVERLAYS else None
