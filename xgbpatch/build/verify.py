"""After a build: the image is the base, its layers and its files, and what was asked. Nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from xgbpatch.build.definition import ImageDefinition
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import BaseImageError, ContractError
from xgbpatch.inspection import container
from xgbpatch.inspection.container import run_python
from xgbpatch.inspection.facts import Distribution, Facts
from xgbpatch.layout import LABEL_PREFIX, PACKAGES
from xgbpatch.patch.compose import Patch

_OWN = ("org.opencontainers.image.", LABEL_PREFIX)  # by these an image describes itself, a base too


@dataclass(frozen=True)
class ConfigSummary:
    """An image: diff IDs of its layers, base first, variables and labels."""

    layers: tuple[str, ...]
    environment: Mapping[str, str]
    labels: Mapping[str, str]


def config_findings(base: ConfigSummary, image: ConfigSummary, variables: Mapping[str, str]) -> Iterator[str]:
    """Every way in which `image` differs from `base` but for `variables`, in words."""
    if image.layers[: len(base.layers)] != base.layers:
        yield "the base's layers are not the first layers of the image"
    for name, value in {**base.environment, **variables}.items():
        if image.environment.get(name) != value:
            yield f'variable "{name}" is "{image.environment.get(name)}" instead of "{value}"'
    for name, value in base.labels.items():
        if not name.startswith(_OWN) and image.labels.get(name) != value:
            yield f'label "{name}" is "{image.labels.get(name)}" instead of "{value}"'


_METADATA = re.compile(rf"{re.escape(PACKAGES)}/.+\.dist-info/METADATA")
_INSTALLED = re.compile(r"\.(dist|egg)-info(/|$)")
_IMPORTS = "import xgbpatch_overlays.serve, xgbpatch_overlays.train"


def verify(
    engine: Engine, definition: ImageDefinition, *, base: LocalImage, image: LocalImage, cache: Path | None
) -> None:
    """Raises `ContractError` that lists every way in which `image` differs from `base` unasked.

    `cache` is a folder that keeps the list of the base's files, or None.
    """
    before, after = (ConfigSummary(each.layers, each.environment, each.labels) for each in (base, image))
    findings = [
        *config_findings(before, after, definition.patch.environment),
        *_files(engine, definition.patch, base, image, cache),
        *_python(engine, definition, image),
    ]
    if findings:
        shown = findings[:20] + ([f"… and {len(findings) - 20} more"] if len(findings) > 20 else [])
        raise ContractError(
            "the built image breaks the promise that nothing unasked changes:\n  " + "\n  ".join(shown),
            "The image was discarded. Please report this with the output of: xgbpatch render",
        )


def _files(engine: Engine, patch: Patch, base: LocalImage, image: LocalImage, cache: Path | None) -> Iterator[str]:
    before = container.list_files(engine, base, cache)
    difference = container.compare_files(before, container.list_files(engine, image, None))
    yield from difference.outside
    expected = {file.target for file in patch.files}
    for missing in sorted(expected - set(difference.added)):
        yield f"{missing} is not in the image"


def _python(engine: Engine, definition: ImageDefinition, image: LocalImage) -> Iterator[str]:
    try:
        run_python(engine, image.id, _IMPORTS)
    except BaseImageError as error:
        yield f"the overlays do not import: {error.message}"
    if any(_INSTALLED.search(file.target) for file in definition.patch.files):  # else pip sees what it saw in the base
        after = container.inspect(engine, image, None).complaints or ()
        for line in sorted(set(after) - set(definition.facts.complaints or ())):
            yield f"pip check says: {line}"


def added_complaints(facts: Facts, patch: Patch) -> tuple[str, ...]:
    """The lines that `pip check` would print in the patched image and does not print in the base of `facts`."""
    from xgbpatch.inspection import pip_check

    new, base = added_distributions(patch), facts.distributions.values()
    if not new:
        return ()
    before = set(pip_check.complaints(base, facts.python))
    return tuple(line for line in pip_check.complaints([*base, *new], facts.python) if line not in before)


def added_distributions(patch: Patch) -> tuple[Distribution, ...]:
    """The distributions that `patch` brings."""
    from xgbpatch.inspection import pip_check

    documents = [pip_check.parse_metadata(file.read()) for file in patch.files if _METADATA.fullmatch(file.target)]
    return tuple(Distribution(canonicalize_name(each.name), each.version, each.requires) for each in documents)
