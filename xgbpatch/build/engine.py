"""From a spec to an image in the engine: pull, inspect, design, render, build, verify, tag."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path

from xgbpatch import provenance
from xgbpatch.build import dockerfile, verify
from xgbpatch.build.definition import ImageDefinition, Tools, define
from xgbpatch.build.resolve import Base
from xgbpatch.credentials import Credentials
from xgbpatch.engine.client import BuildRequest, Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import EngineError
from xgbpatch.inspection import container
from xgbpatch.patch.model import Patch
from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
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
class EngineDefinition(ImageDefinition):
    """A design for the engine's builder; its `reference` is the local name that the image will get."""

    base_image: LocalImage
    dockerfile: str


@dataclass(frozen=True)
class BuildResult:
    """The image, the name it has in the engine, and whether it was there already."""

    reference: ImageReference
    image: LocalImage
    up_to_date: bool


def render(workshop: Workshop, spec: Spec, base: Base) -> EngineDefinition:
    """Everything up to the build: pulls and inspects the base, checks replacements, fetches packages. Builds nothing.

    Raises `BaseImageError`, `ReplacementError`, `PackageError`, `RegistryError` and `EngineError`.
    """
    image = pull(workshop, base)
    workshop.progress.line(f"Inspecting {base.reference}")
    facts = container.inspect(workshop.engine, image, workshop.cache / "facts")
    made = define(spec, base, facts, Tools(workshop.cache, workshop.progress, workshop.moment))
    parts = {field.name: getattr(made, field.name) for field in fields(made)}
    return EngineDefinition(**parts, base_image=image, dockerfile=_dockerfile(base, made.patch, made.provenance))


def build(workshop: Workshop, rendered: EngineDefinition, no_cache: bool = False) -> BuildResult:
    """The image under its name, verified first: a name is never given to an image that breaks the promise.

    An image of the same base and the same patch is not built again unless `no_cache`. Raises `BuildError`,
    `ContractError` and `EngineError`; however it ends, no container and no unverified image is left.
    """
    existing = workshop.engine.image(rendered.reference)
    if existing and not no_cache and _same(existing, rendered):
        return BuildResult(rendered.reference, existing, up_to_date=True)
    image = _build_verified(workshop, rendered, no_cache)
    workshop.engine.tag(image.id, rendered.reference)
    named = _required(workshop.engine.image(rendered.reference), rendered.reference)
    return BuildResult(rendered.reference, named, up_to_date=False)


def pull(workshop: Workshop, base: Base) -> LocalImage:
    """The base in the engine, by digest; pulled when it is not there."""
    if not base.reference.host:
        return _required(workshop.engine.image(base.reference.digest or base.reference), base.reference)
    held = workshop.engine.image(base.reference.pinned)
    if held:
        return held
    workshop.progress.line(f"Pulling {base.reference}")
    return workshop.engine.pull(base.reference, workshop.credentials_for(base.reference), workshop.progress)


def _build_verified(workshop: Workshop, rendered: EngineDefinition, no_cache: bool) -> LocalImage:
    workshop.progress.line(f"Building {rendered.reference}")
    with dockerfile.packed_context(rendered.dockerfile, rendered.patch) as stream:
        request = BuildRequest(stream, rendered.spec.architecture.platform, no_cache=no_cache)
        image = workshop.engine.build(request, workshop.progress)
    try:
        workshop.progress.line("Verifying that nothing of the base changed")
        subject = verify.Subject(rendered.base_image, image, rendered.facts, rendered.patch)
        verify.verify(workshop.engine, subject, workshop.cache / "facts")
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


def _same(image: LocalImage, rendered: EngineDefinition) -> bool:
    """Equal but for the moment of making."""
    found = provenance.read(image.labels)
    return found is not None and replace(found, created=rendered.provenance.created) == rendered.provenance


def _required(image: LocalImage | None, reference: ImageReference) -> LocalImage:
    if image is None:
        raise EngineError(
            f'the engine holds no image "{reference}"', "Name it with its registry, so that it is pulled."
        )
    return image


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
