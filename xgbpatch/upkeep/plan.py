"""Is the published image the one that a build of today would give, and if not, why?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from functools import cached_property
from importlib.metadata import version as installed_version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from xgbpatch import catalogue
from xgbpatch.build.definition import asked_digest
from xgbpatch.build.resolve import Base, resolve
from xgbpatch.catalogue import Support, VersionInfo
from xgbpatch.errors import ConfigurationError, ExtraMissingError, PackageError, XgbpatchError
from xgbpatch.inspection import layers
from xgbpatch.inspection.facts import Distribution, Facts, PythonFacts
from xgbpatch.oci.image import RemoteImage
from xgbpatch.patch import hooks
from xgbpatch.patch.compose import overlay_digest
from xgbpatch.patch.packages import pins
from xgbpatch.progress import Progress
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference
from xgbpatch.registry import Services
from xgbpatch.registry.client import load_image
from xgbpatch.spec import Spec
from xgbpatch.upkeep import drift, published
from xgbpatch.upkeep.drift import BaseSnapshot


def newer_packages(spec: Spec, provenance: Provenance, progress: Progress) -> tuple[str, ...]:
    """`name 1.0 → 1.1` for each package that would differ; empty where nothing would, and without packages.

    Asks the package index. Raises `PackageError` and `ExtraMissingError`, as a build would.
    """
    facts = newer_in_words(provenance)
    if facts is None:
        return ()
    before, now = _versions_of(provenance.packages), _versions_of([str(pin) for pin in pins(spec, facts, progress)])
    names = sorted({*before, *now})
    return tuple(_words(name, before, now) for name in names if before.get(name) != now.get(name))


def newer_in_words(provenance: Provenance) -> Facts | None:
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


def _words(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    if name not in now:
        return f"{name} {before[name]} is no longer needed"
    return f"{name} {before[name]} → {now[name]}" if name in before else f"{name} {now[name]} is new"


# What a spec asks for today that a published image does not have, in words. Pure, but for reading the user's files.


def spec_changes(spec: Spec, image: RemoteImage, provenance: Provenance) -> tuple[str, ...]:
    """What `spec` asks for and `image` was not built from; empty where they agree.

    Labels tell of versions, features and fixes by name; of a file of the user's they only tell that some file differs.
    """
    if provenance.asked_digest == asked_digest(spec):
        return ()
    changes = [
        *_one_change("version", provenance.version, spec.version),
        *_one_change("architecture", image.architecture, spec.architecture.value),
        *_set_changes("feature", provenance.features, spec.features),
        *_set_changes("fix", provenance.fixes, spec.fixes),
        *_set_changes("replaced module", hooks.replaced(provenance.hooks), [item.module for item in spec.replacements]),
        *_variable_changes(spec, image),
        *_package_changes(spec, provenance),
    ]
    return tuple(changes) or ("files, packages or variables are not those that the image was built from",)


def _one_change(what: str, before: str, now: str) -> Iterator[str]:
    if before != now:
        yield f'{what} "{before}" → "{now}"'


def _set_changes(what: str, before: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    yield from (f'{what} "{name}" is new' for name in sorted(set(now) - set(before)))
    yield from (f'{what} "{name}" is gone' for name in sorted(set(before) - set(now)))


def _variable_changes(spec: Spec, image: RemoteImage) -> Iterator[str]:
    """Names alone: a value may be meant for few."""
    for name, value in spec.environment:
        if image.environment.get(name) != value:
            yield f'variable "{name}" has another value'


def _package_changes(spec: Spec, provenance: Provenance) -> Iterator[str]:
    """Requirements that neither a package of the image nor one of its base meets."""
    versions = dict(pin.split("==", 1) for pin in (*provenance.base_packages, *provenance.packages) if "==" in pin)
    for text in spec.packages:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        version = versions.get(canonicalize_name(requirement.name))
        if version is None or not _meets(requirement, version):
            yield f'package "{text}" is new'


def _meets(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:  # a label may hold anything
        return False


# What became of a published image while nobody looked: is it what a build of today would give? Changes nothing.
#
# All is found in registries: the base's digest today against the one in the image's labels; the spec, the overlay and
# the packages against those labels. Only where the base has moved are its layers read, once a digest, to see whether
# what the patch relies on is still the same.


class State(Enum):
    """Whether something is to be done, and by whom."""

    CURRENT = "current"
    REBUILD = "rebuild"
    DRIFTED = "drifted"

    @property
    def exit_code(self) -> int:
        return {State.CURRENT: 0, State.REBUILD: 10, State.DRIFTED: 20}[self]


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
        reasons, warnings = [Reason(Cause.UNPUBLISHED, f'"{place.name}" holds no image of "{spec.name}" yet')], []
    else:
        case = _Case(services, spec, base, place, image, labels)
        reasons, warnings = list(case.reasons()), list(case.warnings())
        if packages and not any(reason.cause in (Cause.BASE, Cause.SPEC, Cause.LABELS) for reason in reasons):
            _look_at_packages(case, reasons, warnings)
    info = _info(spec.version)
    return Plan(spec, base, place, image, tuple(reasons), info, (*warnings, *_end_of_patch(info, today)))


@dataclass(frozen=True)
class _Case:
    services: Services
    spec: Spec
    base: Base
    place: ImageReference
    image: RemoteImage
    labels: Provenance

    def reasons(self) -> Iterator[Reason]:
        if not self.labels.asked_digest or not self.labels.hooks:
            yield Reason(Cause.LABELS, f"xgbpatch {self.labels.tool_version} made it, which kept too little to compare")
        else:
            yield from (Reason(Cause.SPEC, words) for words in spec_changes(self.spec, self.image, self.labels))
        if self.labels.base_digest != self.base.reference.digest:
            yield Reason(Cause.BASE, self._moved())
            yield from self._drift()
        if self._overlay_differs() and not self._is_of_newer_xgbpatch():
            yield Reason(Cause.OVERLAY, f"its overlay is that of xgbpatch {self.labels.tool_version}, this is {_own()}")
        newest = self.image.reference.tag or self.image.manifest.digest
        for alias, withdrawn in self._elsewhere:
            if not withdrawn:
                yield Reason(Cause.ALIAS, f'the alias "{alias}" does not name the newest image, "{newest}"')

    def warnings(self) -> Iterator[str]:
        if self._overlay_differs() and self._is_of_newer_xgbpatch():
            maker = self.labels.tool_version
            yield f"xgbpatch {maker} made it, which is newer than this one ({_own()}): update xgbpatch"
        if self.labels.base_name and _name(self.labels.base_name) != self.base.reference.name:
            yield f'its base was "{self.labels.base_name}", the spec\'s is "{self.base.reference.name}"'

        for alias, withdrawn in self._elsewhere:
            if withdrawn:
                yield f'the alias "{alias}" was rolled back from the newest image, and stays where it is'

    def _moved(self) -> str:
        name, digest = self.base.reference.with_digest(""), self.base.reference.digest
        return f'the base "{name}" moved: {self.labels.base_digest} → {digest}'

    def _drift(self) -> Iterator[Reason]:
        """Of another version on purpose everything may differ: that is no drift."""
        if not self.labels.hooks or self.labels.version != self.spec.version:
            return
        new = drift.snapshot_of(self._facts(self.base.reference), self.labels.hooks)
        if drift.compare(BaseSnapshot(self.labels.hooks), new):
            findings = drift.compare(self._old_snapshot(), new)
            yield from (Reason(Cause.DRIFT, finding.words, finding.difference) for finding in findings)

    def _old_snapshot(self) -> BaseSnapshot:
        """With its modules' texts, so that the difference can be shown; without where the old base is gone."""
        try:
            modules = self._facts(self.labels.base).modules if self.labels.base else {}
        except XgbpatchError:
            modules = {}
        return BaseSnapshot(self.labels.hooks, modules)

    def _facts(self, reference: ImageReference) -> Facts:
        image = load_image(self.services.registry, reference.pinned, self.spec.architecture.value)
        return layers.inspect(image, self.services.blobs_of(reference), self.services.cache, self.services.progress)

    def _overlay_differs(self) -> bool:
        return self.labels.overlay_digest != f"sha256:{overlay_digest()}"

    def _is_of_newer_xgbpatch(self) -> bool:
        try:
            return Version(self.labels.tool_version) > Version(_own())
        except InvalidVersion:  # a label may hold anything
            return False

    @cached_property
    def _elsewhere(self) -> tuple[tuple[str, bool], ...]:
        """The aliases that do not name the newest image, and whether a rollback took them away from it."""
        registry = self.services.registry
        aliases = published.stragglers(registry, self.place, self.spec, self.image)
        return tuple((alias, published.was_withdrawn(registry, self.place, alias, self.image)) for alias in aliases)


def _look_at_packages(case: _Case, reasons: list[Reason], warnings: list[str]) -> None:
    try:
        newer = newer_packages(case.spec, case.labels, case.services.progress)
    except (PackageError, ExtraMissingError) as error:
        warnings.append(f"whether a package is newer could not be found out: {error.message}")
    else:
        reasons.extend(Reason(Cause.PACKAGES, words) for words in newer)


def _info(version: str) -> VersionInfo:
    """A base of the user's own may carry a version that the catalogue does not know."""
    known = {info.version: info for info in catalogue.versions()}
    return known.get(version, VersionInfo(version))


def _end_of_patch(info: VersionInfo, today: date) -> Iterator[str]:
    support = info.support(today)
    if support is Support.ENDED:
        yield f"AWS has not patched version {info.version} since {info.end_of_patch}: move to a newer one"
    if support is Support.ENDING and info.end_of_patch:
        days = (info.end_of_patch - today).days
        yield f"AWS patches version {info.version} until {info.end_of_patch}, {days} more days: plan the next one"


def _own() -> str:
    return installed_version("xgbpatch")


def _name(label: str) -> str:
    """Without the tag; a label that holds no name as it stands."""
    try:
        return ImageReference.parse(label).name
    except ConfigurationError:
        return label
