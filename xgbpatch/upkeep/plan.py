"""Is the published image the one that a build of today would give, and if not, why? Changes nothing.

All is found in registries: the base's digest today against the one in the image's labels; the spec, the overlay and
the packages against those labels; and the image itself, for whatever is built on it inherits them. For that its own
layers are read, once a digest. Those of a base are read only where it has moved, once a digest too, to see whether what
the patch relies on is still the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from enum import Enum
from importlib.metadata import version as installed_version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from xgbpatch import catalogue
from xgbpatch.build import ownership
from xgbpatch.build.definition import asked_digest
from xgbpatch.build.resolve import Base, resolve
from xgbpatch.catalogue import Support, VersionInfo
from xgbpatch.errors import (
    BaseImageError,
    ConfigurationError,
    ContractError,
    ExtraMissingError,
    PackageError,
    XgbpatchError,
)
from xgbpatch.inspection import layers, model_file
from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts
from xgbpatch.oci.image import RemoteImage
from xgbpatch.patch import hooks
from xgbpatch.patch.compose import overlay_digest
from xgbpatch.patch.packages import pins
from xgbpatch.progress import Progress
from xgbpatch.provenance import Provenance
from xgbpatch.publish import aliases
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.client import load_image
from xgbpatch.spec import Spec
from xgbpatch.upkeep import drift, published
from xgbpatch.upkeep.drift import BaseSnapshot


class State(Enum):
    """Whether something is to be done, and by whom."""

    CURRENT = "current"
    REBUILD = "rebuild"
    DRIFTED = "drifted"
    FOREIGN = "foreign"

    @property
    def exit_code(self) -> int:
        return {State.CURRENT: 0, State.REBUILD: 10}.get(self, 20)


class Cause(Enum):
    """Why an image is not what a build of today would give."""

    UNPUBLISHED = "not published"
    BASE = "base"
    DRIFT = "drift"
    SPEC = "spec"
    OVERLAY = "overlay"
    PACKAGES = "packages"
    LABELS = "labels"
    ALIAS = "alias"
    FOREIGN = "foreign"


_TELL_ENOUGH = {Cause.BASE, Cause.SPEC, Cause.LABELS, Cause.FOREIGN}  # no package index is asked


@dataclass(frozen=True)
class Reason:
    """One of them, in words; `difference` is a unified diff of what drifted, where the old base still tells it."""

    cause: Cause
    words: str
    difference: str = ""


@dataclass(frozen=True)
class Plan:
    """An image of the configuration, its base today, and its newest image in the repository `place` (None: none yet).

    `info` tells until when AWS patches the version; `warnings` change no state.
    """

    spec: Spec
    base: Base
    place: ImageReference
    published: RemoteImage | None
    reasons: tuple[Reason, ...]
    info: VersionInfo
    warnings: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        causes = {reason.cause for reason in self.reasons}
        if Cause.FOREIGN in causes:
            return State.FOREIGN
        if Cause.DRIFT in causes:
            return State.DRIFTED
        return State.REBUILD if causes else State.CURRENT

    @property
    def base_alone(self) -> bool:
        """Whether it is the base and nothing of ours that has changed: the same layer on the new base will do."""
        causes = {reason.cause for reason in self.reasons}
        return Cause.BASE in causes and causes <= {Cause.BASE, Cause.DRIFT, Cause.ALIAS}

    @property
    def alias_alone(self) -> bool:
        """Whether the image is what it should be, and only an alias is to be moved to it."""
        return {reason.cause for reason in self.reasons} == {Cause.ALIAS}


def plan(services: Services, spec: Spec, place: ImageReference, today: date, packages: bool = True) -> Plan:
    """How the newest image of `spec` in the repository of `place` stands today (UTC).

    `packages`: ask the package index whether its packages are the newest; what cannot be found out there is a warning.
    Raises `BaseImageError`, `ConfigurationError`, `RegistryError` and `AwsError`.
    """
    base = resolve(spec, services.registry)
    image = published.newest(services.registry, place, spec, base)
    labels = image.provenance if image else None
    if image is None or labels is None:
        reasons = [Reason(Cause.UNPUBLISHED, f'"{place.name}" holds no image of "{spec.name}" yet')]
        warnings: list[str] = []
    else:
        reasons, warnings = _compare(services, spec, base, place=place, image=image, labels=labels)
        if packages and not {reason.cause for reason in reasons} & _TELL_ENOUGH:
            try:
                newer = newer_packages(spec, labels, services.progress)
                reasons += [Reason(Cause.PACKAGES, words) for words in newer]
            except (PackageError, ExtraMissingError) as error:
                warnings.append(f"whether a package is newer could not be found out: {error.message}")
    known = {info.version: info for info in catalogue.versions()}
    info = known.get(spec.version, VersionInfo(spec.version))  # a base of the user's own may carry any
    return Plan(spec, base, place, image, tuple(reasons), info, (*warnings, *_end_of_patch(info, today)))


def _compare(
    services: Services, spec: Spec, base: Base, *, place: ImageReference, image: RemoteImage, labels: Provenance
) -> tuple[list[Reason], list[str]]:
    """Why `image` is behind or another, and what else its reader should know."""
    reasons: list[Reason] = []
    warnings: list[str] = []
    own, maker = installed_version("xgbpatch"), labels.tool_version
    if not (labels.asked_digest and labels.hooks and labels.files_digest and labels.patch_digest):
        reasons.append(Reason(Cause.LABELS, f"xgbpatch {maker} made it, and its labels hold too little to compare"))
    else:
        foreign, warnings = _identity(services, image, base if labels.base_digest == base.reference.digest else None)
        reasons += foreign
        reasons += [Reason(Cause.SPEC, words) for words in spec_changes(spec, image, labels)]
    if labels.base_digest != base.reference.digest:
        name, digest = base.reference.with_digest(""), base.reference.digest
        reasons.append(Reason(Cause.BASE, f'the base "{name}" moved: {labels.base_digest} → {digest}'))
        reasons += _drift(services, spec, base, labels)
    if labels.overlay_digest != f"sha256:{overlay_digest()}":
        if _is_newer(maker, own):
            warnings.append(f"xgbpatch {maker} made it, which is newer than this one ({own}): update xgbpatch")
        else:
            reasons.append(Reason(Cause.OVERLAY, f"its overlay is that of xgbpatch {maker}, this is {own}"))
    if labels.base_name and _name(labels.base_name) != base.reference.name:
        warnings.append(f'its base was "{labels.base_name}", the spec\'s is "{base.reference.name}"')
    moved = model_file.border(
        spec.version, catalogue.xgboost_of(labels.version, labels), catalogue.xgboost_of(spec.version, None)
    )
    warnings += [moved] if moved else []
    newest = image.reference.tag or image.manifest.digest
    for alias in published.stragglers(services.registry, place, spec, image):
        if aliases.withdrawn_digest(services.registry, place.with_tag(alias)) == image.manifest.digest:
            warnings.append(f'the alias "{alias}" was rolled back from the newest image, and stays where it is')
        else:
            reasons.append(Reason(Cause.ALIAS, f'the alias "{alias}" does not name the newest image, "{newest}"'))
    return reasons, warnings


def _identity(services: Services, image: RemoteImage, base: Base | None) -> tuple[list[Reason], list[str]]:
    """Whether `image` is what its labels say; `base` is the one of today, where they name that."""
    try:
        ownership.prove(services, image, base.reference if base else None)
    except (BaseImageError, ConfigurationError, ContractError) as error:
        if base or isinstance(error, ContractError):
            return [Reason(Cause.FOREIGN, f"it is not what its labels say: {error.message}")], []
        return [], [f"whether it is what its labels say could not be found out: {error.message}"]  # a base that is gone
    return [], []


def _drift(services: Services, spec: Spec, base: Base, labels: Provenance) -> list[Reason]:
    """Of another version on purpose everything may differ: that is no drift."""
    if not labels.hooks or labels.version != spec.version:
        return []

    def facts_of(reference: ImageReference) -> Facts:
        image = load_image(services.registry, reference.pinned, spec.architecture.value)
        return layers.inspect(image, services.blobs_of(reference), services.cache, services.progress)

    new = drift.snapshot_of(facts_of(base.reference), labels.hooks)
    if not drift.compare(BaseSnapshot(labels.hooks), new):
        return []
    old = BaseSnapshot(labels.hooks)
    if labels.base:
        with suppress(XgbpatchError):  # the old base may be gone: then no text shows the difference
            old = BaseSnapshot(labels.hooks, facts_of(labels.base).modules)
    return [Reason(Cause.DRIFT, finding.words, finding.difference) for finding in drift.compare(old, new)]


def newer_packages(spec: Spec, provenance: Provenance, progress: Progress) -> tuple[str, ...]:
    """`name 1.0 → 1.1` for each package that would differ; empty where nothing would, and without packages.

    Asks the package index. Raises `PackageError` and `ExtraMissingError`, as a build would.
    """
    facts = labelled_facts(provenance)
    if facts is None:
        return ()
    before, now = _versions_of(provenance.packages), _versions_of([str(pin) for pin in pins(spec, facts, progress)])
    changes = []
    for name in sorted({*before, *now}):
        if name not in now:
            changes.append(f"{name} {before[name]} is no longer needed")
        elif name not in before:
            changes.append(f"{name} {now[name]} is new")
        elif before[name] != now[name]:
            changes.append(f"{name} {before[name]} → {now[name]}")
    return tuple(changes)


def labelled_facts(provenance: Provenance) -> Facts | None:
    """As much of the base's facts as its labels keep for resolving; None where they keep none."""
    parts = provenance.python.split(" ")
    if len(parts) != 3 or not provenance.base_packages:
        return None
    version, machine, libc = parts
    python = PythonFacts(version, "", "", "", machine, libc.removeprefix("glibc-"))
    base = {name: Distribution(name, version) for name, version in _versions_of(provenance.base_packages).items()}
    return Facts(provenance.base_digest, python, base, {}, frozenset(), {}, {}, {})


