"""Everything known of an image before it is built: files, variables, labels, name, and the digests that identify it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from xgbpatch import provenance
from xgbpatch.build.resolve import Base
from xgbpatch.cache import sha256_of
from xgbpatch.errors import ConfigurationError
from xgbpatch.inspection.facts import Facts
from xgbpatch.patch import hooks
from xgbpatch.patch.compose import Patch, compose, overlay_digest
from xgbpatch.patch.packages import provision
from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec

if TYPE_CHECKING:
    from xgbpatch.patch.packages import Pin


def spec_digest(spec: Spec, packages: Sequence[str], overlay: str) -> str:
    """`sha256:…` over name, version, features, fixes, packages as asked and as resolved, files by content, variables
    and our overlay: two images that `plan` tells apart never share a version tag.

    Equal on any machine and day for equal input; `packages` are `name==version sha256` lines, `overlay` its digest.
    """
    request = {**_request(spec), "name": spec.name, "asked": sorted(spec.packages)}
    return _document_digest({**request, "packages": sorted(packages), "overlay": overlay})


def asked_digest(spec: Spec) -> str:
    """`sha256:…` over the same without our overlay, and with the packages as they were asked for: needs no base."""
    return _document_digest({**_request(spec), "packages": sorted(spec.packages)})


def _request(spec: Spec) -> dict[str, Any]:
    return {
        "version": spec.version,
        "architecture": spec.architecture.value,
        "features": sorted(set(spec.features)),
        "fixes": sorted(set(spec.fixes)),
        "files": sorted((file.target, sha256_of(file.source)) for file in spec.files),
        "replacements": sorted((item.module, sha256_of(item.source), item.sha256) for item in spec.replacements),
        "environment": list(spec.environment),
    }


def _document_digest(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(canonical).hexdigest()}"


@dataclass(frozen=True)
class ImageDefinition:
    """All that is known before anything is built. `reference` is the image's repository and tag, without a host; `pins`
    are the wheels behind `provenance.packages`, with their hashes."""

    spec: Spec
    base: Base
    facts: Facts
    patch: Patch
    provenance: provenance.Provenance
    reference: ImageReference
    pins: tuple[Pin, ...]


@dataclass(frozen=True)
class BuildResult:
    """The name that the image has, and whether it stood there already."""

    reference: ImageReference
    up_to_date: bool


class Builder(Protocol):
    """`EngineBuilder` or `RegistryBuilder`: of one spec and base they give the same layers, variables and labels."""

    def define(self, spec: Spec, base: Base) -> ImageDefinition:
        """Looks into the base, checks replacements and fetches packages; builds nothing."""
        ...

    def build(self, definition: ImageDefinition, name: ImageReference) -> BuildResult:
        """The image under `name`, verified before it gets that name."""
        ...


def define(
    spec: Spec, base: Base, facts: Facts, *, cache: Path, progress: Progress, created: datetime
) -> ImageDefinition:
    """What `spec` adds to `base`, whichever way `facts` were gathered; `created` is what the image says of its making.

    Raises `ReplacementError`, `PackageError` and `ConfigurationError`.
    """
    # The order of features and fixes must not name another image.
    spec = replace(spec, features=tuple(sorted({*spec.features})), fixes=tuple(sorted({*spec.fixes})))
    if spec.replacements:
        from xgbpatch.patch import replacements

        for item in spec.replacements:
            replacements.check(item, facts)
    packages = provision(spec, facts, cache, progress)
    patch = compose(
        spec, facts, packages=packages.folder, base=str(base.reference), release=installed_version("xgbpatch")
    )
    python, overlay = facts.python, overlay_digest()
    origin = provenance.Provenance(
        base_name=str(replace(base.reference, digest="")),
        base_digest=base.reference.digest,
        version=spec.version,
        tool_version=installed_version("xgbpatch"),
        spec_digest=spec_digest(spec, [f"{pin} {pin.sha256}" for pin in packages.pins], overlay),
        patch_digest=f"sha256:{patch.digest}",
        overlay_digest=f"sha256:{overlay}",
        features=spec.features,
        fixes=spec.fixes,
        packages=tuple(str(pin) for pin in packages.pins),
        created=rfc3339(created),
        image=spec.name,
        asked_digest=asked_digest(spec),
        files_digest=f"sha256:{patch.files_digest}",
        hooks=hooks.recorded(spec.features, spec.fixes, [item.module for item in spec.replacements], facts),
    )
    if packages.pins:  # what their resolution rests on
        origin = replace(
            origin,
            python=f"{python.version} {python.machine} glibc-{python.glibc}",
            base_packages=tuple(f"{package.name}=={package.version}" for package in facts.distributions.values()),
        )
    reference = ImageReference("", spec.repository, image_tag(spec, base, origin.spec_digest))
    origin = replace(origin, tag=reference.tag)
    return ImageDefinition(spec, base, facts, patch, origin, reference, packages.pins)


def image_tag(spec: Spec, base: Base, digest: str) -> str:
    """The tag that the spec's pattern gives: see `Spec.tag`."""
    try:
        return spec.tag.format(
            version=spec.version,
            base=base.reference.digest.removeprefix("sha256:")[:12],
            spec=digest.removeprefix("sha256:")[:8],
        )
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigurationError(
            f'the tag pattern "{spec.tag}" cannot be filled in: {error}', "It knows {version}, {base} and {spec}."
        ) from error


def rfc3339(moment: datetime) -> str:
    """In UTC, to the second."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
