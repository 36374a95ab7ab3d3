"""After a build: the patched image is the base, its layers and its files, and what was asked. Nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xgbpatch import inspection, inventory, promise
from xgbpatch.engine.client import Engine
from xgbpatch.engine.values import LocalImage
from xgbpatch.errors import BaseImageError, ContractError
from xgbpatch.facts import Facts
from xgbpatch.interpreter import run_python
from xgbpatch.patch import Patch
from xgbpatch.promise import Seen

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
        *promise.findings(_seen(subject.base), _seen(subject.image), subject.patch.environment),
        *_files(engine, subject, cache),
        *_python(engine, subject),
    ]
    if findings:
        shown = findings[:20] + ([f"… and {len(findings) - 20} more"] if len(findings) > 20 else [])
        raise ContractError(
            "the built image breaks the promise that nothing unasked changes:\n  " + "\n  ".join(shown),
            "The image was discarded. Please report this with the output of: xgbpatch render",
        )


def _seen(image: LocalImage) -> Seen:
    return Seen(image.layers, image.environment, image.labels)


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
