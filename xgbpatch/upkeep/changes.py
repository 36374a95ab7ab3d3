"""What a spec asks for today that a published image does not have, in words. Pure, but for reading the user's files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from xgbpatch import hooks
from xgbpatch.digest import asked_digest
from xgbpatch.provenance import Provenance
from xgbpatch.remote.image import RemoteImage
from xgbpatch.spec import Spec


def of_spec(spec: Spec, image: RemoteImage, made: Provenance) -> tuple[str, ...]:
    """What `spec` asks for and `image` was not built from; empty where they agree.

    Labels tell of versions, features and fixes by name; of a file of the user's they only tell that some file differs.
    """
    if made.asked_digest == asked_digest(spec):
        return ()
    found = [
        *_one("version", made.version, spec.version),
        *_one("architecture", image.architecture, spec.architecture.value),
        *_some("feature", made.features, spec.features),
        *_some("fix", made.fixes, spec.fixes),
        *_some("replaced module", hooks.replaced(made.hooks), [item.module for item in spec.replacements]),
        *_variables(spec, image),
        *_packages(spec, made),
    ]
    return tuple(found) or ("files, packages or variables are not those that the image was built from",)


def _one(what: str, before: str, now: str) -> Iterator[str]:
    if before != now:
        yield f'{what} "{before}" → "{now}"'


def _some(what: str, before: Sequence[str], now: Sequence[str]) -> Iterator[str]:
    yield from (f'{what} "{name}" is new' for name in sorted(set(now) - set(before)))
    yield from (f'{what} "{name}" is gone' for name in sorted(set(before) - set(now)))


def _variables(spec: Spec, image: RemoteImage) -> Iterator[str]:
    """Names alone: a value may be meant for few."""
    for name, value in spec.environment:
        if image.environment.get(name) != value:
            yield f'variable "{name}" has another value'


def _packages(spec: Spec, made: Provenance) -> Iterator[str]:
    """Requirements that neither a package of the image nor one of its base meets."""
    held = dict(pin.split("==", 1) for pin in (*made.base_packages, *made.packages) if "==" in pin)
    for text in spec.packages:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        version = held.get(canonicalize_name(requirement.name))
        if version is None or not _meets(requirement, version):
            yield f'package "{text}" is new'


def _meets(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:  # a label may hold anything
        return False
