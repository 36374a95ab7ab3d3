"""Holding a published image to what its labels claim: the base it stands on, the files and the variables of its patch.

Compared by diff IDs, the digests of the uncompressed layers: `docker push` may compress a layer anew, which changes the
blob and not the layer. Everything that the image has beyond its base must be what `io.xgbpatch.patch-digest` covers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from xgbpatch import layout
from xgbpatch import manifest as manifests
from xgbpatch.errors import BaseImageError, ConfigurationError, ContractError
from xgbpatch.patch import digest_of
from xgbpatch.provenance import Provenance
from xgbpatch.remote.depot import Depot
from xgbpatch.remote.image import RemoteImage, find
from xgbpatch.upkeep import overlay_files
from xgbpatch.upkeep.overlay_files import OwnLayer

_REBUILD = "Rebuild it from its spec: xgbpatch build."
_SETTINGS = (
    "User", "ExposedPorts", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "StopSignal", "Healthcheck", "OnBuild",
    "Shell",
)  # fmt: skip
_COINCIDENCES = 2  # variables that a patch may set to the very value its base has


@dataclass(frozen=True)
class Claim:
    """An image beside the base that it says it stands on, and that it was seen to stand on."""

    image: RemoteImage
    base: RemoteImage
    provenance: Provenance

    @property
    def layers(self) -> tuple[OwnLayer, ...]:
        """Those beyond the base's, with Docker's media types."""
        count = len(self.base.diff_ids)
        blobs = manifests.repaired(self.image.manifest).layers[count:]
        return tuple(OwnLayer(blob, diff_id) for blob, diff_id in zip(blobs, self.image.diff_ids[count:], strict=True))


@dataclass(frozen=True)
class Substance:
    """What a patch consists of: its variables, and the base's modules that it replaces."""

    environment: Mapping[str, str]
    replaced: tuple[str, ...]


def claimed(depot: Depot, image: RemoteImage) -> Claim:
    """`image` beside its base; from manifests and configurations alone.

    Raises `ContractError` where it does not stand on that base, `ConfigurationError` where it cannot say, and
    `BaseImageError` where the base is gone.
    """
    made = image.provenance
    if made is None or not made.files_digest or not made.patch_digest:
        older = "was not made by xgbpatch" if made is None else "was made by an xgbpatch that kept too little of it"
        raise ConfigurationError(f'"{image.reference}" {older}', "Build an image from a spec first: xgbpatch build.")
    if made.base is None:
        raise ConfigurationError(
            f'the labels of "{image.reference}" name no base in a registry: "{made.base_name}" with the digest '
            f'"{made.base_digest}"',
            _REBUILD,
        )
    base = find(depot.registry, made.base, image.architecture or "amd64")
    if base is None:
        raise BaseImageError(
            f'the base "{made.base}" is gone, so nothing proves what is its and what is ours', _REBUILD
        )
    found = list(_contradictions(image, base))
    if found:
        raise ContractError(
            f'"{image.reference}" does not stand on the base it claims, "{made.base}": {"; ".join(found)}', _REBUILD
        )
    return Claim(image, base, made)


def substance(depot: Depot, claim: Claim) -> Substance:
    """What the patch consists of, read from its layers; raises `ContractError` where it is not what the labels say."""
    files = overlay_files.read(depot.blobs_of(claim.image.reference), claim.layers)
    seen = overlay_files.digest(files)
    if seen != claim.provenance.files_digest:
        raise ContractError(
            f'the files that "{claim.image.reference}" adds are not those that its label names: "{seen}" instead of '
            f'"{claim.provenance.files_digest}"',
            _REBUILD,
        )
    folder = f"{layout.REPLACEMENTS}/"
    replaced = [file.target.removeprefix(folder) for file in files if file.target.startswith(folder)]
    return Substance(_environment(claim), tuple(name.removesuffix(".py") for name in replaced))


def _contradictions(image: RemoteImage, base: RemoteImage) -> Iterator[str]:
    count = len(base.diff_ids)
    for one in (image, base):
        if len(one.layers) != len(one.diff_ids):
            yield f"its configuration tells of {len(one.diff_ids)} layers and its manifest of {len(one.layers)}"
    if image.diff_ids[:count] != base.diff_ids:
        yield "the base's layers are not its first layers"
    elif len(image.diff_ids) == count:
        yield "it has no layer beyond the base's"
    for name in _SETTINGS:
        if (_settings(image).get(name) or None) != (_settings(base).get(name) or None):
            yield f'"{name}" is not the base\'s'
    for name in sorted(set(base.environment) - set(image.environment)):
        yield f'the base\'s variable "{name}" is missing'


def _settings(image: RemoteImage) -> Mapping[str, Any]:
    return image.config.get("config") or {}


def _environment(claim: Claim) -> Mapping[str, str]:
    """The patch's variables: those that differ from the base's, and which the patch digest covers.

    A patch may also set a variable to what the base has; which one, only the digest tells.
    """
    base, image, made = claim.base.environment, claim.image.environment, claim.provenance
    own = {name: value for name, value in image.items() if base.get(name) != value}
    equal = sorted(set(image) - set(own))
    files = made.files_digest.removeprefix("sha256:")
    for count in range(_COINCIDENCES + 1):
        for names in combinations(equal, count):
            found = {**own, **{name: image[name] for name in names}}
            if f"sha256:{digest_of(files, found)}" == made.patch_digest:
                return found
    raise ContractError(
        f'the variables of "{claim.image.reference}" are not those that xgbpatch gave it ({", ".join(sorted(own))})',
        _REBUILD,
    )
