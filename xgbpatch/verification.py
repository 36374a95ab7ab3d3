"""After a build: the patched image is the base, its layers and its files, and what was asked. Nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from xgbpatch import inspection, inventory, layout
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.errors import BaseImageError, ContractError
from xgbpatch.facts import Facts
from xgbpatch.interpreter import run_python
from xgbpatch.patch import Patch

_IMPORTS = "import xgbpatch_overlays.serve, xgbpatch_overlays.train"


@dataclass(frozen=True)
class Subject:
    """A patched image beside the base it was built on, the base's facts, and the patch that was applied."""

    base: LocalImage
    image: LocalImage
    facts: Facts
    patch: Patch


def verify(engine: Engine, subject: Subject, cache: Path | None) -> None:
    """Raises `ContractError` that lists every way in which the image differs from its base unasked."""
    findings = [
        *layers(subject.base, subject.image),
        *configuration(subject),
        *_files(engine, subject, cache),
        *_python(engine, subject),
    ]
    if findings:
        shown = findings[:20] + ([f"… and {len(findings) - 20} more"] if len(findings) > 20 else [])
        raise ContractError(
            "the built image breaks the promise that nothing unasked changes:\n  " + "\n  ".join(shown),
            "The image was discarded. Please report this with the output of: xgbpatch render",
        )


def layers(base: LocalImage, image: LocalImage) -> Iterator[str]:
    """The base's layers must be the image's first ones."""
    if image.layers[: len(base.layers)] != base.layers:
        yield "the base's layers are not the first layers of the image"


def configuration(subject: Subject) -> Iterator[str]:
    """Every variable and label of the base must stand, but for the variables that the patch names."""
    for name, value in subject.base.environment.items():
        expected = subject.patch.environment.get(name, value)
        if subject.image.environment.get(name) != expected:
            yield f'variable "{name}" is "{subject.image.environment.get(name)}" instead of "{expected}"'
    for name, value in subject.patch.environment.items():
        if subject.image.environment.get(name) != value:
            yield f'variable "{name}" is "{subject.image.environment.get(name)}" instead of "{value}"'
    for name, value in _kept(subject.base.labels).items():
        if subject.image.labels.get(name) != value:
            yield f'label "{name}" is "{subject.image.labels.get(name)}" instead of "{value}"'


def _kept(labels: Mapping[str, str]) -> dict[str, str]:
    """The base's labels without those by which an image describes itself (a base may carry OCI labels of its own)."""
    own = ("org.opencontainers.image.", layout.LABEL_PREFIX)
    return {name: value for name, value in labels.items() if not name.startswith(own)}


def _files(engine: Engine, subject: Subject, cache: Path | None) -> Iterator[str]:
    before = inventory.take(engine, subject.base, cache)
    difference = inventory.compare(before, inventory.take(engine, subject.image, None))
    yield from difference.outside
    expected = {file.target for file in subject.patch.files}
    for missing in sorted(expected - set(difference.added)):
        yield f"{missing} is not in the image"


def _python(engine: Engine, subject: Subject) -> Iterator[str]:
    try:
        run_python(engine, subject.image.id, _IMPORTS)
    except BaseImageError as error:
        yield f"the overlays do not import: {error.message}"
    after = inspection.inspect(engine, subject.image, None).complaints or ()
    for line in sorted(set(after) - set(subject.facts.complaints or ())):
        yield f"pip check says: {line}"
