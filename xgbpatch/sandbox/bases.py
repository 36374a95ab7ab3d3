"""The stand-in bases, built and pushed under the names that the official images have in ECR."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from xgbpatch.engine.client import Engine
from xgbpatch.engine.interruption import afterwards
from xgbpatch.engine.values import Credentials
from xgbpatch.errors import RegistryError
from xgbpatch.progress import Progress
from xgbpatch.reference import ImageReference
from xgbpatch.sandbox.state import Journal, RegistryHost, SandboxState

_ATTEMPTS, _PAUSE_SECONDS = 6, 2.0

_IMAGE_LABEL = "com.amazonaws.sagemaker.capabilities.multi-models"  # on every base, and on every image built from one


def push(journal: Journal, versions: tuple[str, ...], progress: Progress) -> None:
    """Build and push the stand-ins of `versions` that are not there yet. One store serves every region."""
    wanted = [version for version in versions if version not in journal.state.bases]
    if not wanted:
        return
    with Engine.connect() as engine:
        for version in wanted:
            _push_one(engine, journal.state, version, progress)
            journal.update(bases=(*journal.state.bases, version))


def remove_images(state: SandboxState) -> None:
    """Remove the engine's references to the sandbox's registries: bases it pulled, images it was to push."""
    ours = {registry.host for registry in state.registries}
    with Engine.connect() as engine:
        for image in engine.images(_IMAGE_LABEL):
            for name in (*image.tags, *image.repo_digests):
                reference = ImageReference.parse(name)
                if reference.host in ours:
                    engine.remove(reference)


def _push_one(engine: Engine, state: SandboxState, version: str, progress: Progress) -> None:
    from xgbpatch import catalogue
    from xgbpatch.standin.building import build_standin

    registry = state.registries[0]
    reference = catalogue.image_uri(version, registry.region)
    progress.line(f"{reference}: building the stand-in")
    image = build_standin(engine, version, progress)
    with _tagged(engine, image.id, reference):
        digest = push_when_known(engine, reference, (_credentials(registry), progress))
    progress.line(f"{reference}@{digest}: pushed")


def push_when_known(engine: Engine, reference: ImageReference, with_: tuple[Credentials, Progress]) -> str:
    """The engine's Go resolver keeps the hosts file for 5 s: a name that `up` has just written may be unknown to it."""
    for _ in range(_ATTEMPTS):
        try:
            return engine.push(reference, *with_)
        except RegistryError as error:
            if "no such host" not in error.message:
                raise
            time.sleep(_PAUSE_SECONDS)
    return engine.push(reference, *with_)


@contextmanager
def _tagged(engine: Engine, image: str, reference: ImageReference) -> Iterator[None]:
    """Lend the image that name, unless the engine has it already: what is pulled must come from the registry."""
    held = engine.image(reference)
    engine.tag(image, reference)
    if held:
        yield
        return
    with afterwards(lambda: engine.remove(reference)):
        yield


def _credentials(registry: RegistryHost) -> Credentials:
    return Credentials("AWS", registry.password)
