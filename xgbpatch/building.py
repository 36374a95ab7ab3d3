"""From a spec to an image: pull, inspect, check, provision, compose, render, build, verify, tag."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version as installed_version
from pathlib import Path

from xgbpatch import context, dockerfile, inspection, provenance, replacement, verification
from xgbpatch.composition import Ingredients, compose, overlay_digest
from xgbpatch.digest import spec_digest
from xgbpatch.engine.client import BuildRequest, Engine
from xgbpatch.engine.values import Credentials, LocalImage
from xgbpatch.errors import ConfigurationError, EngineError
from xgbpatch.facts import Facts
from xgbpatch.patch import Patch
from xgbpatch.progress import Progress
from xgbpatch.provision import Provision, provision
from xgbpatch.reference import ImageReference
from xgbpatch.resolution import Base
from xgbpatch.spec import Spec


@dataclass(frozen=True)
class Workshop:
    """What every stage works with: the engine, credentials by reference, a cache folder, where progress goes,
    and the moment (UTC) that images made here say they were created."""

    engine: Engine
    credentials_for: Callable[[ImageReference], Credentials | None]
    cache: Path
    progress: Progress
    moment: datetime


@dataclass(frozen=True)
class Rendered:
    """All that is known before anything is built. `reference` is the local name that the image will get."""

    spec: Spec
    base: Base
    base_image: LocalImage
    facts: Facts
    patch: Patch
    provenance: provenance.Provenance
    dockerfile: str
    reference: ImageReference


@dataclass(frozen=True)
class Built:
    """The image, the name it has in the engine, and whether it was there already."""

    reference: ImageReference
    image: LocalImage
    up_to_date: bool


def render(workshop: Workshop, spec: Spec, base: Base) -> Rendered:
    """Everything up to the build: pulls and inspects the base, checks replacements, fetches packages. Builds nothing.

    Raises `BaseImageError`, `ReplacementError`, `PackageError`, `RegistryError` and `EngineError`.
    """
    features, fixes = tuple(sorted(set(spec.features))), tuple(sorted(set(spec.fixes)))
    spec = replace(spec, features=features, fixes=fixes)  # sets: their order must not name another image
    image = pull(workshop, base)
    workshop.progress.line(f"Inspecting {base.reference}")
    facts = inspection.inspect(workshop.engine, image, workshop.cache / "facts")
    for item in spec.replacements:
        replacement.check(item, facts)
    provided = provision(spec, facts, workshop.cache, workshop.progress)
    patch = compose(Ingredients(spec, facts, provided.folder, str(base.reference), installed_version("xgbpatch")))
    remembered = replace(_provenance(spec, base, patch, provided), created=_rfc3339(workshop.moment))
    return Rendered(
        spec=spec, base=base, base_image=image, facts=facts, patch=patch, provenance=remembered,
        dockerfile=_dockerfile(base, patch, remembered),
        reference=ImageReference("", spec.repository, image_tag(spec, base, remembered.spec_digest)),
    )  # fmt: skip


def build(workshop: Workshop, rendered: Rendered, no_cache: bool = False) -> Built:
    """The image under its name, verified first: a name is never given to an image that breaks the promise.

    An image of the same base and the same patch is not built again unless `no_cache`. Raises `BuildError`,
    `ContractError` and `EngineError`; however it ends, no container and no unverified image is left.
    """
    existing = workshop.engine.image(rendered.reference)
    if existing and not no_cache and _same(existing, rendered):
        return Built(rendered.reference, existing, up_to_date=True)
    image = _build_verified(workshop, rendered, no_cache)
    workshop.engine.tag(image.id, rendered.reference)
    named = _required(workshop.engine.image(rendered.reference), rendered.reference)
    return Built(rendered.reference, named, up_to_date=False)


def pull(workshop: Workshop, base: Base) -> LocalImage:
    """The base in the engine, by digest; pulled when it is not there."""
    if not base.reference.host:
        return _required(workshop.engine.image(base.reference.digest or base.reference), base.reference)
    held = workshop.engine.image(base.reference.pinned)
    if held:
        return held
    workshop.progress.line(f"Pulling {base.reference}")
    return workshop.engine.pull(base.reference, workshop.credentials_for(base.reference), workshop.progress)


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


def _build_verified(workshop: Workshop, rendered: Rendered, no_cache: bool) -> LocalImage:
    workshop.progress.line(f"Building {rendered.reference}")
    with context.packed(rendered.dockerfile, rendered.patch) as stream:
        request = BuildRequest(stream, rendered.spec.architecture.platform, no_cache=no_cache)
        image = workshop.engine.build(request, workshop.progress)
    try:
        workshop.progress.line("Verifying that nothing of the base changed")
        subject = verification.Subject(rendered.base_image, image, rendered.facts, rendered.patch)
        verification.verify(workshop.engine, subject, workshop.cache / "facts")
    except BaseException:
        _discard(workshop.engine, image)
        raise
    return image


def _discard(engine: Engine, image: LocalImage) -> None:
    """Remove an image that has no name; the error that led here matters more than one that this may raise."""
    with suppress(EngineError):
        current = engine.image(image.id)
        if current and not current.tags:
            engine.remove(image.id)


def _same(image: LocalImage, rendered: Rendered) -> bool:
    """Equal but for the moment of making."""
    found = provenance.read(image.labels)
    return found is not None and replace(found, created=rendered.provenance.created) == rendered.provenance


def _required(image: LocalImage | None, reference: ImageReference) -> LocalImage:
    if image is None:
        raise EngineError(
            f'the engine holds no image "{reference}"', "Name it with its registry, so that it is pulled."
        )
    return image


def _provenance(spec: Spec, base: Base, patch: Patch, provided: Provision) -> provenance.Provenance:
    lines = [f"{pin} {pin.sha256}" for pin in provided.pins]
    return provenance.Provenance(
        base_name=str(replace(base.reference, digest="")),
        base_digest=base.reference.digest,
        version=spec.version,
        tool_version=installed_version("xgbpatch"),
        spec_digest=spec_digest(spec, lines),
        patch_digest=f"sha256:{patch.digest}",
        overlay_digest=f"sha256:{overlay_digest()}",
        features=spec.features,
        fixes=spec.fixes,
        packages=tuple(str(pin) for pin in provided.pins),
        created="",
    )


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _dockerfile(base: Base, patch: Patch, remembered: provenance.Provenance) -> str:
    reference = base.reference
    recipe = dockerfile.Recipe(
        base=str(reference.pinned) if reference.host else reference.digest,
        version=remembered.version,
        tool_version=remembered.tool_version,
        environment=patch.environment,
        labels=provenance.write(remembered),
    )
    return dockerfile.render(recipe)
