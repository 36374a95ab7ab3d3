"""The builder on a Docker Engine: pull, inspect, define, build, verify, tag."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from xgbpatch import provenance
from xgbpatch.build import dockerfile, verify
from xgbpatch.build.definition import Builder, BuildResult, ImageDefinition, define
from xgbpatch.build.resolve import Base
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import BuildError, EngineError
from xgbpatch.inspection import container
from xgbpatch.progress import Progress
from xgbpatch.provenance import Provenance
from xgbpatch.reference import ImageReference
from xgbpatch.spec import Spec

if TYPE_CHECKING:
    from xgbpatch.reference import CredentialsFor

_ANOTHER_IMAGE = (
    "Nothing was built. Look whose it is; then docker rmi that name, or choose another --repository or --tag-pattern."
)


@dataclass(frozen=True)
class EngineBuildResult(BuildResult):
    """The image in the engine, too."""

    image: LocalImage


@dataclass(frozen=True)
class EngineBuilder(Builder):
    """`credentials_for` gives the login of a base's registry; `cache` is a folder. `created` (UTC) is the moment that
    images say they were created, by default that of the build. `no_cache` builds every step anew, even where the image
    is up to date."""

    engine: Engine
    credentials_for: CredentialsFor
    cache: Path
    progress: Progress
    created: datetime | None = None
    no_cache: bool = False

    def define(self, spec: Spec, base: Base) -> ImageDefinition:
        """Everything up to the build: pulls and inspects the base, checks replacements, fetches packages.

        Raises `BaseImageError`, `ReplacementError`, `PackageError`, `RegistryError` and `EngineError`.
        """
        image = self.pull(base)
        self.progress.line(f"Inspecting {base.reference}")
        facts = container.inspect(self.engine, image, self.cache / "facts")
        created = self.created or datetime.now(timezone.utc)
        return define(spec, base, facts, cache=self.cache, progress=self.progress, created=created)

    def build(self, definition: ImageDefinition, name: ImageReference) -> EngineBuildResult:
        """The image under `name`, verified first: a name is never given to an image that differs from its base unasked.

        An image that was built and verified here is not built again, and not verified again where the engine gives the
        very same one anew. Its labels are inherited by whatever is built on it, so one that this machine does not know
        is compared with what the engine builds now. Raises `BuildError`, also for another image under that name,
        `ContractError` and `EngineError`; however it ends, no container and no unverified image is left.
        """
        existing = self.engine.image(name)
        origin = provenance.read(existing.labels) if existing else None
        if existing and origin is None:
            raise BuildError(f'"{name}" is an image that xgbpatch did not make, "{existing.id}"', _ANOTHER_IMAGE)
        # equal but for the moment of making?
        equal = origin and replace(origin, created=definition.provenance.created) == definition.provenance
        claimed = existing if equal and not self.no_cache else None
        if claimed and verify.has_passed(self.cache, claimed):
            return EngineBuildResult(name, up_to_date=True, image=claimed)
        image = self._build_verified(definition, name)
        if claimed:
            if not claimed.summary.is_configured_as(image.summary) or len(claimed.layers) != len(image.layers):
                self._discard(image)
                raise BuildError(
                    f'"{name}" has the labels of the image that is to be built, and is another: "{claimed.id}"',
                    _ANOTHER_IMAGE,
                )
            if claimed.layers == image.layers:
                self._discard(image)
                verify.remember(self.cache, claimed)
                return EngineBuildResult(name, up_to_date=True, image=claimed)
        if existing and existing.id != image.id:
            self.progress.line(f'"{name}" was "{existing.id}" until now')
        self.engine.tag(image.id, name)
        return EngineBuildResult(name, up_to_date=False, image=self.engine.require_image(name))

    def previous(self, spec: Spec, name: ImageReference) -> Provenance | None:
        """What the newest image of `spec` in the repository of `name` was made of; None where the engine holds none."""
        images = self.engine.images(f"{provenance.IMAGE}={spec.name}", name.name)
        own = (image for image in images if any(tag.startswith(f"{name.name}:") for tag in image.tags))
        newest = next(own, None)
        return provenance.read(newest.labels) if newest else None

    def pull(self, base: Base) -> LocalImage:
        """The base in the engine, by digest; pulled when it is not there."""
        reference = base.reference
        if not reference.host:
            return self.engine.require_image(reference.digest or reference)
        image = self.engine.image(reference.pinned)
        if image:
            return image
        self.progress.line(f"Pulling {reference}")
        return self.engine.pull(reference, self.credentials_for(reference), self.progress)

    def _build_verified(self, definition: ImageDefinition, name: ImageReference) -> LocalImage:
        base = self.pull(definition.base)
        self.progress.line(f"Building {name}")
        with dockerfile.packed_context(dockerfile.of_definition(definition), definition.patch) as stream:
            platform = definition.spec.architecture.platform
            image = self.engine.build(stream, platform, self.progress, no_cache=self.no_cache)
        if verify.has_passed(self.cache, image):
            return image
        try:
            self.progress.line("Verifying that nothing of the base changed")
            verify.verify(self.engine, definition, base=base, image=image, folder=self.cache / "facts")
        except BaseException:
            self._discard(image)
            raise
        verify.remember(self.cache, image)
        return image

    def _discard(self, image: LocalImage) -> None:
        """Remove it where it has no name; what led here matters more than an error of the removal."""
        with suppress(EngineError):
            current = self.engine.image(image.id)
            if current and not current.tags:
                self.engine.remove(image.id)
