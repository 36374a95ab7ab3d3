"""After a build: the image is the base, its layers and its files, and what was asked. Nothing else."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from packaging.utils import canonicalize_name

from xgbpatch import cache, provenance
from xgbpatch.build.definition import ImageDefinition
from xgbpatch.engine.client import Engine
from xgbpatch.engine.types import LocalImage
from xgbpatch.errors import ContractError
from xgbpatch.inspection import container
from xgbpatch.inspection.facts import Distribution, Facts
from xgbpatch.layout import PACKAGES
from xgbpatch.patch.compose import Patch

_REGULAR = format(stat.S_IFREG, "o")
_METADATA = re.compile(rf"{re.escape(PACKAGES)}/.+\.dist-info/METADATA")
_INSTALLED = re.compile(r"\.(dist|egg)-info(/|$)")
_IMPORTS = "import xgbpatch_overlays.serve, xgbpatch_overlays.train"


def verify(
    engine: Engine, definition: ImageDefinition, *, base: LocalImage, image: LocalImage, folder: Path | None
) -> None:
    """Raises `ContractError` that lists every way in which `image`, which was just built, is not `base` with the patch
    of `definition`: in its configuration, in its files, and in the content of those that are ours.

    It is the image's own Python that lists the files, so an image of somebody else's is never held to anything by this.
    `folder` is a cache that keeps the list of the base's files, or None.
    """
    labels = {**provenance.write(definition.provenance), provenance.CREATED: image.labels.get(provenance.CREATED, "")}
    patch = definition.patch
    installs = any(_INSTALLED.search(file.target) for file in patch.files)  # else pip sees what it saw in the base
    probes = [container.probe_source(name) for name in ("inventory", *(("facts",) if installs else ()))]
    answers, failure = container.run_each(engine, image.id, *probes, _IMPORTS)
    if failure and len(answers) < len(probes):
        raise failure
    files = container.parsed(image, answers[0], container.parse_inventory)
    findings = [
        *image.summary.differences(base.summary, patch.environment, labels),
        *_files(patch, container.list_files(engine, base, folder), files),
        *([f"the overlays do not import: {failure.message}"] if failure else []),
    ]
    if installs:
        complaints = container.parsed(image, answers[1], container.parse_facts)["complaints"] or ()
        known = definition.facts.complaints or ()
        findings += [f"pip check says: {line}" for line in sorted({*complaints} - {*known})]
    if findings:
        shown = findings[:20] + ([f"… and {len(findings) - 20} more"] if len(findings) > 20 else [])
        raise ContractError(
            "the built image breaks the promise that nothing unasked changes:\n  " + "\n  ".join(shown),
            "The image was discarded. Please report this with the output of: xgbpatch render",
        )


def has_passed(folder: Path, image: LocalImage) -> bool:
    """Whether this very image, whose ID is the digest of its content, was built and verified here, by the cache."""
    return cache.read(_record(folder, image), lambda document: document["image"] == image.id) or False


def remember(folder: Path, image: LocalImage) -> None:
    """Keep in the cache that `image` has passed."""
    cache.write(_record(folder, image), {"image": image.id})


def _record(folder: Path, image: LocalImage) -> Path:
    return folder / "verified" / f"{image.id.removeprefix('sha256:')}.json.gz"


def _files(patch: Patch, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    difference = container.compare_files(before, after)
    yield from difference.outside
    expected = {file.target: file for file in patch.files}
    folders = {str(above) for target in expected for above in PurePosixPath(target).parents}
    yield from (f"added {path}" for path in difference.below if path not in expected and path not in folders)
    for target, file in expected.items():
        if target not in after:
            yield f"{target} is not in the image"
            continue
        kind, mode, *_, sha256 = after[target].split("\0")
        if kind != _REGULAR or bool(int(mode, 8) & 0o100) != file.executable or sha256 != file.sha256:
            yield f"{target} is not what was put there"


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