def _versions_of(items: Sequence[str]) -> Mapping[str, str]:
    pairs = (item.partition("==") for item in items)
    return {name: version for name, _, version in pairs}


def spec_changes(spec: Spec, image: RemoteImage, provenance: Provenance) -> tuple[str, ...]:
    """What `spec` asks for and `image` was not built from; empty where they agree.

    Labels tell of versions, features and fixes by name; of a file of the user's they only tell that some file differs.
    """
    if provenance.asked_digest == asked_digest(spec):
        return ()
    changes = []
    for what, before, now in (
        ("version", provenance.version, spec.version),
        ("architecture", image.architecture, spec.architecture.value),
    ):
        if before != now:
            changes.append(f'{what} "{before}" → "{now}"')
    for what, old, new in (
        ("feature", provenance.features, spec.features),
        ("fix", provenance.fixes, spec.fixes),
        ("replaced module", hooks.replaced(provenance.hooks), [item.module for item in spec.replacements]),
    ):
        changes += [f'{what} "{name}" is new' for name in sorted(set(new) - set(old))]
        changes += [f'{what} "{name}" is gone' for name in sorted(set(old) - set(new))]
    for name, value in spec.environment:  # names alone: a value may be meant for few
        if image.environment.get(name) != value:
            changes.append(f'variable "{name}" has another value')
    versions = _versions_of([*provenance.base_packages, *provenance.packages])
    changes += [f'package "{package}" is new' for package in spec.packages if not _is_met(package, versions)]
    return tuple(changes) or ("files, packages or variables are not those that the image was built from",)


def _is_met(package: str, versions: Mapping[str, str]) -> bool:
    """Whether a package of the image or one of its base meets this requirement; a label may hold anything."""
    try:
        requirement = Requirement(package)
        version = versions.get(canonicalize_name(requirement.name))
        return version is not None and requirement.specifier.contains(version, prereleases=True)
    except InvalidRequirement:  # a URL with an odd name, say: nothing to look for
        return True
    except InvalidVersion:
        return False


def _is_newer(version: str, than: str) -> bool:
    try:
        return Version(version) > Version(than)
    except InvalidVersion:  # a label may hold anything
        return False


def _end_of_patch(info: VersionInfo, today: date) -> Iterator[str]:
    support = info.support(today)
    if support is Support.ENDED:
        yield f"AWS has not patched version {info.version} since {info.end_of_patch}: move to a newer one"
    if support is Support.ENDING and info.end_of_patch:
        days = (info.end_of_patch - today).days
        yield f"AWS patches version {info.version} until {info.end_of_patch}, {days} more days: plan the next one"


def _name(label: str) -> str:
    """Without the tag; a label that holds no name as it stands."""
    try:
        return ImageReference.parse(label).name
    except ConfigurationError:
        return label
